"""Controls that stand beside every score: the same system made blind, random, or contrary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pathagent_tools.core.protocols import Completion, ModelRequest, VisionLanguageModel


class BlankImages:
    """A VLM that gets a white image in place of every image: what it says without looking."""

    def __init__(self, vlm: VisionLanguageModel) -> None:
        self.vlm = vlm
        self.id, self.revision = vlm.id, f"{vlm.revision}-blank-images"
        self.tile_px, self.tile_mpp = vlm.tile_px, vlm.tile_mpp

    def generate(self, requests: Sequence[ModelRequest]) -> list[Completion]:
        """Answers to the same text with blank images."""
        blind = [replace(r, images=tuple(np.full_like(i, 255) for i in r.images)) for r in requests]
        return self.vlm.generate(blind)
