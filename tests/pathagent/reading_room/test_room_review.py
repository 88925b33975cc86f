"""Edits, versions, the decision, and what can be downloaded afterwards."""

import io
import json

import pytest
from rooms import API
from sqlalchemy import select

from pathagent.reading_room import audit
from pathagent.reading_room.tables import AuditRow
from pathagent.reading_room.users import find_user, issue
from pathagent_finetune.user_corpus import read_corpus
from pathagent_tools.core.records import Report


def claims(view):
    return view["review"]["machine"]


def approve(visitor, case, base, **more):
    body = {"base": base, "decision": "approve", **more}
    return visitor.post(f"{API}/cases/{case}/decision", json=body)


def test_edits_are_versions_and_the_approved_report_holds_them(waiting):
    room, visit, case = waiting
    anna = visit("anna")
    drafted = claims(anna.get(f"{API}/cases/{case}").json())
    first, second, third = (c["id"] for c in drafted[:3])
    said = anna.post(
        f"{API}/cases/{case}/versions",
        json={"base": 1, "edits": {first: "Carcinoma.", second: ""}, "accepted": [third]},
    )
    assert said.status_code == 201
    version = said.json()["version"]
    assert (version["number"], version["by"], version["status"]) == (2, "anna", "draft")
    assert version["diff"] == [
        {"claim": first, "before": drafted[0]["text"], "after": "Carcinoma."},
        {"claim": second, "before": drafted[1]["text"], "after": None},
    ]
    assert approve(anna, case, 2, comment="seen").status_code == 202
    view = anna.settled(case)
    report = Report.model_validate(view["review"]["report"])
    assert view["state"] == "reviewed" and report.status == "reviewed"
    assert report.claims[0].text == "Carcinoma." and drafted[0]["text"] in report.claims[0].reason
    assert second not in {c.id for c in report.claims}
    assert [c["text"] for c in claims(view)] == [c["text"] for c in drafted]
    assert [v["number"] for v in view["review"]["versions"]] == [1, 2, 3]
    assert view["review"]["version"]["comment"] == "seen"

    chain = anna.get(f"{API}/cases/{case}/audit").json()
    with room.database.reading() as session:
        user = find_user(session, "anna")
        assert list(audit.faults(session, room.settings.data)) == []
    assert [link["who"] for link in chain if link["action"] == audit.APPROVED] == [user.id]
    corpus = read_corpus(room.settings.data / "cases", mpp=1)
    assert corpus.faults == () and any("Carcinoma." in e.completion for e in corpus.examples)


def test_a_rejected_draft_says_so_and_can_be_drafted_again(waiting):
    _, visit, case = waiting
    anna = visit("anna")
    body = {"base": 1, "decision": "reject", "comment": "wrong tissue"}
    anna.post(f"{API}/cases/{case}/decision", json=body)
    assert anna.settled(case)["state"] == "rejected"
    assert approve(anna, case, 2).status_code == 409
    assert anna.post(f"{API}/cases/{case}/drafts").status_code == 202


def test_two_reviewers_at_once_the_second_is_told(waiting):
    _, visit, case = waiting
    one, two = visit("anna"), visit("anna")
    claim = claims(one.get(f"{API}/cases/{case}").json())[0]["id"]
    assert (
        one.post(f"{API}/cases/{case}/versions", json={"base": 1, "edits": {claim: "A."}}).status_code == 201
    )
    late = two.post(f"{API}/cases/{case}/versions", json={"base": 1, "edits": {claim: "B."}})
    assert late.status_code == 409 and "Version 2 was written meanwhile by anna" in late.json()["detail"]
    assert approve(two, case, 1).status_code == 409
    assert two.get(f"{API}/cases/{case}/review").json()["edits"] == {claim: "A."}


def test_a_report_is_decided_once(waiting):
    _, visit, case = waiting
    anna = visit("anna")
    assert approve(anna, case, 1).status_code == 202
    assert approve(anna, case, 1).status_code == 409
    assert anna.settled(case)["state"] == "reviewed"


def test_a_program_may_edit_but_not_decide(waiting):
    room, visit, case = waiting
    with room.writing() as session:
        token = issue(session, find_user(session, "anna"), "token")
    program = visit()
    program.headers["authorization"] = f"Bearer {token}"
    claim = claims(program.get(f"{API}/cases/{case}").json())[0]["id"]
    body = {"base": 1, "edits": {claim: "A."}}
    assert program.post(f"{API}/cases/{case}/versions", json=body).status_code == 201
    assert approve(program, case, 2).status_code == 403
    with room.database.reading() as session:
        assert audit.APPROVED not in set(session.scalars(select(AuditRow.action)))


@pytest.mark.parametrize(
    ("edits", "status"), [({"C99": "x"}, 422), ({"C1": "x" * 5000}, 422), ({"C1": 7}, 422)]
)
def test_edits_that_make_no_sense_are_refused_and_the_draft_still_waits(edits, status, waiting):
    _, visit, case = waiting
    anna = visit("anna")
    assert anna.post(f"{API}/cases/{case}/versions", json={"base": 1, "edits": edits}).status_code == status
    assert anna.get(f"{API}/cases/{case}").json()["review"]["version"]["number"] == 1


def test_a_version_comes_in_every_format(waiting):
    from docx import Document

    _, visit, case = waiting
    anna = visit("anna")
    claim = claims(anna.get(f"{API}/cases/{case}").json())[0]
    body = {"base": 1, "edits": {claim["id"]: "Carcinoma <b>."}}
    anna.post(f"{API}/cases/{case}/versions", json=body)
    files = {
        kind: anna.get(f"{API}/cases/{case}/versions/2/report.{kind}")
        for kind in ("json", "html", "md", "geojson", "docx", "pdf")
    }
    assert {f.status_code for f in files.values()} == {200}
    assert Report.model_validate_json(files["json"].content).claims[0].text == "Carcinoma <b>."
    assert "Carcinoma &lt;b&gt;" in files["html"].text and "Carcinoma <b>" not in files["html"].text
    assert json.loads(files["geojson"].content)["type"] == "FeatureCollection"
    text = "\n".join(p.text for p in Document(io.BytesIO(files["docx"].content)).paragraphs)
    assert "Carcinoma <b>." in text
    assert files["pdf"].content.startswith(b"%PDF-1.7") and b"pdfaid" in files["pdf"].content
    assert anna.get(f"{API}/cases/{case}/versions/2/report.exe").status_code == 404
    assert anna.get(f"{API}/cases/{case}/versions/9/report.json").status_code == 404


def test_a_draft_whose_slide_was_removed_is_whole_and_says_what_is_missing(waiting, slide_folder):
    _, visit, case = waiting
    anna = visit("anna")
    slide = slide_folder / "lesion.tiff"
    slide.rename(slide_folder / "away")
    try:
        view = anna.get(f"{API}/cases/{case}").json()
        assert "is gone from its folder" in view["slides"][0]["problem"] and view["evidence"]
        anna.post(f"{API}/cases/{case}/questions", json={"question": "Is there tumour?"})
        view = anna.settled(case)
        assert view["runs"][-1]["state"] == "failed" and "is gone" in view["runs"][-1]["reason"]
    finally:
        (slide_folder / "away").rename(slide)
    anna.post(f"{API}/cases/{case}/runs/{view['runs'][-1]['id']}/resume")
    assert anna.settled(case)["runs"][-1]["state"] == "done"
