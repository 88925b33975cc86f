"""A question that does not succeed: it says why in words, and the case keeps its draft and its state."""

import pytest
from rooms import API
from sqlalchemy.exc import OperationalError
from stand_ins import LookingModel, gone_after

from pathagent.reading_room.models import Models
from pathagent.reading_room.room import Room
from pathagent_tools.core.errors import ModelUnavailableError


def ask(visitor, case, text="Is there tumour?"):
    said = visitor.post(f"{API}/cases/{case}/questions", json={"question": text})
    assert said.status_code == 202, said.text
    return visitor.settled(case)


def state_in_list(visitor, case):
    return next(c["state"] for c in visitor.get(f"{API}/cases").json() if c["id"] == case)


def whole(view):
    """What must not change: the draft, its version, and the evidence."""
    return view["review"], view["evidence"], view["runs"][:1]


def untouched(visitor, case, before, state):
    after = visitor.get(f"{API}/cases/{case}").json()
    assert after["state"] == state_in_list(visitor, case) == state
    assert whole(after) == whole(before)
    return after


def test_a_model_server_that_goes_away_leaves_the_draft_waiting(waiting):
    room, visit, case = waiting
    anna = visit("anna")
    before = anna.get(f"{API}/cases/{case}").json()
    room.models._vlm = LookingModel(before=gone_after(0))
    ask(anna, case)
    run = untouched(anna, case, before, "waiting for review")["runs"][-1]
    assert run["state"] == "paused"
    assert run["reason"] == "The model server at http://127.0.0.1:1 went away."
    room.models._vlm = LookingModel()
    anna.post(f"{API}/cases/{case}/runs/{run['id']}/resume")
    assert anna.settled(case)["runs"][-1]["answer"]["text"] == "yes"


def test_a_model_server_that_was_never_there_is_said_and_the_question_waits_for_it(waiting, monkeypatch):
    _, visit, case = waiting
    anna = visit("anna")
    before = anna.get(f"{API}/cases/{case}").json()

    def absent(_):
        raise ModelUnavailableError("No model server answers at http://127.0.0.1:1. Start it.")

    with monkeypatch.context() as patch:
        patch.setattr(Models, "load", absent)
        ask(anna, case)
    run = untouched(anna, case, before, "waiting for review")["runs"][-1]
    assert (run["state"], run["reason"].partition(" at ")[0]) == ("paused", "No model server answers")


def test_a_slide_that_is_removed_fails_the_question_and_not_the_case(waiting, slide_folder):
    _, visit, case = waiting
    anna = visit("anna")
    before = anna.get(f"{API}/cases/{case}").json()
    slide = slide_folder / "lesion.tiff"
    slide.rename(slide_folder / "away")
    try:
        ask(anna, case)
        assert state_in_list(anna, case) == "waiting for review"
        run = anna.get(f"{API}/cases/{case}").json()["runs"][-1]
        assert (run["state"], run["reason"].partition(". ")[0]) == (
            "failed",
            "lesion.tiff is gone from its folder",
        )
    finally:
        (slide_folder / "away").rename(slide)
    untouched(anna, case, before, "waiting for review")


def test_an_end_that_cannot_be_written_at_once_is_written_later(waiting, slide_folder, monkeypatch):
    _, visit, case = waiting
    anna = visit("anna")
    write, refused = Room.set_state, []

    def set_state(room, session, run, state, *more):
        if state == "failed" and len(refused) < 3:
            refused.append(run.id)
            raise OperationalError("UPDATE run", {}, OSError("the server went away"))
        return write(room, session, run, state, *more)

    monkeypatch.setattr(Room, "set_state", set_state)
    slide = slide_folder / "lesion.tiff"
    slide.rename(slide_folder / "away")
    try:
        ask(anna, case)
        assert anna.get(f"{API}/cases/{case}").json()["runs"][-1]["state"] == "failed"
    finally:
        (slide_folder / "away").rename(slide)
    assert len(refused) == 3


def test_a_slide_that_is_removed_under_a_running_question_harms_nothing(waiting, slide_folder):
    room, visit, case = waiting
    anna = visit("anna")
    before = anna.get(f"{API}/cases/{case}").json()
    slide, away = slide_folder / "lesion.tiff", slide_folder / "away"

    def take_away(_):
        if slide.exists():
            slide.rename(away)

    room.models._vlm = LookingModel(before=take_away)
    try:
        ask(anna, case)
    finally:
        assert not slide.exists()
        away.rename(slide)
    run = untouched(anna, case, before, "waiting for review")["runs"][-1]
    assert run["state"] == "done" or "lesion.tiff" in run["reason"]


@pytest.mark.parametrize("question", ["x" * 5000, "🙂🙂🙂", "\u200b\u202e", "y" * 30_000])
def test_a_question_without_words_or_end_is_refused_and_nothing_is_begun(question, waiting):
    _, visit, case = waiting
    anna = visit("anna")
    before = anna.get(f"{API}/cases/{case}").json()
    said = anna.post(f"{API}/cases/{case}/questions", json={"question": question})
    assert said.status_code == 422
    assert "characters" in said.text or "has no words" in said.text
    after = untouched(anna, case, before, "waiting for review")
    assert after["runs"] == before["runs"] and after["newest_event"] == before["newest_event"]


def test_a_case_with_nothing_but_a_failed_question_is_open_and_one_without_a_draft_failed(visit, room):
    anna = visit("anna")
    room.models._vlm = LookingModel(before=gone_after(0))
    asked, drafted = anna.open_case("plain.tiff")["id"], anna.open_case("plain.tiff")["id"]
    assert ask(anna, asked)["state"] == "open"
    anna.post(f"{API}/cases/{drafted}/drafts")
    assert anna.settled(drafted)["state"] == "paused"
    assert state_in_list(anna, asked) == "open"
