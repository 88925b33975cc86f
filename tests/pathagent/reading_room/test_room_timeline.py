"""Cases of one patient are found together, by those who may see them, without the patient being named."""

from pathlib import Path

from rooms import API

from pathagent.reading_room import audit
from pathagent.reading_room.tables import AuditRow, CaseRow
from pathagent.reading_room.timeline import patient_digest

KEY = "Study 12 / patient 4711"


def test_earlier_reports_and_slides_stand_in_order(waiting):
    room, visit, case = waiting
    anna, ben = visit("anna"), visit("ben")
    with room.writing() as session:
        session.get_one(CaseRow, case).patient = patient_digest(room.settings.data, KEY)
    later = anna.open_case("plain.tiff", title="Control", patient=f"  {KEY.upper()} ")
    anna.open_case("plain.tiff", title="Somebody else", patient="4711")
    anna.open_case("plain.tiff", title="Nobody in particular")
    foreign = ben.open_case("plain.tiff", title="Ben's", patient=KEY)

    assert later["same_patient"] and "patient" not in later
    found = anna.get(f"{API}/cases/{later['id']}/timeline").json()
    assert [(c["id"], c["here"]) for c in found] == [(case, False), (later["id"], True)]
    assert [s["name"] for c in found for s in c["slides"]] == ["lesion.tiff", "plain.tiff"]
    claims = anna.get(f"{API}/cases/{case}").json()["review"]["report"]["claims"]
    said = next(c["text"] for c in claims if c["section"] == "diagnosis")
    assert found[0]["report"]["text"] == said and found[0]["report"]["status"] == "draft"
    assert found[1]["report"] is None and found[0]["state"] == "waiting for review"
    assert [c["id"] for c in ben.get(f"{API}/cases/{foreign['id']}/timeline").json()] == [foreign["id"]]

    anna.post(f"{API}/cases/{later['id']}/readers", json={"name": "ben"})
    ids = [c["id"] for c in ben.get(f"{API}/cases/{foreign['id']}/timeline").json()]
    assert ids == [later["id"], foreign["id"]]


def test_no_key_no_timeline(visit):
    anna = visit("anna")
    case = anna.open_case("plain.tiff", patient="   ")
    assert not case["same_patient"]
    assert anna.get(f"{API}/cases/{case['id']}/timeline").json() == []


def test_the_key_itself_is_kept_nowhere(visit, room):
    anna = visit("anna")
    anna.open_case("plain.tiff", patient=KEY)
    room.database.engine.dispose()
    for path in Path(room.settings.data).rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
    other = room.settings.data / "other"
    other.mkdir()
    assert patient_digest(other, KEY) != patient_digest(room.settings.data, KEY)


def test_an_earlier_draft_that_is_withheld_is_not_told_here(waiting):
    room, visit, case = waiting
    anna = visit("anna")
    with room.writing() as session:
        row = session.get_one(CaseRow, case)
        row.patient, row.reader_mode = patient_digest(room.settings.data, KEY), True
    later = anna.open_case("plain.tiff", patient=KEY)["id"]
    assert anna.get(f"{API}/cases/{later}/timeline").json()[0]["report"] is None
    anna.post(f"{API}/cases/{case}/opinion", json={"diagnosis": "Adenoma", "sure": 50})
    assert anna.get(f"{API}/cases/{later}/timeline").json()[0]["report"]["text"]


def test_a_key_is_added_later_by_the_owner_and_is_never_replaced(visit, room):
    anna, ben = visit("anna"), visit("ben")
    first = anna.open_case("plain.tiff", title="First", patient=KEY)["id"]
    late = anna.open_case("plain.tiff", title="Late")["id"]
    anna.post(f"{API}/cases/{late}/readers", json={"name": "ben"})

    def tie(visitor, key):
        said = visitor.post(f"{API}/cases/{late}/patient", json={"key": key})
        return said.status_code, said.json()["detail"] if said.content else ""

    assert tie(ben, KEY) == (422, "Only the owner of a case can say whose it is.")
    assert tie(anna, "  ")[0] == 422
    assert not anna.get(f"{API}/cases/{late}").json()["same_patient"]
    assert tie(anna, f" {KEY.upper()}")[0] == 204
    assert [c["id"] for c in anna.get(f"{API}/cases/{late}/timeline").json()] == [first, late]
    status, said = tie(anna, "patient 4712")
    assert status == 409 and "a key is not replaced" in said and "open a new case" in said
    assert tie(anna, KEY)[0] == 204
    with room.database.reading() as session:
        links = session.query(AuditRow).where(AuditRow.action == "case.patient").all()
        assert [link.subject for link in links] == [late]
        assert session.get_one(CaseRow, late).patient == patient_digest(room.settings.data, KEY)
        assert patient_digest(room.settings.data, KEY) in links[0].detail and "4711" not in links[0].detail
        assert list(audit.faults(session, room.settings.data)) == []
