"""A whole slide and a whole report as vectors of one space: which report belongs to which slide?

A head over the features of a tile encoder with a text tower: tiles of a slide, and sentences of a report, are
pooled by a few attention queries and their mean, then projected. It ships beside the embedded encoder's
weights; published tile encoders ship none, and say so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.encoders.reading import unit

SLIDE_TEXT_FILE: Final = "slide_text.safetensors"
ARRAYS: Final = ("slide_queries", "slide_weight", "text_queries", "text_weight")
"""`*_queries` [H, D]; `*_weight` [E, (H + 1) x D]: on the H pooled vectors and, last, the mean."""
_SENTENCE_END: Final = re.compile(r"(?<=[.;:!?])\s+")
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SlideTextHead:
    """The arrays of `ARRAYS`."""

    arrays: Mapping[str, Floats]

    def slide(self, features: Floats) -> Floats:
        """[N, D] features of a slide's tiles → unit vector [E]. UserError: no tile."""
        if len(features) == 0:
            raise UserError("The slide has no tile of tissue: there is nothing to embed.")
        return self._embedded(unit(features), "slide")

    def report(self, sentences: Floats) -> Floats:
        """[S, D] embeddings of a report's sentences → unit vector [E]. UserError: no sentence."""
        if len(sentences) == 0:
            raise UserError("The report is empty: there is nothing to embed.")
        return self._embedded(unit(sentences), "text")

    def _embedded(self, vectors: Floats, side: str) -> Floats:
        scores = self.arrays[f"{side}_queries"] @ vectors.T
        exp = np.exp(scores - scores.max(1, keepdims=True))
        pooled = (exp / exp.sum(1, keepdims=True)) @ vectors
        whole = np.concatenate([pooled.ravel(), vectors.mean(0)])
        return np.asarray(unit((self.arrays[f"{side}_weight"] @ whole)[None])[0])


def head_of(encoder: SlideEncoder) -> SlideTextHead | None:
    """The head that ships beside the encoder's weights; None where there is none."""
    folder = getattr(encoder, "folder", None)
    if folder is None or not (Path(folder) / SLIDE_TEXT_FILE).is_file():
        return None
    return _load(Path(folder), encoder.revision)


def embed_slide(features: Floats, encoder: SlideEncoder) -> Floats:
    """The unit vector [E] of a slide, in the space of `embed_report`; without a head its tiles' mean [D]."""
    head = head_of(encoder)
    return np.asarray(unit(unit(features).mean(0)[None])[0]) if head is None else head.slide(features)


def embed_report(text: str, encoder: SlideEncoder) -> Floats:
    """The unit vector [E] of a report. UserError: an empty text, or an encoder without such a head."""
    head = head_of(encoder)
    if head is None:
        raise UserError(
            f"Encoder {encoder.id!r} has no {SLIDE_TEXT_FILE}: reports are found with the embedded encoder."
        )
    return head.report(encoder.encode_texts(sentences(text)))


def sentences(text: str) -> list[str]:
    """A report's sentences, cut after `.`, `;`, `:`, `!`, `?` and at line ends; `0.5 mm` stays whole."""
    return [s.strip() for line in text.splitlines() for s in _SENTENCE_END.split(line) if s.strip()]


def save_head(head: SlideTextHead, folder: Path) -> None:
    """Write `slide_text.safetensors` as fp16."""
    from safetensors.numpy import save_file

    part = folder / f"{SLIDE_TEXT_FILE}.tmp"
    save_file({n: np.ascontiguousarray(head.arrays[n], np.float16) for n in ARRAYS}, str(part))
    part.chmod(0o644)
    part.replace(folder / SLIDE_TEXT_FILE)


@lru_cache(maxsize=4)
def _load(folder: Path, revision: str) -> SlideTextHead:
    """Read the head of `folder`; `revision` is part of the cache key."""
    from safetensors.numpy import load_file

    found = load_file(str(folder / SLIDE_TEXT_FILE))
    return SlideTextHead({name: found[name].astype(np.float32) for name in ARRAYS})
