"""Virtual slides show what their reports say, and the head that is trained on them tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from pathagent_finetune import slide_text
from pathagent_finetune.corpus.simulate import ARCHITECTURE, ORDINARY
from pathagent_finetune.tilestore import SHARD, TileStore
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.encoders.slide_text import ARRAYS

DIM = 96


@pytest.fixture(scope="module")
def store() -> TileStore:
    """Tiles whose pixels say their tissue, their architecture and their grade."""
    rng = Random(0)
    looks = [*ORDINARY, *(("invasive tumour", a) for a in ARCHITECTURE.values()), ("necrosis", "none")]
    truth: list[dict[str, Any]] = []
    images = np.zeros((SHARD, 4, 4, 3), np.uint8)
    for i in range(SHARD):
        tissue, architecture = rng.choice(looks)
        slots = {slot: rng.choice(values) for slot, values in SLOTS.items()}
        slots |= {"tissue": tissue, "architecture": architecture, "artifact": "none"}
        truth.append({"findings": slots})
        codes = (SLOTS["tissue"].index(tissue), SLOTS["architecture"].index(architecture), 0)
        images[i] = np.array(codes, np.uint8)
    return TileStore(Path("none"), [images], [], truth)


class Axes:
    """Pixels and words as vectors: enough for a head to learn which belong together."""

    folder = None

    def encode_tiles(self, tiles: np.ndarray) -> np.ndarray:
        first = tiles[:, 0, 0]
        out = np.zeros((len(tiles), DIM), np.float32)
        out[np.arange(len(tiles)), first[:, 0]] = out[np.arange(len(tiles)), 40 + first[:, 1]] = 1
        return out

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), DIM), np.float32)
        for row, text in zip(out, texts, strict=True):
            for word in text.lower().replace(".", "").replace(",", "").split():
                row[sum(word.encode()) % DIM] += 1
        return out + 1e-3


def test_a_virtual_slide_shows_what_its_report_says(store: TileStore) -> None:
    shelf = slide_text.Shelf(store)
    seen = set()
    for seed in range(150):
        slide = slide_text.draw_slide(seed, shelf)
        slots = [store.truth[i]["findings"] for i in slide.tiles]
        facts, tissues = slide.facts, [s["tissue"] for s in slots]
        seen.add(facts.diagnosis)
        assert slide_text.TILES[0] <= len(slots) <= slide_text.TILES[1] + 6
        assert ("invasive tumour" in tissues) is (
            facts.diagnosis in ARCHITECTURE and facts.diagnosis != "adenoma"
        ) or facts.diagnosis == "adenoma"
        if facts.necrosis == "present":
            assert "necrosis" in tissues
        if facts.lesion == "absent":
            assert not {"invasive tumour", "dysplastic epithelium", "necrosis"} & set(tissues)
        assert facts.diagnosis in slide.report(0).lower()
    assert len(seen) == 7


def test_the_head_finds_the_report_of_a_slide_and_computes_as_it_was_trained(store: TileStore) -> None:
    import torch

    encoder: Any = Axes()
    head = slide_text.train(encoder, store, seed=3, steps=40)
    table = slide_text.scores(encoder, head, store, n=60)
    untrained = slide_text.scores(encoder, slide_text.train(encoder, store, seed=3, steps=0), store, n=60)
    assert table["alike R@10"] > untrained["alike R@10"] + 0.15
    features = encoder.encode_tiles(store.images[0][:9])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    tiles, there = slide_text._padded([features, features[:2]])
    arrays = {name: torch.from_numpy(head.arrays[name]) for name in ARRAYS}
    batched = slide_text._embed(tiles, there, arrays["slide_queries"], arrays["slide_weight"])
    np.testing.assert_allclose(batched[0].numpy(), head.slide(features), atol=1e-5)
    np.testing.assert_allclose(batched[1].numpy(), head.slide(features[:2]), atol=1e-5)
    assert table["pool"] == 60
