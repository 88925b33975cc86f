"""Slides with reports as instruction data: what is asked, what is held out, and what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image
from tiny_bases import write_recipe

from pathagent import cli
from pathagent.commands.phantom import render_slide
from pathagent_finetune.report_twins import twins
from pathagent_finetune.slide_corpus import build_corpus
from pathagent_finetune.slide_tiles import TileMaker
from pathagent_finetune.user_corpus import read_corpus
from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.vlm.profile import load_profile

REPORTS = (
    "Solid carcinoma, grade 3. Solid nests of tumour. Frequent mitoses. Necrosis is present.",
    "Chronic inflammation, marked. No necrosis.",
    "Adenocarcinoma, grade 2. Irregular glands infiltrate the wall.",
)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_slide(tmp_path_factory.mktemp("phantom"), seed=91_000_001)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six small slides of a disc of tissue on white, each with its own colour."""
    folder = tmp_path_factory.mktemp("slides")
    return [write_disc(folder / f"{i}.tiff", i) for i in range(6)]


def write_disc(path: Path, seed: int, side: int = 1024) -> Path:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side]
    tissue = np.hypot(x - side / 2, y - side / 2) < 0.4 * side
    colour = np.array([200 - 8 * seed, 110, 170])
    pixels = np.where(tissue[..., None], colour + rng.normal(0, 18, (side, side, 1)), 244)
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            np.clip(pixels, 0, 255).astype(np.uint8), photometric="rgb", tile=(256, 256), metadata=None,
            resolution=(2e4, 2e4), resolutionunit="CENTIMETER", compression="jpeg",
        )  # fmt: skip
    return path


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as out:
        table = csv.DictWriter(out, columns)
        table.writeheader()
        table.writerows(rows)
    return path


def rows_of(slides: list[Path], **more: Any) -> list[dict[str, Any]]:
    return [
        {"slide": s, "report": f"Report {i} {chr(97 + i) * 9}.", "patient": f"P{i}", **more}
        for i, s in enumerate(slides)
    ]


def maker(out: Path, count: int = 3) -> TileMaker:
    return TileMaker(load_profile("embedded"), count, "spread", out)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def manifest(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "corpus.json").read_text())
    return found


