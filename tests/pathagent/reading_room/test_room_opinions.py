"""Reader mode: nothing that the machine thinks comes out before the reader's own opinion stands."""

import asyncio
import csv
import io
import json

import pytest
from rooms import API
from walking import addresses, example, filled, send, values_of

from pathagent.cli import run
from pathagent.reading_room import audit
from pathagent.reading_room.tables import CaseReader, CaseRow
from pathagent.reading_room.users import find_user


@pytest.fixture
def blind(waiting):
    """(room, visit, case id): the drafted case, read in reader mode and shared with ben."""
    room, visit, case = waiting
    with room.writing() as session:
        session.get_one(CaseRow, case).reader_mode = True
        session.add(CaseReader(case_id=case, user_id=find_user(session, "ben").id))
    return room, visit, case


def opinion(visitor, case, path="", **body):
    return visitor.post(f"{API}/cases/{case}/opinion{path}", json=body or None)


def words_of_the_machine(review):
    """What must not come out: every sentence of the draft, its diagnoses, and what looks showed."""
    report = review["report"]
    said = [c["text"] for c in report["claims"]] + [h["diagnosis"] for h in report["differential"]]
    return {w for w in [*said, "invasive tumour", "irregular glands", report["outcome_text"]] if len(w) > 6}


def test_no_route_says_what_the_machine_thinks_before_the_opinion_stands(waiting):
    room, visit, case = waiting
    anna = visit("anna")
    room.line.stop()
    before = anna.get(f"{API}/cases/{case}").json()
    secrets, values = words_of_the_machine(before["review"]), values_of(before)
    walked = [a for a in addresses(anna.app) if "{case_id}" in a.path and "/opinion" not in a.path]

    async def everything():
        found = {}
        for address in sorted(walked, key=lambda a: a.method):
            body = json.dumps(example(address.body, "C1")).encode() if address.body else b""
            stays = 60.0 if address.path.endswith("{case_id}/events") else 0.0
            target = filled(address.path, values)
            status, said = await send(anna, address.method, target, body, stays_s=stays)
            place = address.path.removeprefix(f"{API}/cases/{{case_id}}")  # the page keeps its whole path
            found[address.method, place] = status, said.decode("latin-1")
        return found

    def leaks(found):
        return {place for place, (_, said) in found.items() if any(s in said for s in secrets)}

    shown = leaks(asyncio.run(everything()))
    assert {("GET", ""), ("GET", "/events"), ("GET", "/review"), ("GET", "/runs/{run_id}")} <= shown

    with room.writing() as session:
        session.get_one(CaseRow, case).reader_mode = True
    found = asyncio.run(everything())
    assert leaks(found) == set()
    assert '"kind": "run_state"' in found["GET", "/events"][1]
    view = json.loads(found["GET", ""][1])
    assert (view["review"], view["evidence"], view["runs"][0]["answer"]) == (None, [], None)
    refused = {place for place, (status, said) in found.items() if status == 403 and "opinion first" in said}
    assert refused >= {
        ("GET", "/review"), ("GET", "/versions"), ("GET", "/versions/{number}/report.{kind}"),
        ("GET", "/runs/{run_id}"), ("GET", "/runs/{run_id}/events"), ("GET", "/heat/{slide}"),
        ("GET", "/evidence/{evidence_id}.jpeg"), ("GET", "/synthetic/{image_id}.png"),
        ("POST", "/questions"), ("POST", "/looks"), ("POST", "/versions"), ("POST", "/decision"),
    }  # fmt: skip

    opinion(anna, case, diagnosis="Adenocarcinoma", sure=80)
    assert leaks(asyncio.run(everything())) >= shown - {("GET", "/versions/{number}/report.{kind}")}


