"""Sizes, images and requests of the tests of the VLM."""

from __future__ import annotations

import numpy as np

from pathagent_finetune.architecture import VLMSize
from pathagent_tools.core.protocols import Image, ModelRequest
from pathagent_tools.vlm import roles

SIZE = VLMSize(
    tile_px=64, vision_depth=2, vision_hidden=32, vision_heads=1, vision_mlp=64, deepstack=(0,),
    hidden=64, layers=2, heads=2, kv_heads=1, head_dim=32, mlp=96, vocab=640, max_tokens=2048,
)  # fmt: skip


def noise(seed: int, px: int = 64) -> Image:
    return np.random.default_rng(seed).integers(0, 255, (px, px, 3), dtype=np.uint8)


def all_roles() -> list[ModelRequest]:
    """One request of every role."""
    ledger = "E1 S1 centre: invasive tumour, solid nests, grade high\nE2 S1 upper left: stroma"
    slide = roles.slide_text("S1", 3.1, 2)
    return [
        roles.describe(noise(1), field_um=64),
        roles.navigate("Draft a report.", {"K1": "K1 stroma: relevance 1", "K2": "K2 mucin: relevance 2"}, 1),
        roles.diagnose(slide, ledger),
        roles.judge("Draft a report.", "solid carcinoma, grade 3 (90 %)", ledger),
        roles.write(slide, "solid carcinoma, grade 3 (90 %)", ledger, ["E1", "E2"]),
        roles.verify("Necrosis is present.", ledger),
        roles.answer(slide, "none", "Is there tumour?", ledger, ["E1", "E2"], options=("yes", "no")),
    ]
