"""Who may do what: every address, for strangers, other readers and the owner; and what no request may do."""

import pytest
from rooms import API, PASSWORD, opened_room, visitors
from walking import addresses, example, filled, values_of

from pathagent.reading_room.guard import HEADERS
from pathagent.reading_room.schemas import NewCase
from pathagent.reading_room.users import add_user, find_user, issue, local_user
from pathagent_tools.core.errors import UserError

OPEN = {"/enter", "/sign-in", "/static/{path}", f"{API}/openapi.json"}
"""What a stranger may reach: the doors, what a page is made of, and the description of the API."""
BODIES = {
    "questions": {"question": "Is there tumour?"},
    "looks": {"claim": "C1"},
    "readers": {"name": "ben"},
    "versions": {"base": 1, "edits": {}},
    "decision": {"base": 1, "decision": "approve"},
}


def call(visitor, address, values):
    body = None
    if address.body:
        body = BODIES.get(address.path.rsplit("/", 1)[-1], example(address.body, "0" * 32))
    return visitor.request(address.method, filled(address.path, values), json=body)


def test_every_address_is_closed_to_strangers_and_to_other_readers(waiting):
    room, visit, case = waiting
    anna, ben, stranger = visit("anna"), visit("ben"), visit()
    room.line.stop()  # what the owner asks for is taken in, and nobody works on it
    values = values_of(anna.get(f"{API}/cases/{case}").json())
    title, before = anna.get(f"{API}/cases/{case}").json()["title"], room.newest_event(case)
    walked = [a for a in addresses(anna.app) if a.path not in OPEN]
    assert len(walked) > 28
    for address in walked:
        said = call(stranger, address, values)
        if address.path.startswith(API):
            assert said.status_code == 401, address
        else:
            assert "Sign in" in said.text and title not in said.text, address
    for address in walked:
        if "case_id" in address.path:
            said = call(ben, address, values)
            assert said.status_code == 404, (address, said.text)
    assert room.newest_event(case) == before
    assert ben.get(f"{API}/cases").json() == []
    endless = f"{API}/cases/{{case_id}}/events"  # the stream of events; its readers are elsewhere
    for address in sorted(walked, key=lambda a: a.method):
        if address.path not in (endless, f"{API}/sign-out"):
            said = call(anna, address, values)
            expected = (200,) if address.method == "GET" else (200, 201, 202, 204, 409, 422)
            if "{image_id}" in address.path:
                expected = (404,)  # nothing was drawn for this draft
            known = address.body is not NewCase  # its slides are nobody's
            assert said.status_code in expected or not known, (address, said.text)
    for path in OPEN - {"/sign-in", "/enter"}:
        assert stranger.get(filled(path, values)).status_code == 200


def test_a_change_needs_the_word_of_its_session(waiting):
    _, visit, case = waiting
    anna, ben = visit("anna"), visit("ben")
    for word in ("", "0" * 64, ben.headers["x-csrf-token"]):
        anna.headers["x-csrf-token"] = word
        said = anna.post(f"{API}/cases/{case}/questions", json={"question": "Is there tumour?"})
        assert said.status_code == 403
    assert len(anna.get(f"{API}/cases/{case}").json()["runs"]) == 1


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9"])
def test_another_site_changes_nothing(origin, visit):
    anna = visit("anna")
    said = anna.post(f"{API}/sign-out", headers={"origin": origin})
    assert said.status_code == 403
    assert anna.post("/sign-in", content="name=ben", headers={"origin": origin}).status_code == 403
    assert anna.get(f"{API}/me").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8860", "", "[::ffff:1.2.3.4]"])
def test_a_name_that_is_not_the_servers_is_refused(host, visit):
    assert visit("anna").get(f"{API}/me", headers={"host": host}).status_code == 421


def test_every_answer_carries_the_policy_and_is_not_cached(visit):
    anna = visit("anna")
    for path in ("/", "/settings", f"{API}/me", "/static/room.js", "/nowhere", f"{API}/nowhere"):
        answer = anna.get(path)
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, path
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy and "http" not in policy
    assert anna.get(f"{API}/me").headers["cache-control"] == "no-store"


def test_a_link_works_once_and_a_cookie_survives_a_restart(tmp_path, slide_folder):
    with opened_room(tmp_path / "data", slide_folder) as room, visitors(room) as visit:
        with room.writing() as session:
            secret = issue(session, local_user(session), "link")
        first, second = visit(), visit()
        first.get(f"/enter?token={secret}")
        assert first.get(f"{API}/me").json()["name"] == "local"
        assert "has been used" in second.get(f"/enter?token={secret}").text
        assert second.get(f"{API}/me").status_code == 401
        cookie = first.cookies["pathagent_reader"]
    with opened_room(tmp_path / "data", slide_folder) as room, visitors(room) as visit:
        again = visit()
        again.cookies.set("pathagent_reader", cookie)
        assert again.get(f"{API}/me").json()["name"] == "local"
        again.cookies.set("pathagent_reader", cookie[:-2] + ("aa" if cookie[-2:] != "aa" else "bb"))
        assert again.get(f"{API}/me").status_code == 401


def test_names_and_passwords(visit, room):
    stranger = visit()
    for name, password in (("anna", "wrong"), ("nobody", PASSWORD), ("local", ""), ("", "")):
        assert stranger.post("/sign-in", content=f"name={name}&password={password}").status_code == 401
    assert visit("anna").get(f"{API}/me").json()["name"] == "anna"
    with room.writing() as session:
        for name, password in (("Anna", PASSWORD), ("a/b", PASSWORD), ("carl", "short"), ("anna", PASSWORD)):
            with pytest.raises(UserError):
                add_user(session, name, password)
        kept = find_user(session, "anna").password
    assert PASSWORD not in kept


def test_only_slides_of_the_allowed_folders_have_an_id(visit, room, slide_folder):
    anna = visit("anna")
    assert set(anna.slides()) == {"lesion.tiff", "plain.tiff", "unsized.tiff", "text.tiff"}
    assert "plain.tiff" in anna.slides()
    for name in ("label", "macro", "thumbnail"):
        slide = anna.slides()["lesion.tiff"]
        assert anna.get(f"{API}/slides/{slide}/{name}").status_code == 404
    ids = anna.slides()
    room.library.folders = (slide_folder / "more",)
    assert anna.get(f"{API}/slides/{ids['lesion.tiff']}").status_code == 404
    assert anna.get(f"{API}/slides/{ids['plain.tiff']}").status_code == 200


def test_bodies_are_small_and_known(visit):
    anna = visit("anna")
    assert anna.post(f"{API}/cases", content=b"x" * (2 << 20)).status_code == 413
    assert anna.post(f"{API}/cases", json={"slides": [], "path": "/etc"}).status_code == 422
    assert anna.post(f"{API}/cases", json={"slides": ["/etc/passwd"]}).status_code == 404
