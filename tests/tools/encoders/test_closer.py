"""The closer scan: half steps around the best tiles, each once, inside the slide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathagent_tools.encoders import closer, reading
from pathagent_tools.encoders.registry import load_encoder
from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.tile import sample_tile


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1), st.data())
def test_new_tiles_are_half_a_step_from_a_best_one(cells: set[tuple[int, int]], data: object) -> None:
    coords = np.array(sorted(cells), np.int64) * 256
    best = np.array([data.draw(st.integers(0, len(coords) - 1))])  # type: ignore[attr-defined]
    new = closer.half_steps(coords, best, 256, (0, 0, 2048, 2048))
    assert len({tuple(c) for c in new.tolist()}) == len(new)
    assert (np.abs(new - coords[best[0]]).max(1) == 128).all()
    assert ((new >= 0) & (new + 256 <= 2048)).all()


def test_suspicion_shifts_with_nothing_that_shifts_the_whole_slide() -> None:
    """Disease stands out, and a tile by as much alone as among the slide that it is compared with."""
    encoder = load_encoder("embedded")
    words = ["solid tumour nests", *["collagenous stroma without epithelium"] * 3, *["mature adipocytes"] * 3]
    features = encoder.encode_texts(words)
    found = reading.suspicion(features, encoder)
    assert found.argmax() == 0
    assert found[0] > 2
    again = reading.suspicion(features[:1], encoder, among=features)
    assert again[0] == pytest.approx(found[0], rel=1e-5)
    assert (
        reading.anomaly(features[:1], encoder, among=features) >= 0.5 * reading.anomaly(features, encoder)[0]
    )


def test_a_few_sick_cells_make_a_tile_suspicious() -> None:
    """A patch of tumour a quarter of a tile wide is found by the cells of the map, wherever it lies."""
    encoder = load_encoder("embedded")
    samples = [sample_tile(9_410_000 + i, field_um=128.0, px=128) for i in range(200)]
    sound = [s.image for s in samples if s.class_fractions["stroma"] > 0.95][:6]
    tumours = [s.image for s in samples if (s.label_map[48:80, 48:80] == k.C_TUMOUR).mean() > 0.8][:6]
    assert len(sound) == len(tumours) == 6
    sick = []
    for i, (tile, tumour) in enumerate(zip(sound, tumours, strict=True)):
        y, x = 8 * i, 96 - 8 * i
        patched = tile.copy()
        patched[y : y + 32, x : x + 32] = tumour[48:80, 48:80]
        sick.append(patched)
    found = closer._diseased(encoder, np.stack([*sound, *sick]))
    assert np.mean(found[6:] > found[:6].max()) >= 0.75
    assert np.median(found[6:]) > 0.5, "the sick cells count, not their share of the tile"


@pytest.mark.parametrize("artifact", ["fold", "blur", "pen", "bubble", "crush"])
def test_artifacts_are_told_from_sound_tiles_by_words(artifact: str) -> None:
    samples = [sample_tile(9_430_000 + i, field_um=128.0, px=128, split="test") for i in range(240)]
    sound = np.stack([s.image for s in samples if not any(s.meta["artifacts"].values())])
    under = np.stack([s.image for s in samples if s.findings.artifact == artifact])
    encoder = load_encoder("embedded")
    clean, covered = (reading.soundness(encoder.encode_tiles(t), encoder) for t in (sound, under))
    assert np.median(clean) > 0.9 and np.mean(covered < 0.5) >= 0.8
