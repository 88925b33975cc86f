"""Cases, drafts, questions and regions over the API, with tiny real slides and models."""

import pytest
from rooms import API
from stand_ins import LookingModel, gone_after
from tiny_slides import LESION

from pathagent_tools.core.records import Report


def test_a_case_is_opened_drafted_and_waits_for_its_human(waiting):
    room, visit, case = waiting
    view = visit("anna").get(f"{API}/cases/{case}").json()
    assert view["state"] == "waiting for review"
    report = Report.model_validate(view["review"]["report"])
    assert report.status == "draft" and report.evidence
    assert [e["id"] for e in view["evidence"]] == [e.id for e in report.evidence]
    assert view["review"]["version"]["by"] is None
    assert (room.case_folder(case) / "reports").is_dir()


def test_a_question_is_answered_from_the_evidence_there_is(waiting):
    _, visit, case = waiting
    anna = visit("anna")
    before = anna.get(f"{API}/cases/{case}").json()["evidence"]
    anna.post(f"{API}/cases/{case}/questions", json={"question": "Is there tumour?"})
    view = anna.settled(case)
    answer = view["runs"][-1]["answer"]
    assert answer["text"] == "yes" and answer["new_looks"] == 0
    assert view["evidence"] == before
    assert set(answer["evidence"]) <= {e["id"] for e in before}


def test_where_the_evidence_is_not_enough_more_is_looked_at_and_ids_go_on(waiting):
    room, visit, case = waiting
    room.models._vlm = LookingModel(sufficient_after=14)
    anna = visit("anna")
    before = {e["id"] for e in anna.get(f"{API}/cases/{case}").json()["evidence"]}
    anna.post(f"{API}/cases/{case}/questions", json={"question": "Is there tumour?"})
    view = anna.settled(case)
    ids = [e["id"] for e in view["evidence"]]
    assert set(ids) > before and len(set(ids)) == len(ids)
    assert view["runs"][-1]["answer"]["new_looks"] == len(ids) - len(before)


def test_a_drawn_region_is_looked_at_where_it_was_drawn(waiting):
    _, visit, case = waiting
    anna = visit("anna")
    x, y, width, height = LESION
    box = {"x": x + 40, "y": y + 40, "width": width - 80, "height": height - 80}
    anna.post(f"{API}/cases/{case}/questions", json={"slide": "S1", "region": box})
    view = anna.settled(case)
    answer = view["runs"][-1]["answer"]
    assert answer["new_looks"] == len(answer["seen"]) == 1
    look = next(e for e in view["evidence"] if e["id"] == answer["seen"][0]["id"])
    region = look["region"]
    assert region["x"] <= x + width / 2 <= region["x"] + region["width"]
    assert region["y"] <= y + height / 2 <= region["y"] + region["height"]
    assert "umour" in look["title"]


def test_a_question_about_a_region_is_not_answered_from_the_rest_of_the_slide(waiting):
    _, visit, case = waiting
    anna = visit("anna")
    box = {"x": 300, "y": 700, "width": 96, "height": 96}
    anna.post(f"{API}/cases/{case}/questions", json={"question": "Is there tumour?", "region": box})
    anna.post(f"{API}/cases/{case}/questions", json={"question": "Is there tumour?"})
    answers = [run["answer"] for run in anna.settled(case)["runs"][-2:]]
    assert [a["text"] for a in answers] == ["no", "yes"]
    assert [a["new_looks"] for a in answers] == [1, 0]
    assert answers[0]["differential"][0]["text"] == "no significant abnormality"


def test_a_region_may_be_asked_about_before_anything_else(visit):
    anna = visit("anna")
    case = anna.open_case("lesion.tiff")["id"]
    box = {"x": 600, "y": 240, "width": 900, "height": 320}
    anna.post(f"{API}/cases/{case}/questions", json={"question": "Is there tumour?", "region": box})
    view = anna.settled(case)
    assert view["state"] == "asked" and view["runs"][0]["state"] == "done"
    assert [e["id"] for e in view["evidence"]] == [
        f"E{i + 1}" for i in range(view["runs"][0]["answer"]["looks"])
    ]
    assert all(e["region"]["x"] + e["region"]["width"] <= 1152 for e in view["evidence"])
    assert anna.get(f"{API}/cases/{case}/heat/S1").json()["tiles"]
    anna.post(f"{API}/cases/{case}/drafts")
    report = Report.model_validate(anna.settled(case)["review"]["report"])
    assert len(report.measurements["S1"]) > 1


