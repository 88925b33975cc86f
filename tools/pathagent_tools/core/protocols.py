"""What the graph asks of a model. Any class of this shape works; nobody has to inherit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""RGB, uint8, [height, width, 3]."""

Role = Literal["describe", "navigate", "diagnose", "judge", "write", "verify", "answer"]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question to a VLM: text, images, and the JSON schema that the answer must follow."""

    role: Role
    system: str
    user: str
    schema: dict[str, Any]
    images: tuple[Image, ...] = ()
    max_tokens: int = 256
    prompt_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back: the raw text, the parsed and schema-valid JSON, and what it cost.

    `confidence` is the geometric mean probability of the generated tokens that the grammar left
    free (more than one token allowed), 0..1; None where the server gives no log-probabilities.
    """

    text: str
    data: dict[str, Any]
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    confidence: float | None = None
    model: str = ""
    revision: str = ""
    adapter: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class VisionLanguageModel(Protocol):
    """A VLM behind one call. Greedy, deterministic, thread-safe."""

    id: str
    revision: str
    tile_px: int
    tile_mpp: float

    def generate(self, requests: Sequence[ModelRequest]) -> list[Completion]:
        """Answers in the order of the requests.

        Raises ModelUnavailableError (server gone), ModelError (invalid JSON after one repair),
        UserError (unknown model or adapter).
        """
        ...


@runtime_checkable
class SlideEncoder(Protocol):
    """A CLIP-style encoder of tiles and words. Embeddings come un-normalised, float32."""

    id: str
    revision: str
    tile_px: int
    tile_mpp: float
    dim: int

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[N, tile_px, tile_px, 3] uint8 RGB at `tile_mpp` → [N, dim]."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Phrases → [N, dim]. Raises UserError where the encoder has no text tower."""
        ...
