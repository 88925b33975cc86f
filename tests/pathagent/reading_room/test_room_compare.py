"""A server that was given criteria and indexed cases: drafts carry the section, questions do not."""

import io

import docx
import pytest
from rooms import API, CRITERION, PASSWORD, opened_room, visitors
from stand_ins import ColourEncoder, LookingModel, gone_after

from pathagent.case_search import index_cases
from pathagent.cli import run
from pathagent.reading_room.users import add_user
from pathagent_tools.core.compare import NOT_EVIDENCE
from pathagent_tools.core.errors import UserError


class OtherEncoder(ColourEncoder):
    id = "other-colours"


@pytest.fixture
def criteria(tmp_path):
    folder = tmp_path / "criteria"
    folder.mkdir()
    (folder / "colon.md").write_text(f"# Colon\n## Adenocarcinoma, grade 2\n{CRITERION}\n")
    return folder


@pytest.fixture
def index(tmp_path, plain_slide):
    index_cases(
        [plain_slide], tmp_path / "indexed", texts={"plain.tiff": "Nothing."}, encoder=ColourEncoder()
    )
    return tmp_path / "indexed"


@pytest.fixture
def beside(tmp_path, slide_folder, criteria, index):
    """(room, anna) of such a server."""
    with opened_room(tmp_path / "data", slide_folder, knowledge=criteria, cases=index) as room:
        with room.writing() as session:
            add_user(session, "anna", PASSWORD)
        with visitors(room) as visit:
            yield room, visit("anna")


def quoted(view):
    """Group → texts of the section as the page is given it."""
    return {g["title"]: [i["text"] for i in g["items"]] for g in view["review"]["compare"]["groups"]}


def test_a_draft_carries_the_section_to_the_page_and_into_every_download(beside):
    _, anna = beside
    case = anna.open_case("lesion.tiff", draft=True)["id"]
    view = anna.settled(case)
    assert view["review"]["compare"]["note"] == NOT_EVIDENCE
    assert quoted(view) == {"Written criteria": [CRITERION], "Similar cases": ["Nothing."]}
    said = {
        kind: anna.get(f"{API}/cases/{case}/versions/1/report.{kind}")
        for kind in ("json", "html", "md", "docx")
    }
    assert said["json"].json()["compare"]["passages"][0]["file"] == "colon.md"
    for kind in ("html", "md"):
        assert CRITERION in said[kind].text and NOT_EVIDENCE in said[kind].text
    words = [p.text for p in docx.Document(io.BytesIO(said["docx"].content)).paragraphs]
    assert any(CRITERION in text for text in words)
    settings = anna.get(f"{API}/settings").json()
    assert (settings["knowledge"], settings["cases"]) == ("criteria", "indexed")
    assert "criteria: shown beside drafts" in anna.get("/settings").text


def test_a_question_is_not_compared_and_a_server_without_them_shows_nothing(beside, waiting):
    _, anna = beside
    case = anna.open_case("lesion.tiff")["id"]
    anna.post(f"{API}/cases/{case}/questions", json={"question": "Is there tumour?"})
    asked = anna.settled(case)["runs"][0]["id"]
    assert anna.get(f"{API}/cases/{case}/runs/{asked}").json()["report"]["compare"] is None
    _, visit, other = waiting
    assert visit("anna").get(f"{API}/cases/{other}").json()["review"]["compare"] is None


def test_criteria_that_change_before_the_decision_leave_the_draft_as_it_was_read(beside, criteria):
    _, anna = beside
    case = anna.open_case("lesion.tiff", draft=True)["id"]
    anna.settled(case)
    (criteria / "colon.md").write_text("# Colon\nAdenocarcinoma: other words.\n")
    decision = {"base": 1, "decision": "approve"}
    assert anna.post(f"{API}/cases/{case}/decision", json=decision).status_code == 202
    view = anna.settled(case)
    assert view["state"] == "reviewed" and quoted(view)["Written criteria"] == [CRITERION]


def test_a_draft_that_was_cut_off_begins_anew_beside_criteria_that_have_changed(beside, criteria):
    room, anna = beside
    room.models._vlm = LookingModel(before=gone_after(8))
    case = anna.open_case("lesion.tiff", draft=True)["id"]
    paused = anna.settled(case)["runs"][0]
    assert paused["state"] == "paused"
    (criteria / "colon.md").write_text("# Colon\nAdenocarcinoma: other words.\n")
    room.models._vlm = LookingModel()
    anna.post(f"{API}/cases/{case}/runs/{paused['id']}/resume")
    view = anna.settled(case)
    assert view["state"] == "waiting for review"
    assert quoted(view)["Written criteria"] == ["Adenocarcinoma: other words."]


def test_criteria_that_are_gone_fail_the_draft_in_words(beside, criteria):
    _, anna = beside
    criteria.rename(criteria.parent / "elsewhere")
    case = anna.open_case("lesion.tiff", draft=True)["id"]
    reason = anna.settled(case)["runs"][0]["reason"]
    assert reason.startswith("No such folder: criteria.")


def test_what_cannot_be_compared_with_is_said_when_the_server_starts(
    tmp_path, slide_folder, criteria, plain_slide, capsys
):
    command = ["serve", "--folder", str(slide_folder), "--data", str(tmp_path / "data"), "--port", "0"]
    for option, place, said in (
        ("--knowledge", tmp_path / "absent", "No such folder"),
        ("--cases", criteria, "is no case index"),
    ):
        assert run([*command, option, str(place)]) == 2
        assert said in capsys.readouterr().err
    index_cases(plain_slide, tmp_path / "other", encoder=OtherEncoder())
    with (
        pytest.raises(UserError, match="index of encoder other-colours, not of colours"),
        opened_room(tmp_path / "data", slide_folder, cases=tmp_path / "other"),
    ):
        pass