def test_what_no_slide_can_show_is_refused_by_rule(waiting):
    _, visit, case = waiting
    anna = visit("anna")
    anna.post(f"{API}/cases/{case}/questions", json={"question": "Is the tumour HER2 positive?"})
    answer = anna.settled(case)["runs"][-1]["answer"]
    assert answer["written_by"] == "rule" and "ot assessable" in answer["text"]


def test_another_look_brings_more_evidence_and_a_new_draft_that_keeps_edits_at_hand(waiting):
    _, visit, case = waiting
    anna = visit("anna")
    before = anna.get(f"{API}/cases/{case}").json()
    claim = next(c for c in before["review"]["machine"] if c["section"] == "microscopy")
    anna.post(f"{API}/cases/{case}/versions", json={"base": 1, "edits": {claim["id"]: "Glands."}})
    anna.post(f"{API}/cases/{case}/looks", json={"claim": claim["id"]})
    view = anna.settled(case)
    assert len(view["evidence"]) > len(before["evidence"])
    assert [r["state"] for r in view["runs"]] == ["superseded", "waiting"]
    assert view["review"]["version"]["number"] == 3
    same = [c["id"] for c in view["review"]["machine"] if c["text"] == claim["text"]]
    assert view["review"]["carried"] == dict.fromkeys(same, "Glands.")


def test_a_draft_after_questions_goes_on_from_their_evidence(visit):
    anna = visit("anna")
    case = anna.open_case("lesion.tiff")["id"]
    anna.post(f"{API}/cases/{case}/questions", json={"question": "Is there tumour?"})
    asked = anna.settled(case)["evidence"]
    anna.post(f"{API}/cases/{case}/drafts")
    view = anna.settled(case)
    assert view["state"] == "waiting for review"
    assert view["evidence"][: len(asked)] == asked and len(view["evidence"]) > len(asked)


def test_a_case_of_two_slides(visit):
    anna = visit("anna")
    case = anna.open_case("lesion.tiff", "plain.tiff", draft=True)["id"]
    view = anna.settled(case)
    assert {e["region"]["slide"] for e in view["evidence"]} == {"S1", "S2"}
    assert [s["name"] for s in view["slides"]] == ["lesion.tiff", "plain.tiff"]


def test_a_slide_without_resolution_is_asked_for_it(visit):
    anna = visit("anna")
    ids = anna.slides()
    refused = anna.post(f"{API}/cases", json={"slides": [ids["unsized.tiff"]]})
    assert refused.status_code == 422 and refused.json()["kind"] == "no resolution"
    assert anna.get(f"{API}/slides/{ids['unsized.tiff']}").json()["mpp"] is None
    case = anna.open_case("unsized.tiff", mpp=0.5, draft=True)["id"]
    limits = anna.settled(case)["review"]["report"]["limits"]
    assert any("assumed by user" in limit for limit in limits)


@pytest.mark.parametrize("question", ["", "   ", "🙂🙂", "?" * 40, "a " * 2500, "\u202e\u0000"])
def test_a_question_without_words_or_end_is_refused_in_words(question, visit):
    anna = visit("anna")
    case = anna.open_case("plain.tiff")["id"]
    said = anna.post(f"{API}/cases/{case}/questions", json={"question": question})
    assert said.status_code == 422 and said.json()["detail"].endswith((".", "?"))
    assert anna.get(f"{API}/cases/{case}").json()["runs"] == []


@pytest.mark.parametrize(
    "box", [{"x": 5000, "y": 0, "width": 100, "height": 100}, {"x": 0, "y": 0, "width": 4, "height": 4}]
)
def test_a_region_off_the_slide_is_refused(box, visit):
    anna = visit("anna")
    case = anna.open_case("plain.tiff")["id"]
    said = anna.post(f"{API}/cases/{case}/questions", json={"region": box})
    assert said.status_code == 422


