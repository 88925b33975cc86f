"""Layouts for requests in words: they show what is asked, are mirrored as a whole, and come back as kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.generators.conditions import Conditions, Layout
from pathagent_tools.generators.embedded_generator import EmbeddedGenerator
from pathagent_tools.generators.library import HEARD, LIBRARY_FILE, LayoutLibrary
from pathagent_tools.generators.sampling import Sampling
from pathagent_tools.generators.studio import Studio
from pathagent_tools.generators.tasks.counterfactual import edit_towards
from pathagent_tools.phantom.field import sample_field

LOOKS = (("stroma", "none"), ("invasive tumour", "solid nests"), ("invasive tumour", "solid nests"))


def library() -> LayoutLibrary:
    """Three layouts of 128 px: stroma, and tumour with few and with many nuclei."""
    labels = np.zeros((3, 128, 128), np.uint8)
    labels[0], labels[1:] = 2, 6
    labels[:, :32, :64] = 1  # fat in the upper left, so that a mirror shows
    nuclei = np.random.default_rng(0).random((3, 128, 128)) > 0.8
    words = {s: SLOTS[s][0] for s in HEARD}
    slots = [[SLOTS[s].index((words | {"tissue": t, "architecture": a})[s]) for s in HEARD] for t, a in LOOKS]
    dials = np.array([[1000, 40, 0.1, 0], [1500, 40, 0.1, 0], [8000, 40, 0.1, 0]], np.float32)
    fibres = np.full((3, 32, 32), 64, np.uint8)
    return LayoutLibrary(
        labels, nuclei, nuclei & False, fibres, np.array(slots, np.int8), dials, np.ones(3, np.float32)
    )


def test_a_layout_shows_what_is_asked_and_comes_near_the_dial() -> None:
    tumour = {"tissue": "invasive tumour", "architecture": "solid nests"}
    for seed in range(6):
        crowded = library().choose(Conditions(words=tumour, dials={"density": 9000}), seed)
        assert crowded is not None and crowded.nuclei is not None and (crowded.labels == 6).sum() > 100**2
        assert crowded.nuclei.sum() == library().nuclei[2].sum()
    assert library().choose(Conditions(words={"tissue": "mucin"}), 0) is None


def test_the_layout_that_shows_most_of_the_tissue_is_taken() -> None:
    two = library()
    two.labels[1, 20:] = 2  # the first tumour is mostly stroma now
    for seed in range(6):
        found = two.choose(Conditions(words={"tissue": "invasive tumour"}), seed)
        assert found is not None and (found.labels == 6).sum() > 100**2


def test_a_mirror_turns_all_maps_and_the_fibres_with_them() -> None:
    seen = set()
    for seed in range(24):
        found = library().choose(Conditions(words={"tissue": "stroma"}), seed)
        assert found is not None and found.nuclei is not None and found.fibres is not None
        corner = tuple(int(v) for v in (found.labels[0, 0], found.labels[0, -1], found.labels[-1, 0]))
        at = {(1, 2, 2): (1, 1), (2, 1, 2): (1, -1), (2, 2, 1): (-1, 1), (2, 2, 2): (-1, -1)}[corner]
        np.testing.assert_array_equal(found.nuclei, library().nuclei[0][:: at[0], :: at[1]])
        angle = 64 / 255 * np.pi
        assert found.fibres[0, 0] == pytest.approx(angle if at[0] == at[1] else np.pi - angle, abs=1e-5)
        seen.add(at)
    assert len(seen) == 4


def test_a_library_comes_back_as_it_was_kept_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    library().save(tmp_path)
    again = LayoutLibrary.load(tmp_path)
    assert again is not None
    np.testing.assert_array_equal(again.nuclei, library().nuclei)
    assert LayoutLibrary.load(tmp_path / "elsewhere") is None
    (tmp_path / LIBRARY_FILE).write_bytes(b"PK no archive")
    with pytest.raises(UserError, match="damaged"):
        LayoutLibrary.load(tmp_path)


def test_words_are_drawn_on_a_layout_and_a_layout_of_ones_own_stays(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = EmbeddedGenerator(weights)
    generator.library = library()
    told: list[Layout | None] = []
    denoise = generator.denoise
    monkeypatch.setattr(
        generator, "denoise", lambda x, t, c: (told.extend(k.layout for k in c), denoise(x, t, c))[1]
    )
    studio = Studio(generator, sampling=Sampling(steps=1, guidance=1.0))
    own = Layout(np.full((128, 128), 9, np.uint8))
    studio.draw([Conditions(words={"tissue": "stroma"}), Conditions(layout=own)], [1, 2])
    assert told[0] is not None and (told[0].labels == 2).any()
    assert told[1] is own


def test_the_record_says_whose_layout_it_is(weights: Path) -> None:
    generator = EmbeddedGenerator(weights)
    generator.library = library()
    studio = Studio(generator, sampling=Sampling(steps=1, guidance=1.0))
    words = {"tissue": "stroma"}
    assert studio.laid_out([Conditions(words=words)], [3])[0].given["layout"] == "of a rendered field"
    own = Conditions(layout=Layout(np.full((128, 128), 9, np.uint8)))
    assert studio.laid_out([own], [3])[0].given["layout"] == "given"
    assert "layout" not in studio.laid_out([Conditions(words={"tissue": "mucin"})], [3])[0].given


def test_an_edit_is_composed_first_and_else_painted_on_a_layout(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = EmbeddedGenerator(weights)
    generator.library = library()
    studio = Studio(generator, sampling=Sampling(steps=1, guidance=1.0))
    field = next(
        f for s in range(100, 160)
        if (f := sample_field(s, px=128, mpp=1.0, partner="stain")).findings.tissue == "lymphoid infiltrate"
    )  # fmt: skip
    tumour = np.repeat(sample_field(33, px=128, mpp=1.0, partner="stain").image[None], 2, 0)
    asked: list[Conditions] = []

    def draw(conditions: list[Conditions], seeds: list[int]) -> np.ndarray:
        asked.extend(conditions)
        return tumour

    monkeypatch.setattr(studio, "draw", draw)
    edit_towards(studio, field.image, {"tissue": "invasive tumour"}, mpp=1.0, seed=0)
    composed, painted = asked[:2]
    assert composed.layout is None and painted.layout is not None
    assert (painted.layout.labels == 6).any()
    assert composed.reference is painted.reference and composed.reference is not None
