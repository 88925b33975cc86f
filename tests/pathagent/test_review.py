import shutil

import pytest
from stand_ins import ColourEncoder, LookingModel, draft_tiny

import pathagent
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Report, Review


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
