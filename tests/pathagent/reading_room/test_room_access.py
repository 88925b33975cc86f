"""Who may do what: every address, for strangers, other readers and the owner; and what no request may do."""

import re

import pytest
from rooms import API, PASSWORD, opened_room, visitors

from pathagent.reading_room.guard import HEADERS
from pathagent.reading_room.users import add_user, find_user, issue, local_user
from pathagent_tools.core.errors import UserError

OPEN = {"/enter", "/sign-in", "/static"}
EVERYBODYS = {f"{API}/me", f"{API}/settings", f"{API}/slides", f"{API}/cases", f"{API}/sign-out"}
BODIES = {
    "questions": {"question": "Is there tumour?"},
    "looks": {"claim": "C1"},
    "readers": {"name": "ben"},
    "versions": {"base": 1, "edits": {}},
    "decision": {"base": 1, "decision": "approve"},
    "cases": {"slides": ["0" * 32]},
}


def addresses(app):
    """(method, path with its parameters) of every route of the API and of the pages."""
    for path, item in app.openapi()["paths"].items():
        for method in item:
            yield method.upper(), path
    for path in ("/", "/settings", "/cases/{case_id}"):
        yield "GET", path


def filled(path, view):
    values = {
        "case_id": view["id"],
        "run_id": view["runs"][0]["id"],
        "slide_id": view["slides"][0]["id"],
        "slide": "S1",
        "evidence_id": "E1",
        "number": "1",
        "kind": "json",
        "level": "8",
        "column": "0",
        "row": "0",
    }
    return re.sub(r"{(\w+)}", lambda m: values[m[1]], path)


def call(visitor, method, path):
    body = BODIES.get(path.rsplit("/", 1)[-1]) if method == "POST" else None
    return visitor.request(method, path, json=body)


def test_every_address_is_closed_to_strangers_and_to_other_readers(waiting):
    room, visit, case = waiting
    anna, ben, stranger = visit("anna"), visit("ben"), visit()
    view = anna.get(f"{API}/cases/{case}").json()
    before = room.newest_event(case)
    listed = [(m, p) for m, p in addresses(anna.app) if not p.endswith("/events") or "run_id" in p]
    assert len(listed) > 25
    for method, path in listed:
        answer = call(stranger, method, filled(path, view))
        if path.startswith(API):
            assert answer.status_code == 401, path
        else:
            assert "Sign in" in answer.text and view["title"] not in answer.text, path
    for method, path in listed:
        if "case_id" in path:
            answer = call(ben, method, filled(path, view))
            assert answer.status_code == 404, (method, path, answer.text)
    assert stranger.get(f"{API}/cases/{case}/events").status_code == 401
    assert ben.get(f"{API}/cases/{case}/events").status_code == 404
    assert room.newest_event(case) == before
    assert ben.get(f"{API}/cases").json() == []
    for method, path in listed:
        if method == "GET":
            assert call(anna, method, filled(path, view)).status_code == 200, path


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


TRAVERSAL = [
    "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/secret", "....//....//x", "/etc/passwd", "C:%5cwindows",
    "..%5c..%5cx", "%00", "file:%2f%2f%2fetc%2fpasswd", "http:%2f%2f127.0.0.1:1%2f", "S1%2f..%2f..",
]  # fmt: skip
PLACES = [
    f"{API}/slides/{{}}", f"{API}/slides/{{}}/thumbnail.jpeg", f"{API}/slides/{{}}/slide.dzi",
    f"{API}/slides/{{}}/slide_files/8/0_0.jpeg", f"{API}/cases/{{}}", f"{API}/cases/{{}}/heat/S1",
    f"{API}/cases/{{}}/evidence/E1.jpeg", f"{API}/cases/{{}}/versions/1/report.json", "/static/{}",
    "/cases/{}",
]  # fmt: skip


def test_no_path_leads_out(visit):
    anna = visit("anna")
    for place in PLACES:
        for payload in TRAVERSAL:
            answer = anna.get(place.format(payload))
            assert answer.status_code in (404, 405, 422), (place, payload)
            assert "root:" not in answer.text


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


XSS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "![x](http://evil.example/x.png)",
    "</title><script>1</script>", "\"><svg onload=alert(1)>", "{{7*7}}", "javascript:alert(1)", "</script>",
]  # fmt: skip


@pytest.mark.parametrize("payload", XSS)
def test_what_a_reader_types_never_becomes_markup(payload, visit):
    anna = visit("anna")
    case = anna.open_case("plain.tiff", title=payload, notes=payload)
    page = anna.get(f"/cases/{case['id']}").text
    assert "<img src=x" not in page and "<script>" not in page and "<svg onload" not in page
    assert "49" not in re.findall(r"<title>(.*?)</title>", page)[0]
    assert anna.get(f"{API}/cases/{case['id']}").json()["title"] == payload


def test_bodies_are_small_and_known(visit):
    anna = visit("anna")
    assert anna.post(f"{API}/cases", content=b"x" * (2 << 20)).status_code == 413
    assert anna.post(f"{API}/cases", json={"slides": [], "path": "/etc"}).status_code == 422
    assert anna.post(f"{API}/cases", json={"slides": ["/etc/passwd"]}).status_code == 404
