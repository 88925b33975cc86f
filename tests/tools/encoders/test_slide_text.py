"""The embedding of whole slides and whole reports: what it pools, what it refuses, and how it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.encoders.slide_text import (
    SlideTextHead,
    embed_report,
    embed_slide,
    save_head,
    sentences,
)

DIM = 3


def head() -> SlideTextHead:
    """One query that looks for the second axis; the projection keeps what it pooled."""
    queries = np.array([[0, 40, 0]], np.float32)
    weight = np.concatenate([np.eye(DIM), np.zeros((DIM, DIM))], 1).astype(np.float32)
    return SlideTextHead(
        {"slide_queries": queries, "slide_weight": weight, "text_queries": queries, "text_weight": weight}
    )


def encoder(folder: Path | None) -> Any:
    """An encoder whose words are unit axes."""
    axes = {"fat": 0, "tumour": 1, "glands": 2}

    def encode_texts(texts: Sequence[str]) -> np.ndarray:
        return np.stack([np.eye(DIM, dtype=np.float32)[axes[t.split()[0].lower().strip(".")]] for t in texts])

    return SimpleNamespace(id="axes", revision="1", folder=folder, encode_texts=encode_texts)


def test_one_tile_that_counts_outweighs_many_and_a_report_is_found_by_what_it_says(tmp_path: Path) -> None:
    save_head(head(), tmp_path)
    fatty = np.array([[3, 0, 0]] * 30, np.float32)
    with_tumour = np.concatenate([fatty, [[0, 2, 0]]]).astype(np.float32)
    slides = [embed_slide(f, encoder(tmp_path)) for f in (fatty, with_tumour)]
    report = embed_report("Fat. Tumour of 0.5 mm; fat beside it.", encoder(tmp_path))
    assert slides[1] @ report > 0.99 > slides[0] @ report
    assert [np.linalg.norm(v) for v in (*slides, report)] == pytest.approx([1, 1, 1], abs=1e-3)


def test_without_a_head_a_slide_is_the_mean_of_its_tiles_and_a_report_is_refused() -> None:
    tiles = np.array([[5, 0, 0], [0, 1, 0]], np.float32)
    np.testing.assert_allclose(embed_slide(tiles, encoder(None)), [0.7071, 0.7071, 0], atol=1e-4)
    with pytest.raises(UserError, match="has no slide_text"):
        embed_report("Fat.", encoder(None))


def test_nothing_is_not_embedded(tmp_path: Path) -> None:
    save_head(head(), tmp_path)
    with pytest.raises(UserError, match="no tile of tissue"):
        embed_slide(np.empty((0, DIM), np.float32), encoder(tmp_path))
    with pytest.raises(UserError, match="report is empty"):
        SlideTextHead(head().arrays).report(np.empty((0, DIM), np.float32))


def test_sentences_end_where_they_end() -> None:
    assert sentences("Size: 0.5 mm. No mitoses;\nfat.") == ["Size:", "0.5 mm.", "No mitoses;", "fat."]
