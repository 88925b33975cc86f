"""Tasks over a real, untrained network: what must hold whatever the weights are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Pil

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import Image
from pathagent_tools.encoders.reading import class_keys
from pathagent_tools.generators.catalogue import TASKS, langchain_tools
from pathagent_tools.generators.conditions import Conditions, Layout
from pathagent_tools.generators.read_back import SHOWS, nuclear_numbers, read_back, targets
from pathagent_tools.generators.sources import Source, read_layout, read_mask
from pathagent_tools.generators.studio import Studio
from pathagent_tools.generators.tasks import layouts
from pathagent_tools.generators.tasks.counterfactual import blend, edit_towards, influence
from pathagent_tools.generators.tasks.large_field import ScaledLayout
from pathagent_tools.generators.tasks.patches import PatchRequest, StripRequest, draw_patches, draw_strip
from pathagent_tools.generators.tasks.restoration import restore
from pathagent_tools.generators.tasks.stains import (
    normalise,
    stain_distance,
    structure,
)
from pathagent_tools.generators.usefulness import FieldBank, usefulness
from pathagent_tools.generators.vetting import nearest, thumbnails, unit, vet
from pathagent_tools.phantom.field import FieldSample, sample_field


def saved(image: np.ndarray, path: Path) -> Path:
    Pil.fromarray(image).save(path)
    return path


def test_every_class_of_the_encoder_has_its_words() -> None:
    assert list(SHOWS) == class_keys()
    assert targets({"tissue": "invasive tumour"}) == class_keys()[:4]
    assert targets({"tissue": "invasive tumour", "architecture": "solid nests"}) == ["solid tumour nests"]


def test_a_true_field_is_read_back_as_what_it_is_and_not_as_something_else(studio: Studio) -> None:
    field = next(
        f for s in range(100, 160)
        if (f := sample_field(s, px=128, mpp=1.0, partner="stain")).findings.tissue == "lymphoid infiltrate"
    )  # fmt: skip
    true, false = {"tissue": "lymphoid infiltrate"}, {"tissue": "adipose"}
    found = read_back(studio.encoder, [field.image, field.image], [true, false], 1.0)
    assert [f[0].agrees for f in found] == [True, False]
    assert read_back(studio.encoder, [field.image[:64, :64]], [true], 1.0) == [()]


def test_patches_say_what_they_claim_and_are_vetted(studio: Studio) -> None:
    drawn = draw_patches(studio, PatchRequest(prompt="solid carcinoma", n=2, seed=3, density=4000))
    assert len(drawn.images) == 2 and drawn.words[0]["architecture"] == "solid nests"
    assert all(len(f) == 1 for f in drawn.read_back)
    vetting = vet(drawn, studio.generator)
    assert vetting.claims_checked == 2 and vetting.diversity is not None
    assert "copies were not looked for" in vetting.notes[0]


def test_a_strip_turns_one_dial_and_keeps_the_rest(studio: Studio) -> None:
    drawn = draw_strip(studio, StripRequest(dial="density", steps=3, tissue="stroma"))
    asked = [step["dials"]["density"] for step in drawn.request["steps"]]
    assert asked == sorted(asked) and len(drawn.images) == 3
    with pytest.raises(UserError, match="sets tissue itself"):
        draw_strip(studio, StripRequest(dial="grade", tissue="stroma"))


def test_windows_join_without_a_step_and_do_not_depend_on_where_they_begin(studio: Studio) -> None:
    labels = np.full((192, 192), 2, np.uint8)
    rows = list(layouts.field_rows(studio, Conditions(), layouts.WholeLayout(Layout(labels)), 320, 288, 1))
    image = np.concatenate(rows).astype(float)
    assert image.shape == (288, 320, 3)
    steps = np.abs(np.diff(image, axis=1)).mean((0, 2))
    border = 2 * studio.generator.px - layouts.OVERLAP
    assert steps[border - 4 : border + 36].mean() < 1.25 * np.median(steps)
    whole = layouts.place_noise(5, 0, 0, 256)
    assert np.array_equal(layouts.place_noise(5, 64, 48, 96), whole[:, 48:144, 64:160])


def test_a_coarse_layout_is_the_same_in_every_window() -> None:
    rng = np.random.default_rng(0)
    coarse = ScaledLayout(rng.integers(0, 14, (20, 20)).astype(np.uint8), 8)
    whole = coarse.window(0, 0, 128).labels
    part = coarse.window(40, 24, 64).labels
    assert coarse.size == (160, 160)
    assert (whole[24:88, 40:104] == part).mean() > 0.98


def test_restoration_changes_nothing_outside_of_the_mask(studio: Studio, field: FieldSample) -> None:
    mask = np.zeros((128, 128), bool)
    mask[50:70, 30:90] = True
    for method in ("telea", "generator"):
        out = restore(studio, field.partner, mask, 1.0, method)  # type: ignore[arg-type]
        assert np.array_equal(out[~mask], field.partner[~mask])
        assert (out[mask] != field.partner[mask]).any()
    with pytest.raises(UserError, match="too little is left"):
        restore(studio, field.partner, np.ones((128, 128), bool), 1.0, "telea")


@pytest.mark.parametrize("method", ["macenko", "vahadane", "reinhard"])
def test_normalised_stain_is_nearer_to_the_reference_and_keeps_the_structure(
    studio: Studio, method: str
) -> None:
    pair = sample_field(49, px=256, mpp=1.0, partner="stain")
    out = normalise(studio, pair.image, pair.partner, 1.0, method)  # type: ignore[arg-type]
    assert stain_distance(out, pair.partner) < 0.7 * stain_distance(pair.image, pair.partner)
    assert structure(out, pair.image) > 0.8
    with pytest.raises(UserError, match="too little tissue"):
        normalise(studio, np.full_like(pair.image, 245), pair.image, 1.0, method)  # type: ignore[arg-type]


def test_glass_stays_glass_and_one_dye_is_refused(studio: Studio) -> None:
    """Of a picture with little tissue the dyes of the tissue are scaled, not those of the glass."""
    pair = sample_field(49, px=256, mpp=1.0, partner="stain")
    little = np.full_like(pair.image, 245)
    little[:24, :128] = pair.image[:24, :128]
    out = normalise(studio, little, pair.partner, 1.0, "vahadane")
    assert out[100:].min() > 225
    grey = np.full_like(pair.image, 130)
    with pytest.raises(UserError, match="reinhard"):
        normalise(studio, grey, pair.partner, 1.0, "vahadane")


def test_a_counterfactual_keeps_what_it_did_not_draw_anew(studio: Studio) -> None:
    field = next(
        f for s in range(200, 240)
        if (f := sample_field(s, px=128, mpp=1.0, partner="stain")).findings.tissue == "invasive tumour"
    )  # fmt: skip
    words = {"tissue": "benign epithelium", "architecture": "regular glands"}
    drawn = edit_towards(studio, field.image, words, mpp=1.0, seed=0)
    before, edited, _ = drawn.images
    assert np.array_equal(before, field.image)
    changed = (edited != before).any(-1).mean()
    assert 0 < changed <= drawn.numbers["area"] + 0.01
    assert drawn.numbers["moved"] == (drawn.numbers["verdict_after"] == "normal glands")
    with pytest.raises(UserError, match="already"):
        edit_towards(studio, field.image, {"tissue": "invasive tumour"}, mpp=1.0, seed=0)


def test_influence_points_at_what_the_verdict_rests_on(studio: Studio) -> None:
    """A field that is tumour on one side and glass on the other: the verdict rests on the tumour."""
    field = next(
        f for s in range(200, 240)
        if (f := sample_field(s, px=128, mpp=1.0, partner="stain")).findings.tissue == "lymphoid infiltrate"
    )  # fmt: skip
    image = field.image.copy()
    image[:, 72:] = 243
    weight = influence(studio.encoder, image, 1.0, class_keys().index("lymphoid infiltrate"))
    assert weight[:, :64].mean() > weight[:, 80:].mean()


def test_blending_fades_in_from_the_border_inwards(tissue: Image) -> None:
    area = np.zeros((256, 256), bool)
    area[100:150, 100:150] = True
    out = blend(tissue, np.zeros_like(tissue), area)
    assert np.array_equal(out[~area], tissue[~area]) and out[125, 125].sum() == 0


def test_a_copy_is_recognised_in_any_orientation(tissue: Image) -> None:
    other = sample_field(34, px=256, mpp=1.0, partner="stain").image
    library = unit(thumbnails([other, tissue]).reshape(2, -1).astype(np.float32))
    alike, index = nearest(np.ascontiguousarray(np.rot90(tissue)[:, ::-1]), library)
    assert index == 1 and alike > 0.99


def test_measured_density_counts_nuclei(field: FieldSample) -> None:
    measured = nuclear_numbers(field.image, 1.0)
    assert 0.4 * field.density < measured["density"] < 1.8 * field.density


@pytest.mark.parametrize("seed", [1484, 1767])
def test_the_size_of_nuclei_is_that_of_the_epithelium_that_was_drawn(seed: int) -> None:
    """Large nuclei of a tumour among lymphocytes; without its layout all nuclei are taken."""
    sample = sample_field(seed, px=128, mpp=1.0, partner="stain")
    of_all = nuclear_numbers(sample.image, 1.0)
    of_tumour = nuclear_numbers(sample.image, 1.0, Layout(sample.labels))
    assert of_all["size"] < 0.6 * sample.area_um2
    assert of_tumour["size"] == pytest.approx(sample.area_um2, rel=0.15)
    assert of_tumour["density"] == of_all["density"]


def test_what_is_learned_from_is_what_the_classifier_then_knows() -> None:
    """Of one class only misleading fields are known: right examples mend that, by group of scanners."""
    a, b = np.eye(8, dtype=np.float32)[:2]
    bank = FieldBank(
        features=np.array([a, a, a, a, a, b, a, b], np.float32),
        classes=np.array([0, 0, 0, 1, 0, 1, 0, 1], np.int8),
        scored=np.arange(8) >= 4,
        seen=np.arange(8) < 6,
        encoder="e 1",
    )
    right = usefulness(bank, np.array([b, b, b], np.float32), [1, 1, 1])
    wrong = usefulness(bank, np.array([b, b, b], np.float32), [0, 0, 0])
    assert right.images == 3 and right.fields == {"scanners unseen": 2, "scanners seen": 2}
    assert right.before == {"scanners unseen": 0.5, "scanners seen": 0.5}
    assert right.after == {"scanners unseen": 1.0, "scanners seen": 1.0}
    assert max(wrong.after.values()) < 1.0


def test_a_bank_of_another_encoder_is_not_used(studio: Studio, tmp_path: Path) -> None:
    drawn = draw_patches(studio, PatchRequest(tissue="stroma", n=2, seed=1))
    generator = SimpleNamespace(folder=tmp_path, id="g", revision="1", px=128)
    without = vet(drawn, generator, studio.encoder)
    assert without.useful is None and "no rendered fields" in without.notes[-1]
    bank = FieldBank(
        np.eye(4, dtype=np.float32), np.zeros(4, np.int8), np.ones(4, bool), np.ones(4, bool), "x 1"
    )
    bank.save(tmp_path)
    other = vet(drawn, generator, studio.encoder)
    assert other.useful is None and "read by x 1" in other.notes[-1]


def test_bad_files_are_named(tmp_path: Path, field: FieldSample) -> None:
    with pytest.raises(UserError, match="There is no file"):
        Source(path=tmp_path / "absent.png").read()
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match="no image"):
        Source(path=tmp_path / "text.png").read()
    colour = saved(field.image, tmp_path / "colour.png")
    with pytest.raises(UserError, match="one channel"):
        read_layout(colour)
    unknown = saved(np.full((128, 128), 77, np.uint8), tmp_path / "unknown.png")
    with pytest.raises(UserError, match="class 77"):
        read_layout(unknown)
    small = saved(np.full((64, 128), 255, np.uint8), tmp_path / "small.png")
    with pytest.raises(UserError, match="128 x 64"):
        read_mask(small, field.image)
    empty = saved(np.zeros((128, 128), np.uint8), tmp_path / "empty.png")
    with pytest.raises(UserError, match="marks nothing"):
        read_mask(empty, field.image)


def test_every_task_is_a_langchain_tool_with_its_schema(studio: Studio, tmp_path: Path) -> None:
    tools = {tool.name: tool for tool in langchain_tools(studio, tmp_path)}
    assert set(tools) == {f"generate_{name}" for name in TASKS}
    assert "prompt" in tools["generate_patches"].args
    assert all("never evidence" in tool.description for tool in tools.values())