def test_an_opinion_stands_once_and_in_the_audit_chain(blind):
    room, visit, case = blind
    anna = visit("anna")
    assert opinion(anna, case, "/agreement", agreement="same").status_code == 403
    begun = opinion(anna, case, "/begin").json()
    assert begun["withheld"] and begun["started"] == opinion(anna, case, "/begin").json()["started"]
    for body in (
        {"diagnosis": " ", "sure": 1},
        {"diagnosis": "🙂", "sure": 1},
        {"diagnosis": "x", "sure": 101},
    ):
        assert opinion(anna, case, **body).status_code == 422
    assert opinion(anna, case, diagnosis="x" * 401, sure=1).status_code == 422
    said = opinion(anna, case, diagnosis="Adenoma,\n low grade", sure=70).json()
    assert (said["withheld"], said["diagnosis"], said["sure"]) == (False, "Adenoma, low grade", 70)
    assert opinion(anna, case, diagnosis="Adenocarcinoma", sure=99).status_code == 409
    assert opinion(anna, case, "/agreement", agreement="different").status_code == 201
    assert opinion(anna, case, "/agreement", agreement="same").status_code == 409
    actions = [link["action"] for link in anna.get(f"{API}/cases/{case}/audit").json()]
    assert actions[-2:] == ["opinion.committed", "opinion.compared"]
    with room.database.reading() as session:
        assert list(audit.faults(session, room.settings.data)) == []


def test_each_reader_commits_their_own(blind):
    _, visit, case = blind
    anna, ben = visit("anna"), visit("ben")
    opinion(anna, case, diagnosis="Adenocarcinoma", sure=80)
    assert anna.get(f"{API}/cases/{case}").json()["review"] is not None
    assert ben.get(f"{API}/cases/{case}").json()["review"] is None
    assert ben.get(f"{API}/opinions.csv").text.count("\n") == 1
    opinion(ben, case, diagnosis="Adenoma", sure=60)
    assert ben.get(f"{API}/opinions.csv").text.count("\n") == 3


def test_the_table_says_who_thought_what_how_long_and_whether_it_agrees(blind, capsys):
    room, visit, case = blind
    anna = visit("anna")
    opinion(anna, case, "/begin")
    opinion(anna, case, diagnosis="=1+1 adenocarcinoma", sure=80)
    opinion(anna, case, "/agreement", agreement="partly")
    said = anna.get(f"{API}/opinions.csv")
    assert said.headers["content-type"].startswith("text/csv")
    (row,) = csv.DictReader(io.StringIO(said.text))
    assert (row["case"], row["reader"], row["sure_percent"]) == (case, "anna", "80")
    assert row["diagnosis"] == "'=1+1 adenocarcinoma"  # no formula of a spreadsheet
    assert (row["machine"], row["agreement"], row["report"]) == ("adenocarcinoma, grade 2", "partly", "draft")
    assert 0 <= float(row["seconds"]) < 600 and row["started"] <= row["committed"] <= row["compared"]
    assert run(["opinions", "--data", str(room.settings.data)]) == 0
    assert capsys.readouterr().out.splitlines() == said.text.splitlines()
    assert run(["opinions", "--data", str(room.settings.data), "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["diagnosis"] == "=1+1 adenocarcinoma" and record["machine_percent"] == 90


def test_a_case_without_reader_mode_takes_no_opinion(waiting, tmp_path, capsys):
    _, visit, case = waiting
    anna = visit("anna")
    assert anna.get(f"{API}/cases/{case}").json()["opinion"] is None
    said = opinion(anna, case, diagnosis="Adenoma", sure=60)
    assert said.status_code == 422 and "reader_mode" in said.json()["detail"]
    assert run(["opinions", "--data", str(tmp_path / "none")]) == 2
    assert "--data" in capsys.readouterr().err


def test_a_case_may_be_opened_in_reader_mode(visit, room):
    anna = visit("anna")
    room.line.stop()
    case = anna.open_case("plain.tiff", reader_mode=True, draft=True)
    assert case["opinion"]["withheld"] and case["runs"][0]["state"] == "queued"
