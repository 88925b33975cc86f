import hashlib
import json
import shutil

import pytest
from PIL import Image
from stand_ins import ColourEncoder, LookingModel, draft_tiny

import pathagent
from pathagent.review_pairs import reviewer_id, write_pairs
from pathagent_finetune.user_corpus import read_corpus
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Report, Review
from pathagent_tools.core.review_pair import ReviewPair


@pytest.fixture(scope="module")
def begun(lesion_slide, tmp_path_factory):
    """(draft that waits, folder that holds its output and its cache)."""
    folder = tmp_path_factory.mktemp("waiting")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATHAGENT_CACHE", str(folder / "cache"))
        return draft_tiny(lesion_slide, review="required", out=folder / "out"), folder


@pytest.fixture
def waiting(begun, tmp_path, monkeypatch):
    """(draft that waits, its output folder), a copy for one test."""
    report, folder = begun
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.setenv("PATHAGENT_CACHE", str(tmp_path / "copy" / "cache"))
    return report, tmp_path / "copy" / "out"


def decide(out, review):
    return pathagent.resume_review(out, review, vlm=LookingModel(), encoder=ColourEncoder())


def test_a_draft_waits_until_it_is_approved(waiting):
    draft, out = waiting
    assert draft.status == "draft"
    report = decide(out, Review(decision="approve", reviewer="r1"))
    assert report.status == "reviewed"
    assert report.claims == draft.claims
    assert Report.model_validate_json((out / "report.json").read_text()).status == "reviewed"


def test_a_draft_that_waits_can_be_asked_for_again(waiting, lesion_slide):
    draft, out = waiting
    again = draft_tiny(lesion_slide, review="required", out=out, force=True)
    assert again == draft


def test_edits_keep_what_the_machine_said(waiting):
    draft, out = waiting
    first, second = draft.claims[0], draft.claims[1]
    review = Review(decision="edit", edits={first.id: "Carcinoma.", second.id: ""}, reviewer="r1")
    report = decide(out, review)
    assert report.claims[0].text == "Carcinoma."
    assert first.text in report.claims[0].reason
    assert second.id not in {c.id for c in report.claims}


def test_a_rejected_draft_says_so(waiting):
    _, out = waiting
    assert decide(out, Review(decision="reject")).status == "rejected"


def test_an_edit_of_an_unknown_claim_is_refused_and_the_draft_still_waits(waiting):
    _, out = waiting
    with pytest.raises(UserError, match="C99"):
        decide(out, Review(decision="edit", edits={"C99": "x"}))
    assert decide(out, Review(decision="approve")).status == "reviewed"


def test_a_decided_run_cannot_be_decided_again(waiting):
    _, out = waiting
    decide(out, Review(decision="approve"))
    with pytest.raises(UserError, match="No run waits"):
        decide(out, Review(decision="approve"))


def pairs_in(out):
    lines = (out / "review/pairs.jsonl").read_text().splitlines()
    return [ReviewPair.model_validate_json(line) for line in lines]


def test_a_decision_leaves_pairs_with_what_the_model_was_asked(waiting):
    draft, out = waiting
    wrote = [c for c in draft.claims if c.written_by == "model"]
    decide(out, Review(decision="edit", edits={wrote[0].id: "Carcinoma.", wrote[1].id: ""}, reviewer="dr-x"))
    pairs = pairs_in(out)
    assert [p.before for p in pairs] == wrote
    assert [p.verdict for p in pairs] == ["edited", "struck", *["accepted"] * (len(wrote) - 2)]
    assert [p.after and p.after.text for p in pairs[:2]] == ["Carcinoma.", None]
    evidence = {e.id: e for e in draft.evidence}
    for pair in pairs:
        assert pair.regions == tuple(evidence[i].region for i in pair.evidence)
        assert "Write the report." in pair.written.user
        assert {c.look for c in pair.checks} >= set(pair.evidence) != set()
        for check in pair.checks:
            assert pair.before.text in check.user
            with Image.open(out / "review" / check.image_name) as image:
                seen = hashlib.sha256(image.tobytes()).hexdigest()
            assert seen == check.pixels_sha256 == evidence[check.look].pixels_sha256
    assert len({(p.who, p.when) for p in pairs}) == 1
    assert "dr-x" not in (out / "review/pairs.jsonl").read_text()


def test_who_is_random_and_the_same_here_and_when_differs(waiting, tmp_path, monkeypatch):
    first = reviewer_id("dr-x")
    assert first == reviewer_id("dr-x") != reviewer_id("dr-y")
    monkeypatch.setenv("PATHAGENT_CACHE", str(tmp_path / "elsewhere"))
    assert reviewer_id("dr-x") != first


def test_pairs_only_grow_when_the_folder_is_drafted_again(waiting, lesion_slide):
    _, out = waiting
    decide(out, Review(decision="approve"))
    first = (out / "review/pairs.jsonl").read_text()
    draft_tiny(lesion_slide, review="required", out=out, force=True)
    assert (out / "review/pairs.jsonl").read_text() == first
    decide(out, Review(decision="approve"))
    second = (out / "review/pairs.jsonl").read_text()
    assert second.startswith(first) and second.count("\n") == 2 * first.count("\n")
    assert len({p.when for p in pairs_in(out)}) == 2


def test_a_decision_that_is_written_twice_stands_once(waiting, tmp_path):
    _, out = waiting
    decide(out, Review(decision="approve"))
    pairs = pairs_in(out)
    write_pairs(tmp_path / "again", out, pairs, {})
    assert pairs_in(tmp_path / "again") == pairs


def test_a_rejected_draft_leaves_no_pairs(waiting):
    _, out = waiting
    decide(out, Review(decision="reject"))
    assert not (out / "review").exists()


def test_a_reviewed_case_is_training_data_as_it_lies(waiting):
    draft, out = waiting
    wrote = [c for c in draft.claims if c.written_by == "model" and c.section == "microscopy"]
    decide(out, Review(decision="edit", edits={wrote[0].id: "Glands without order."}))
    corpus = read_corpus(out.parent, mpp=1)
    assert corpus.faults == ()
    written = next(e for e in corpus.examples if e.role == "write")
    assert "Glands without order." in written.completion and wrote[0].text not in written.completion
    run = json.loads((out / "run.json").read_text())
    asked = next(c for c in run["completions"] if c["key"] == "write")
    assert [m.content for m in written.prompt] == [asked["system"], asked["user"]]
    assert sum(e.role == "verify" for e in corpus.examples) >= len(wrote)
