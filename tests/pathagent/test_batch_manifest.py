"""A manifest says which slides are of which case; what is wrong with it is said before any work starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pathagent.batches.manifest import read_manifest, shard_of, with_references
from pathagent.cli import run
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.references import read_predictions, read_references


def written(folder: Path, text: str, name: str = "cases.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_rows_of_one_case_are_one_case_of_several_slides(tmp_path: Path) -> None:
    text = (
        "case,slide,mpp,history,patient,reference,ward\n"
        'A,a1.svs,0.5,"Lump, left",P1,"Carcinoma,\ngrade 2",7\n'
        "B,b.svs,,,P1,Adenoma,7\nA,sub/a2.svs,0.25,,P1,,9\n"
    )
    first, second = read_manifest(written(tmp_path, text))
    assert [(s.name, s.mpp) for s in first.slides] == [("a1.svs", 0.5), ("a2.svs", 0.25)]
    assert first.slides[1].path == str(tmp_path / "sub/a2.svs")
    assert (first.history, first.patient, first.reference) == ("Lump, left", "P1", "Carcinoma,\ngrade 2")
    assert (second.name, second.slides[0].mpp, second.history) == ("B", None, None)


def test_a_folder_a_pattern_and_a_list_name_slides(tmp_path: Path) -> None:
    for name in ("b.svs", "a.tiff", "notes.txt"):
        (tmp_path / name).touch()
    assert [c.name for c in read_manifest(tmp_path)] == ["a", "b"]
    assert [c.name for c in read_manifest(str(tmp_path / "*.svs"))] == ["b"]
    assert [c.name for c in read_manifest([tmp_path / "b.svs", tmp_path / "gone.svs"])] == ["b", "gone"]


def test_the_columns_of_other_tools_are_known(tmp_path: Path) -> None:
    (case,) = read_manifest(written(tmp_path, "\ufeffwsi,mpp\nx.svs,0.5\n"))
    assert (case.name, case.slides[0].mpp) == ("x", 0.5)


WRONG = {
    "": "no column slide",
    "case,slide\n": "No slides in",
    "case,mpp\nA,0.5\n": "no column slide",
    "case,slide,refrence\nA,a.svs,x\n": "Did you mean 'reference'",
    "case,slide\nA,\n": "line 2: no slide is named",
    "case,slide\n,a.svs\n": "line 2: no case is named",
    "case,slide,mpp\nA,a.svs,half\n": "'half'",
    "case,slide,mpp\nA,a.svs,-1\n": "'-1'",
    "case,slide\nA,x/a.svs\nA,y/a.svs\n": "two slides a.svs",
    "case,slide\nA,a.svs\nB,a.svs\n": "of case A and of case B",
    "case,slide\nA,a.svs\na,b.svs\n": "Two cases are named 'a'",
    "case,slide\n../A,a.svs\n": "cannot name a folder",
    "slide\nx/a.svs\ny/a.svs\n": "names two slides a",
    "case,slide,history\nA,a.svs,lump\nA,b.svs,polyp\n": "two different values of history",
    'case,slide\nA,"a.svs\n': "not a readable CSV",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_manifest_is_refused_in_one_sentence_with_nothing_left_behind(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, out = written(tmp_path, text), tmp_path / "out"
    assert run(["batch", str(manifest), "-o", str(out)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert WRONG[text] in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not out.exists()


def test_two_slides_of_one_name_need_a_manifest(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.svs").touch()
    with pytest.raises(UserError, match=r"same name.*columns case,slide"):
        read_manifest(str(tmp_path / "*" / "a.svs"))


def test_references_must_match_the_cases(tmp_path: Path) -> None:
    cases = read_manifest(written(tmp_path, "case,slide\nA,a.svs\nB,b.svs\n"))
    table = written(tmp_path, "case,reference,patient\nA,Adenoma\u2028G1,P1\nB,Carcinoma,\n", "refs.csv")
    assert [(c.reference, c.patient) for c in with_references(cases, read_references(table))] == [
        ("Adenoma\u2028G1", "P1"),
        ("Carcinoma", None),
    ]
    strange = written(tmp_path, '{"case": "C", "reference": "x"}\n', "refs.jsonl")
    with pytest.raises(UserError, match="1 too many, 2 missing"):
        with_references(cases, read_references(strange))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("case,reference\nA,x\nA,y\n", "two references"),
        ("case,reference\nA, \n", "is empty"),
        ("case,text\nA,x\n", "no 'reference'"),
        ("case,reference\n", "no rows"),
    ],
)
def test_a_wrong_table_of_references_is_refused(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        read_references(written(tmp_path, text, "refs.csv"))


def test_predictions_tell_a_failure_from_an_abstention(tmp_path: Path) -> None:
    lines = '{"case": "A", "text": "x"}\n{"case": "B", "text": null}\n{"case": "C", "text": " "}\n'
    found = read_predictions(written(tmp_path, lines, "p.jsonl"))
    assert {case: p.status for case, p in found.items()} == {"A": "report", "B": "failed", "C": "abstained"}
    with pytest.raises(UserError, match="predicted twice"):
        read_predictions(written(tmp_path, lines + lines, "p.jsonl"))
    with pytest.raises(UserError, match="line 1 is no JSON"):
        read_predictions(written(tmp_path, "{\n", "p.jsonl"))


def test_the_parts_of_a_batch_are_the_whole_and_share_nothing(tmp_path: Path) -> None:
    cases = read_manifest([f"{i}.svs" for i in range(10)])
    parts = [shard_of(cases, f"{i}/3") for i in (1, 2, 3)]
    assert sorted((c.name for part in parts for c in part), key=int) == [c.name for c in cases]
    for wrong in ("0/3", "4/3", "1/0", "one"):
        with pytest.raises(UserError, match="--shard"):
            shard_of(cases, wrong)
