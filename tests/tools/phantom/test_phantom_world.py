"""A phantom is one world: windows agree, and each argument changes only what it names."""

from __future__ import annotations

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.vocabulary import DIAGNOSES
from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.plan import PLAN_CELL_UM
from pathagent_tools.phantom.world import Phantom, make_phantom


@pytest.fixture(scope="module")
def cancer() -> Phantom:
    return make_phantom(5, diagnosis="solid carcinoma", grade="grade 2", lesion_mm=0.4, scanner="cedar")


def lesion_window(phantom: Phantom, side: float = 128.0) -> tuple[float, float, float, float]:
    """A window of `side` µm on whole pixels around the middle of the lesion."""
    rows, columns = np.nonzero(phantom.diseased.mask)
    x, y = (round(float(v.mean()) * PLAN_CELL_UM - side / 2) for v in (columns, rows))
    return float(x), float(y), side, side


@pytest.mark.parametrize("mpp", [0.5, 1.0])
def test_overlapping_windows_show_the_same_pixels(cancer: Phantom, mpp: float) -> None:
    x, y, _, _ = lesion_window(cancer)
    one = cancer.render((x, y, 128, 96), mpp)
    other = cancer.render((x + 32, y + 16, 96, 64), mpp)
    top, left = int(16 / mpp), int(32 / mpp)
    assert np.array_equal(one[top : top + other.shape[0], left : left + other.shape[1]], other)


def test_coarse_pixels_are_area_averages_of_fine_ones(cancer: Phantom) -> None:
    window = lesion_window(cancer, 96.0)
    fine = cancer.render(window, 0.5).astype(float)
    coarse = cancer.render(window, 1.0).astype(float)
    averaged = fine.reshape(96, 2, 96, 2, 3).mean((1, 3))
    assert np.abs(averaged - coarse).max() <= 0.51


def test_another_stain_or_scanner_keeps_the_content(cancer: Phantom) -> None:
    window = lesion_window(cancer)
    plain = cancer.render(window, 1.0)
    dark = cancer.render(window, 1.0, stain="dark")
    other = cancer.render(window, 1.0, scanner="juniper")
    assert dark.mean() < plain.mean() - 10
    assert not np.array_equal(other, plain)
    for image in (dark, other):
        correlation = np.corrcoef(image.mean(2).ravel(), plain.mean(2).ravel())[0, 1]
        assert correlation > 0.95


def test_without_lesion_only_the_lesion_changes(cancer: Phantom) -> None:
    inside = lesion_window(cancer)
    maps = cancer.label(inside, 1.0)
    assert maps.lesion.mean() > 0.5 and (maps.labels == k.C_TUMOUR).any()
    assert any(n.cls == "tumour" for n in maps.nuclei)
    bare = cancer.label(inside, 1.0, lesion=False)
    assert not (bare.labels == k.C_TUMOUR).any() and not any(n.cls == "tumour" for n in bare.nuclei)
    far = next(
        (x, y, 128.0, 128.0)
        for x in range(0, 1400, 64)
        for y in range(0, 1400, 64)
        if _far_tissue(cancer, x, y)
    )
    assert np.array_equal(cancer.render(far, 1.0), cancer.render(far, 1.0, lesion=False))


def _far_tissue(phantom: Phantom, x: int, y: int) -> bool:
    """Whether a 128 µm window is tissue and everything within 300 µm is free of lesion."""
    c = int(1 / PLAN_CELL_UM * x), int(1 / PLAN_CELL_UM * y)
    near = phantom.diseased.mask[max(0, c[1] - 38) : c[1] + 54, max(0, c[0] - 38) : c[0] + 54]
    own = phantom.plan.zones[c[1] : c[1] + 16, c[0] : c[0] + 16]
    return not near.any() and own.size > 0 and bool((own != k.GLASS).all())


def test_artifacts_leave_the_rest_alone() -> None:
    marked = make_phantom(1, diagnosis="chronic inflammation")
    assert {a.kind for a in marked.artifacts} >= {"crush", "pen"}
    pen = next(a for a in marked.artifacts if a.kind == "pen")
    over = (pen.x - 32, pen.y - 32, 64.0, 64.0)
    changed = np.abs(marked.render(over, 1.0).astype(int) - marked.render(over, 1.0, artifacts=False))
    assert changed.mean() > 30
    clean = make_phantom(1, diagnosis="chronic inflammation", artifacts=False)
    assert clean.artifacts == () and np.array_equal(clean.plan.zones, marked.plan.zones)
    assert np.array_equal(clean.render(over, 1.0), marked.render(over, 1.0, artifacts=False))


def test_findings_name_the_tumour(cancer: Phantom) -> None:
    findings = cancer.findings(lesion_window(cancer, 192.0))
    assert (findings.tissue, findings.architecture, findings.nuclear_grade) == (
        "invasive tumour",
        "solid nests",
        "intermediate",
    )
    assert cancer.findings((0, 0, 192, 192)).tissue == "background"


def test_epithelial_nuclei_lie_in_epithelium(cancer: Phantom) -> None:
    window = (0.0, 0.0, cancer.side_um, cancer.side_um)
    table = cancer.plan.nuclei_inside(*window)
    labels = cancer.plan.labels(0.0, 0.0, 1.0, 1536, 1536)
    for cls, allowed in (
        (k.N_TUMOUR, (k.C_TUMOUR,)),
        (k.N_BENIGN, (k.C_BENIGN, k.C_BENIGN_LUMEN)),
    ):
        rows = table[table[:, 2] == cls]
        under = labels[rows[:, 1].astype(int), rows[:, 0].astype(int)]
        assert len(rows) > 50 and np.isin(under, allowed).mean() > 0.95


@pytest.mark.parametrize("family", list(DIAGNOSES))
def test_every_family_has_its_lesion(family: str) -> None:
    phantom = make_phantom(3, diagnosis=family)
    assert phantom.grade in DIAGNOSES[family]
    assert phantom.diseased.mask.any() == (family != "no significant abnormality")
    assert not phantom.diseased.mask[phantom.layout.zones == k.GLASS].any()
    assert any(p.kind == "mild inflammation" for p in phantom.layout.look_alikes)


def test_lesion_size_is_what_was_asked() -> None:
    phantom = make_phantom(8, diagnosis="adenocarcinoma", lesion_mm=0.25)
    assert phantom.diseased.lesion_mm == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": "huge"}, "small, standard, large"),
        ({"diagnosis": "melanoma"}, "adenocarcinoma"),
        ({"diagnosis": "adenoma", "grade": "grade 2"}, "low-grade dysplasia"),
        ({"scanner": "oak"}, "juniper"),
        ({"stain": "blue"}, "pale, balanced, dark"),
        ({"diagnosis": "adenoma", "lesion_mm": 9.0}, "smaller lesion_mm"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_phantom(1, **arguments)  # type: ignore[arg-type]


def test_windows_without_pixels_are_refused(cancer: Phantom) -> None:
    with pytest.raises(UserError, match="no pixel"):
        cancer.render((0, 0, 0.1, 10), 0.5)
    with pytest.raises(UserError, match="resolution"):
        cancer.render((0, 0, 10, 10), 0.0)
