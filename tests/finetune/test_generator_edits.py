"""Tables of edits: one is held against the exact partner, real tissue is covered evenly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pathagent_finetune import generator_edits
from pathagent_finetune.generator_store import FieldStore
from pathagent_tools.core.protocols import Image
from pathagent_tools.generators.studio import Studio
from pathagent_tools.phantom.field import FieldSample, sample_field


@pytest.fixture(scope="module")
def pairs() -> list[FieldSample]:
    """Fields whose partner has another lesion that the encoder has words for."""
    looks = [tuple(words.values()) for words in generator_edits._LESIONS]
    found: list[FieldSample] = []
    for seed in range(80):
        field = sample_field(seed, px=128, mpp=1.0, partner="lesion")
        own, other = ((f.tissue, f.architecture) for f in (field.findings, field.partner_findings))
        if field.partner_kind == "lesion" and own != other and own in looks and other in looks:
            found.append(field)
        if len(found) == 2:
            break
    return found


def store(pairs: list[FieldSample]) -> FieldStore:
    """The fields as a store in memory."""
    truth = [
        {
            "partner": f.partner_kind,
            "findings": f.findings.model_dump(),
            "partner_findings": f.partner_findings.model_dump(),
        }
        for f in pairs
    ]
    arrays = {
        "images": [np.stack([f.image for f in pairs])],
        "partners": [np.stack([f.partner for f in pairs])],
    }
    return FieldStore(Path(), arrays, truth)


@pytest.mark.parametrize("right", [True, False])
def test_an_edit_that_is_the_partner_goes_its_way(
    pairs: list[FieldSample], monkeypatch: pytest.MonkeyPatch, right: bool
) -> None:
    def edited(studio: Studio, test: FieldStore, i: int, words: dict[str, str]) -> generator_edits._Edit:
        asked = words["architecture"] == test.truth[i]["partner_findings"]["architecture"]
        image: Image = test.get("partners", i) if asked == right else 255 - test.get("images", i)
        return generator_edits._Edit(i, image, moved=asked, area=1.0)

    monkeypatch.setattr(generator_edits, "_edited", edited)
    table = generator_edits._by_truth(Studio(), store(pairs), 2)
    assert table["n"] == 2 and table["moved"] == 1.0
    assert table["nearer_than_the_other_edit"] == (1.0 if right else 0.0)
    assert table["cosine" if right else "cosine_of_the_other_edit"] == pytest.approx(1.0)


def test_every_set_of_real_tissue_is_covered_in_turn(shared_data: Path) -> None:
    damaged = generator_edits._covered(shared_data, 128, 12)
    assert len(damaged) == 12
    for covered, mask, tile in damaged:
        assert (covered[mask] == generator_edits.COVER).all() and 0 < mask.mean() < 0.9
        assert np.array_equal(covered[~mask], tile[~mask])