def test_a_phantom_becomes_a_report_and_questions_on_its_facts(
    phantom: Path, slides: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.txt").write_text(REPORTS[0] + "\n")
    rows = [
        {"slide": phantom, "report": "r.txt", "patient": "A"},
        {"slide": slides[0], "report": REPORTS[1], "patient": "B"},
    ]
    table, out = write_table(tmp_path / "t.csv", rows), tmp_path / "corpus"
    assert cli.run(["finetune", "corpus", str(table), "-o", str(out), "--tiles", "3"]) == 0
    assert capsys.readouterr().out.strip() == str(out / "examples.jsonl")
    found = lines(out / "examples.jsonl")
    said = {row["id"]: row["messages"][-1]["content"] for row in found}
    assert said["t.csv:2#report"] == REPORTS[0]
    assert {k: v for k, v in said.items() if k.startswith("t.csv:2")} == {
        "t.csv:2#report": REPORTS[0], "t.csv:2#diagnosis": "solid carcinoma", "t.csv:2#grade": "grade 3",
        "t.csv:2#architecture": "solid nests", "t.csv:2#mitoses": "many", "t.csv:2#necrosis": "present",
    }  # fmt: skip
    assert said["t.csv:3#necrosis"] == "absent"
    for row in found:
        assert len(row["images"]) == row["messages"][1]["content"].count("<image>") == 3
        assert "{" not in row["messages"][1]["content"]
        assert "3 fields of 192 µm" in row["messages"][1]["content"]
        for name in row["images"]:
            with Image.open(out / name) as image:
                assert image.size == (192, 192)
    assert {row["split"] for row in found} == {"train", "validation"}
    assert len({(row["patient"], row["split"]) for row in found}) == 2
    assert read_corpus(out / "examples.jsonl", mpp=1).faults == ()


def test_the_corpus_tunes_an_adapter(slides: list[Path], tmp_path: Path) -> None:
    rows = [row | {"report": REPORTS[i % 3] + " x" * i} for i, row in enumerate(rows_of(slides))]
    path = build_corpus(
        write_table(tmp_path / "t.csv", rows), maker(tmp_path / "c", 2), same_reports="apart", validation=0.3
    )
    recipe = write_recipe(tmp_path / "r.yaml", "embedded", steps=4, evaluate_steps=2, role="chat", lr=5e-3)
    command = ["finetune", "vlm", "--recipe", str(recipe), "--data", str(path), "-o", str(tmp_path / "a")]
    assert cli.run(command) == 0
    card = ModelCard.load(tmp_path / "a")
    assert card.trained_on["patients"] == 6
    assert card.scores["validation_loss"]["after"] < card.scores["validation_loss"]["before"]


def test_spread_tiles_lie_apart_on_the_tissue(slides: list[Path], tmp_path: Path) -> None:
    build_corpus(write_table(tmp_path / "t.csv", rows_of(slides[:2])), maker(tmp_path / "c", 4))
    tiles = json.loads(next((tmp_path / "c/tiles").rglob("tiles.json")).read_text())
    boxes = [(t["region"]["x"], t["region"]["y"]) for t in tiles]
    assert len(set(boxes)) == len(boxes) == manifest(tmp_path / "c")["slides"][0]["tiles"]
    for i, (x, y) in enumerate(boxes):
        assert all(max(abs(x - a), abs(y - b)) >= 384 for a, b in boxes[:i])
        with Image.open(tmp_path / "c" / tiles[i]["file"]) as image:
            assert (np.asarray(image).min(-1) < 200).mean() > 0.45


def test_a_real_slide(shared_data: Path, slides: list[Path], tmp_path: Path) -> None:
    slide = shared_data / "wsi_small/cmu-1-small-region.svs"
    rows = [{"slide": slide, "report": REPORTS[2], "patient": "A"}, *rows_of(slides[:1])]
    table, out = write_table(tmp_path / "t.csv", rows), tmp_path / "corpus"
    assert cli.run(["finetune", "corpus", str(table), "-o", str(out), "--tiles", "2"]) == 0
    found = {row["id"]: row for row in lines(out / "examples.jsonl")}
    assert found["t.csv:2#diagnosis"]["messages"][-1]["content"] == "adenocarcinoma"
    assert manifest(out)["slides"][0]["tiles"] == 2


def test_label_and_macro_are_never_in_a_tile(tmp_path: Path, slides: list[Path]) -> None:
    with openslide.OpenSlide(slides[0]) as plain:
        pixels = np.asarray(plain.read_region((0, 0), 0, plain.dimensions).convert("RGB"))
    path = tmp_path / "aperio.svs"
    shared = {"photometric": "rgb", "metadata": None, "compression": "jpeg"}
    said = "Aperio Image Library v11\n1024x1024 [0,0 1024x1024] (256x256)|AppMag = 20|MPP = 0.5"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(pixels, tile=(256, 256), description=said, **shared)
        tiff.write(pixels[::4, ::4].copy(), description="Aperio Image Library v11\nthumbnail", **shared)
        for name, kind in (("label", 1), ("macro", 9)):
            green = np.full((300, 300, 3), (0, 255, 0), np.uint8)
            tiff.write(
                green, description=f"Aperio Image Library v11\n{name} 300x300", subfiletype=kind, **shared
            )
    with openslide.OpenSlide(path) as slide:
        assert {"label", "macro"} <= set(slide.associated_images)
    rows = [{"slide": path, "report": "A.", "patient": "A"}, *rows_of(slides[1:2])]
    build_corpus(write_table(tmp_path / "t.csv", rows), maker(tmp_path / "c"))
    for png in (tmp_path / "c/tiles").rglob("*.png"):
        with Image.open(png) as image:
            red, green_, blue = np.asarray(image, np.int16).reshape(-1, 3).T
        assert not ((green_ > red + 60) & (green_ > blue + 60)).any()


def test_the_same_command_goes_on_and_reads_no_slide_twice(
    slides: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_table(tmp_path / "t.csv", rows_of(slides[:3]))
    saved: list[Path] = []
    whole = TileMaker._save

    def save(self: TileMaker, opened: Any, folder: Path) -> Any:
        saved.append(folder)
        if len(saved) == 3:
            raise KeyboardInterrupt
        return whole(self, opened, folder)

    monkeypatch.setattr(TileMaker, "_save", save)
    with pytest.raises(KeyboardInterrupt):
        build_corpus(table, maker(tmp_path / "c"))
    assert not (tmp_path / "c/examples.jsonl").exists()
    path = build_corpus(table, maker(tmp_path / "c"))
    assert len(saved) == 4
    assert saved[2] == saved[3]
    other = build_corpus(table, maker(tmp_path / "whole"))
    assert path.read_bytes() == other.read_bytes()
    with pytest.raises(UserError, match="a corpus with other tiles"):
        build_corpus(table, maker(tmp_path / "c", 2))


BAD: dict[str, dict[str, Any]] = {
    "unreadable slide": {"slide": "broken.svs"},
    "missing slide": {"slide": ""},
    "empty report": {"report": "  "},
    "unreadable report": {"report": "gone.txt"},
    "missing patient": {"patient": ""},
    "bad mpp": {"mpp": "40x"},
    "unknown split": {"split": "holdout"},
    "no tissue": {"slide": "blank.tiff"},
    "slide of two patients": {"slide": "copy.tiff"},
    "repeated row": {"slide": "copy.tiff", "patient": "P0", "report": "Report 0 aaaaaaaaa."},
}


@pytest.fixture
def bad_files(tmp_path: Path, slides: list[Path]) -> Iterator[Path]:
    (tmp_path / "broken.svs").write_text("no slide")
    (tmp_path / "copy.tiff").write_bytes(slides[0].read_bytes())
    with tifffile.TiffWriter(tmp_path / "blank.tiff") as tiff:
        white = np.full((1024, 1024, 3), 244, np.uint8)
        tiff.write(
            white, photometric="rgb", tile=(256, 256), resolution=(2e4, 2e4), resolutionunit="CENTIMETER"
        )
    yield tmp_path


@pytest.mark.parametrize("kind", BAD)
def test_a_row_that_gives_nothing_stops_the_build_or_is_counted(
    kind: str, slides: list[Path], bad_files: Path
) -> None:
    good = rows_of(slides[:2], mpp="", split="")
    bad = {"slide": slides[2], "report": "Another.", "patient": "P9", **BAD[kind]}
    table = write_table(bad_files / "t.csv", [*good, bad])
    with pytest.raises(
        UserError, match=rf"1 of 3 rows cannot be used \(1 {kind}\); first t\.csv:4: .*--skip-bad"
    ):
        build_corpus(table, maker(bad_files / "c", 1))
    build_corpus(table, maker(bad_files / "c", 1), skip_bad=True)
    said = manifest(bad_files / "c")
    assert said["skipped"] == {kind: 1}
    assert len(said["slides"]) == 2
    assert said["faults"][0].startswith(f"t.csv:4: {kind}: ")


def test_patients_and_near_identical_reports_stay_on_one_side(slides: list[Path], tmp_path: Path) -> None:
    words = (
        "The biopsy shows colonic mucosa with crypts of regular shape and no dysplasia in any of the levels"
    )
    rows = rows_of(slides)
    for i, changes in enumerate(
        [{"report": words}, {"report": words.upper() + "."}, {"report": f"{words} seen"}]
    ):
        rows[i] |= changes
    rows[3]["patient"] = "P2"
    table = write_table(tmp_path / "t.csv", rows)
    for seed in range(4):
        build_corpus(table, maker(tmp_path / "c", 1), validation=0.3, seed=seed)
        sides = [s["split"] for s in manifest(tmp_path / "c")["slides"]]
        assert len(set(sides[:4])) == 1
    with pytest.raises(UserError, match=r"No slide is left for train: .* --same-reports apart"):
        build_corpus(write_table(tmp_path / "t.csv", rows[:4]), maker(tmp_path / "c", 1))
    build_corpus(
        write_table(tmp_path / "t.csv", rows[:4]),
        maker(tmp_path / "c", 1),
        same_reports="apart",
        validation=0.5,
    )
    assert manifest(tmp_path / "c")["reports_with_a_twin_in_another_split"] == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            [{"patient": "P1"}, {"patient": "P1"}],
            "patient P1 is in train .t.csv:2. and in validation .t.csv:3.",
        ),
        ([{"report": "Same words."}, {"report": "same  WORDS"}], "nearly identical report is in train"),
        ([{"slide": 1, "patient": "P"}, {"slide": 1, "patient": "P"}], "patient P is in train"),
    ],
)
def test_a_leak_in_the_tables_own_splits_is_refused(
    changes: list[dict[str, Any]], said: str, slides: list[Path], tmp_path: Path
) -> None:
    rows = rows_of(slides[:3], split="train")
    for row, change in zip(rows, changes, strict=False):
        row |= change
        row["slide"] = slides[row["slide"]] if isinstance(row["slide"], int) else row["slide"]
    rows[1]["split"] = "val"
    with pytest.raises(UserError, match=said):
        build_corpus(write_table(tmp_path / "t.csv", rows), maker(tmp_path / "c", 1))


def test_twins_are_near_identical_texts_and_no_others() -> None:
    base = "Stomach, biopsy: chronic active gastritis with intestinal metaplasia and no dysplasia found here"
    texts = [base, base.lower().replace(":", ""), base + " today", "Stomach, biopsy: adenocarcinoma", "Lung."]
    labels = twins(texts)
    assert labels[0] == labels[1] == labels[2]
    assert len(set(labels)) == 3
    many = [f"report {i} of {i * 7} with {i * 3} words" for i in range(700)]
    assert len(set(twins([*many, many[3]]))) == 700


@pytest.mark.parametrize(
    ("text", "said"),
    [("slide,report\n", "no column patient"), ("a\udcfb\n", "cannot be read as UTF-8")],
)
def test_a_table_that_cannot_be_read_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=said):
        build_corpus(tmp_path / "t.csv", maker(tmp_path / "c"))
    with pytest.raises(UserError, match="There is no table at"):
        build_corpus(tmp_path / "gone.csv", maker(tmp_path / "d"))
