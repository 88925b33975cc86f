"""Fields and their partners: the same place, different in one thing only."""

from __future__ import annotations

import numpy as np
import pytest

from pathagent_tools.phantom.field import Partner, sample_field
from pathagent_tools.phantom.stain import SCANNERS_HELD_OUT


@pytest.mark.parametrize("partner", ["artifact", "lesion"])
def test_a_partner_differs_only_where_it_says(partner: Partner) -> None:
    field = sample_field(6, px=64, mpp=1.0, partner=partner)
    assert field.partner_kind == partner
    assert 0 < field.changed.mean() < 1
    difference = np.abs(field.image.astype(int) - field.partner).max(-1)
    assert difference[~field.changed].max() <= 14
    assert difference[field.changed].mean() > 3 * difference[~field.changed].mean()


def test_a_stain_partner_keeps_the_content() -> None:
    field = sample_field(6, px=64, mpp=1.0, partner="stain")
    assert not field.changed.any()
    grey = [p.astype(float).mean(-1).ravel() for p in (field.image, field.partner)]
    assert np.corrcoef(*grey)[0, 1] > 0.9
    assert field.findings.tissue == field.partner_findings.tissue


def test_nuclei_are_darker_than_what_is_around_them() -> None:
    field = sample_field(1, px=128, mpp=1.0, partner="stain")
    red = field.image[..., 0].astype(float)
    assert 0.03 < field.nuclei.mean() < 0.6
    assert red[field.nuclei].mean() < red[~field.nuclei].mean() - 15


def test_the_same_seed_gives_the_same_field_and_a_group_shares_its_scanner() -> None:
    a, b = sample_field(40, px=32, mpp=1.0), sample_field(40, px=32, mpp=1.0)
    assert np.array_equal(a.image, b.image) and np.array_equal(a.partner, b.partner)
    assert {sample_field(s, px=32, mpp=1.0).scanner for s in range(40, 44)} == {a.scanner}


def test_training_never_sees_a_held_out_scanner() -> None:
    held_out = {s.name for s in SCANNERS_HELD_OUT}
    train = {sample_field(s, px=16, mpp=1.0).scanner for s in range(0, 160, 8)}
    test = {sample_field(s, px=16, mpp=1.0, split="test").scanner for s in range(0, 160, 8)}
    assert not train & held_out
    assert test & held_out
