"""Colour deconvolution and nuclei, on dyes of our own mixing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.measure import (
    StainMatrix,
    detect_nuclei,
    estimate_stain,
    measure_region,
    separate,
)

HAEMATOXYLIN, EOSIN, WHITE = (0.62, 0.72, 0.31), (0.14, 0.92, 0.36), 244.0
SPACING_UM, RADIUS_UM = 15.0, 3.6


def unit(vector: tuple[float, ...]) -> NDArray[np.float64]:
    return np.array(vector) / np.linalg.norm(vector)


def field(px: int, mpp: float) -> tuple[NDArray[np.uint8], int]:
    """Round nuclei of 3.6 µm radius on a lattice of 15 µm over an eosin ground, and how many are whole."""
    um = (np.arange(px) + 0.5) * mpp
    offset = um % SPACING_UM - SPACING_UM / 2
    nuclei = offset[:, None] ** 2 + offset**2 <= RADIUS_UM**2
    random = np.random.default_rng(0)
    ground = random.uniform(0.35, 0.65, (px, px))
    density = ground[..., None] * unit(EOSIN) * ~nuclei[..., None]
    density = density + nuclei[..., None] * (1.0 * unit(HAEMATOXYLIN) + 0.2 * unit(EOSIN))
    whole = int(px * mpp // SPACING_UM) ** 2
    return np.clip(WHITE * np.exp(-density), 0, 255).astype(np.uint8), whole


def test_the_two_dyes_are_found_and_separated():
    rgb, _ = field(512, 0.5)
    stain = estimate_stain(rgb, white=(WHITE, WHITE, WHITE))
    assert stain.source == "estimated"
    assert np.dot(stain.haematoxylin, unit(HAEMATOXYLIN)) > 0.99
    assert np.dot(stain.eosin, unit(EOSIN)) > 0.99
    haematoxylin, eosin = separate(rgb, stain)
    assert haematoxylin[15, 15] == pytest.approx(1.0, abs=0.2)
    assert haematoxylin[0, 0] < 0.15 < eosin[0, 0]


def test_without_he_the_reference_is_used_and_said():
    grey = np.random.default_rng(0).integers(90, 110, (128, 128, 1), np.uint8).repeat(3, axis=2)
    assert estimate_stain(grey, white=(WHITE, WHITE, WHITE)).source == "reference"
    assert estimate_stain(np.full((64, 64, 3), 243, np.uint8)).source == "reference"


@pytest.mark.parametrize("mpp", [0.25, 0.5])
def test_count_and_area_do_not_depend_on_the_scale(mpp):
    rgb, whole = field(round(240 / mpp), mpp)
    nuclei = detect_nuclei(rgb, mpp, estimate_stain(rgb, white=(WHITE, WHITE, WHITE)))
    assert len(nuclei) == whole
    assert np.median(nuclei.area_um2) == pytest.approx(np.pi * RADIUS_UM**2, rel=0.2)
    assert np.median(nuclei.eccentricity) < 0.3


def test_region_measures_are_per_tissue_and_in_um():
    rgb, _ = field(480, 0.5)
    rgb[:, 240:] = 244
    found = {m.name: m for m in measure_region(rgb, 0.5, estimate_stain(rgb))}
    assert found["tissue_fraction"].value == pytest.approx(50, abs=2)
    assert found["nuclei_per_mm2"].value == pytest.approx(1e6 / SPACING_UM**2, rel=0.06)
    area = found["nuclear_area"]
    assert area.unit == "um2"
    assert area.q05 is not None and area.q95 is not None
    assert area.q05 <= area.value <= area.q95


def test_nuclear_measures_are_withheld_above_one_um_per_px():
    rgb, _ = field(256, 0.5)
    (only,) = measure_region(rgb, 1.2, StainMatrix())
    assert only.name == "tissue_fraction"
    assert "withheld above 1 µm" in (only.note or "")
    with pytest.raises(UserError, match="mpp ≤ 1"):
        detect_nuclei(rgb, 1.2, StainMatrix())


def test_empty_glass_has_no_nuclei():
    noise = np.random.default_rng(0).normal(243, 2, (256, 256, 3))
    found = {
        m.name: m.value for m in measure_region(np.clip(noise, 0, 255).astype(np.uint8), 0.5, StainMatrix())
    }
    assert found == {"tissue_fraction": 0, "nuclei_per_mm2": 0}
