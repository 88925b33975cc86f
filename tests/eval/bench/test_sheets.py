"""Readers see pairs in random order and cannot tell which system wrote which; the key lies apart."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pathagent.cli import run
from pathagent_eval.bench.item import Item, Said, write_jsonl
from pathagent_eval.bench.sheets import pairs
from pathagent_tools.core.errors import UserError

ITEMS = [Item(id=f"case-{i:02}", cluster=f"p{i}", reference=f"Reference {i}.") for i in range(40)]
OURS = [Said(id=i.id, text=f"Ours of {n}.\nA second line.") for n, i in enumerate(ITEMS)]
THEIRS = [Said(id=i.id, text=f"=Theirs of {n}.") for n, i in enumerate(ITEMS)]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_sheet_is_blind_and_the_key_undoes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, found in {"items": ITEMS, "ours": OURS, "theirs": THEIRS}.items():
        write_jsonl(tmp_path / f"{name}.jsonl", found)
    out = tmp_path / "out"
    paths = [str(tmp_path / f"{name}.jsonl") for name in ("ours", "theirs")]
    assert run(["eval", "sheets", *paths, "--items", str(tmp_path / "items.jsonl"), "-o", str(out)]) == 0
    assert "40 pairs" in capsys.readouterr().out
    sheet, key = rows(out / "for_readers/sheet.csv"), rows(out / "key/key.csv")
    given = "".join(p.read_text() for p in (out / "for_readers").iterdir())
    assert "case-" not in given
    assert "ours.jsonl" not in given
    assert [row["number"] for row in sheet] == [str(n) for n in range(1, 41)]
    assert [row["id"] for row in key] != [item.id for item in ITEMS]
    sides = [row["A"].endswith("ours.jsonl") for row in key]
    assert 10 < sum(sides) < 30
    for row, entry, ours_is_a in zip(sheet, key, sides, strict=True):
        n = int(entry["id"].removeprefix("case-"))
        assert row["reference"] == f"Reference {n}."
        ours, theirs = (row["text A"], row["text B"]) if ours_is_a else (row["text B"], row["text A"])
        assert ours == f"Ours of {n}. A second line."
        assert theirs == f"'=Theirs of {n}."
        assert row["remarks"] == ""


def test_the_seed_decides_the_order() -> None:
    one, same, other = (pairs(ITEMS, OURS, THEIRS, seed=s) for s in (1, 1, 2))
    assert one == same
    assert [p.item.id for p in one] != [p.item.id for p in other]


def test_a_case_without_both_texts_gives_no_pair() -> None:
    silent = [Said(id=s.id, status="abstained", text="No diagnosis.") for s in THEIRS]
    with pytest.raises(UserError, match="both systems"):
        pairs(ITEMS, OURS, silent, seed=0)
    assert len(pairs(ITEMS, OURS, [*THEIRS[:3], *silent[3:]], seed=0)) == 3