def test_a_file_that_is_no_slide_is_refused_in_words(visit):
    anna = visit("anna")
    said = anna.post(f"{API}/cases", json={"slides": [anna.slides()["text.tiff"]]})
    assert said.status_code == 422 and "text file, not a slide" in said.json()["detail"]
    assert anna.get(f"{API}/cases").json() == []


def test_the_heat_map_is_that_of_the_scan(waiting):
    _, visit, case = waiting
    anna = visit("anna")
    heat = anna.get(f"{API}/cases/{case}/heat/S1").json()
    assert heat["side"] > 0 and heat["tiles"]
    assert all(0 <= v <= 1 for _, _, v in heat["tiles"])
    assert anna.get(f"{API}/cases/{case}/heat/S2").status_code == 404
    assert anna.get(f"{API}/cases/{case}/heat/..%2F..%2Fcookie").status_code == 404


def test_a_model_server_that_goes_away_pauses_the_run_which_then_goes_on(visit, room):
    anna = visit("anna")
    room.models._vlm = LookingModel(before=gone_after(8))
    case = anna.open_case("lesion.tiff", draft=True)["id"]
    view = anna.settled(case)
    run = view["runs"][0]
    assert (view["state"], run["state"]) == ("paused", "paused") and "went away" in run["reason"]
    model = room.models._vlm = LookingModel()
    anna.post(f"{API}/cases/{case}/runs/{run['id']}/resume")
    view = anna.settled(case)
    assert view["state"] == "waiting for review"
    assert len([r for r in model.asked if r.role == "describe"]) < len(view["evidence"])


def test_a_run_that_was_overtaken_begins_anew_so_that_an_id_means_one_place(waiting):
    room, visit, case = waiting
    anna = visit("anna")
    room.models._vlm = LookingModel(sufficient_after=99, before=gone_after(9))
    anna.post(f"{API}/cases/{case}/questions", json={"question": "Is there tumour?"})
    paused = anna.settled(case)["runs"][-1]
    room.models._vlm = LookingModel()
    box = {"x": 300, "y": 700, "width": 200, "height": 200}
    anna.post(f"{API}/cases/{case}/questions", json={"region": box})
    between = anna.settled(case)["evidence"]
    room.models._vlm = LookingModel(sufficient_after=99)
    anna.post(f"{API}/cases/{case}/runs/{paused['id']}/resume")
    view = anna.settled(case)
    assert paused["state"] == "paused" and view["runs"][1]["state"] == "done"
    assert view["evidence"][: len(between)] == between and len(view["evidence"]) > len(between)


def test_looks_that_a_question_names_are_laid_side_by_side(waiting):
    _, visit, case = waiting
    anna = visit("anna")
    anna.post(f"{API}/cases/{case}/questions", json={"question": "Compare E1 and E2, is there tumour?"})
    view = anna.settled(case)
    named = view["runs"][-1]["answer"]["named"]
    assert [e["id"] for e in named] == ["E1", "E2"] and named == view["evidence"][:2]


def test_a_shared_case_is_read_and_reviewed_by_both(waiting):
    _, visit, case = waiting
    anna, ben = visit("anna"), visit("ben")
    assert anna.post(f"{API}/cases/{case}/readers", json={"name": "nobody"}).status_code == 422
    assert ben.post(f"{API}/cases/{case}/readers", json={"name": "ben"}).status_code == 404
    assert anna.post(f"{API}/cases/{case}/readers", json={"name": "ben"}).json() == ["ben"]
    assert [c["id"] for c in ben.get(f"{API}/cases").json()] == [case]
    body = {"base": 1, "edits": {"C1": "Carcinoma."}}
    assert ben.post(f"{API}/cases/{case}/versions", json=body).json()["version"]["by"] == "ben"
    assert anna.post(f"{API}/cases/{case}/versions", json=body).status_code == 409
    assert ben.post(f"{API}/cases/{case}/readers", json={"name": "anna"}).status_code == 422
