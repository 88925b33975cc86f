"""How wrong the nuclear measures are, on phantoms whose every nucleus is known; and their stain."""

from __future__ import annotations

import numpy as np
import pytest

from pathagent_tools.measure import detect_nuclei, estimate_stain
from pathagent_tools.phantom.stain import SCANNERS
from pathagent_tools.phantom.world import Phantom, make_phantom
from pathagent_tools.slides.background import find_background
from pathagent_tools.slides.stain_kind import stain_of_pixels

FIELD_UM = 192.0
NOT_NUCLEI = ("debris", "red blood cell", "apoptotic body")


def fields_on_tissue(phantom: Phantom, n: int, seed: int) -> list[tuple[float, float]]:
    """Upper left corners (µm) of fields that are mostly tissue."""
    overview = phantom.render((0, 0, phantom.side_um, phantom.side_um), 16.0, artifacts=False)
    side = round(FIELD_UM / 16)
    dense = 245 - overview.min(-1).astype(float) > 40
    spots = [
        (16.0 * x, 16.0 * y)
        for y in range(0, len(dense) - side, side // 2)
        for x in range(0, len(dense) - side, side // 2)
        if dense[y : y + side, x : x + side].mean() > 0.7
    ]
    picks = np.random.default_rng(seed).choice(len(spots), n, replace=False)
    return [spots[i] for i in picks]


@pytest.mark.parametrize(("seed", "scanner"), [(41, "alder"), (42, "hazel"), (43, "juniper")])
def test_nuclear_count_and_area_on_phantoms(seed, scanner):
    """Measured when this was written: count −8 to 0 %, median area −6 to +10 %."""
    phantom = make_phantom(seed, "small", scanner=scanner, artifacts=False)
    corners = fields_on_tissue(phantom, 5, seed)
    boxes = [(x, y, FIELD_UM, FIELD_UM) for x, y in corners]
    pictures = [phantom.render(box, 0.5) for box in boxes]
    stain = estimate_stain(np.stack(pictures))
    found = [detect_nuclei(picture, 0.5, stain) for picture in pictures]
    true_areas = [
        n.area_um2 for box in boxes for n in phantom.label(box, 0.5).nuclei if n.cls not in NOT_NUCLEI
    ]
    areas = np.concatenate([f.area_um2 for f in found])
    count_error = len(areas) / len(true_areas) - 1
    area_error = float(np.median(areas) / np.median(true_areas)) - 1
    print(f"{scanner}: count {count_error:+.1%}, median area {area_error:+.1%}, n {len(true_areas)}")
    assert abs(count_error) < 0.2
    assert abs(area_error) < 0.3


@pytest.mark.parametrize("mpp", [0.5, 1.0])
def test_a_vesicular_nucleus_is_measured_whole(mpp):
    """Dark at the rim, pale in the middle. Measured when this was written: 0.885, at 1 µm/px 0.878 of 131;
    with the rim alone found, 0.855 and 0.695."""
    whole = []
    for seed, scanner in enumerate(("alder", "cedar", "hazel", "juniper")):
        kind = {"diagnosis": "solid carcinoma", "grade": "grade 3", "scanner": scanner}
        phantom = make_phantom(9117 + seed, "small", artifacts=False, **kind)
        lesion = np.argwhere(phantom.label((0, 0, phantom.side_um, phantom.side_um), 16.0).lesion)
        corner = 16.0 * lesion.mean(0)[::-1] - FIELD_UM / 2
        box = (*corner, FIELD_UM, FIELD_UM)
        picture = phantom.render(box, mpp)
        found = detect_nuclei(picture, mpp, estimate_stain(picture))
        for nucleus in phantom.label(box, mpp).nuclei:
            at = np.array([nucleus.x_um, nucleus.y_um]) - corner
            radius = np.sqrt(nucleus.area_um2 / np.pi)
            inner = (at > radius).all() and (at < FIELD_UM - radius).all()
            if nucleus.grade == "high" and not nucleus.mitosis and inner:
                areas = found.area_um2[np.hypot(*(found.xy_px * mpp - at).T) < radius]
                whole.append(len(areas) == 1 and 0.6 < areas[0] / nucleus.area_um2 < 1.6)
    print(f"{mpp} µm/px: {np.mean(whole):.3f} of {len(whole)} whole")
    assert len(whole) > 80
    assert np.mean(whole) > 0.865


def test_phantoms_look_like_he_on_every_scanner():
    plain = make_phantom(7, "small", artifacts=False)
    corners = fields_on_tissue(plain, 4, 7)
    for scanner in SCANNERS:
        phantom = make_phantom(7, "small", scanner=scanner, artifacts=False)
        overview = phantom.render((0, 0, phantom.side_um, phantom.side_um), 16.0)
        background = find_background(overview)
        assert background.kind == "white"
        pictures = np.stack([phantom.render((x, y, FIELD_UM, FIELD_UM), 0.5) for x, y in corners])
        found = stain_of_pixels(pictures, white=background.rgb)
        assert (found.kind, found.wrong_colours) == ("H&E", False), scanner
