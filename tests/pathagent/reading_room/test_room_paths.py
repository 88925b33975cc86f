"""No address, name or URL that is sent leads out of the allowed folders, or to another machine."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from payloads import PATHS, SSRF, TRAVERSAL, WANTED
from rooms import API
from walking import addresses, send, values_of, variants

NAMES = tuple(path.rpartition("/")[2] for path in WANTED)
LISTENERS: list[Callable[[str, tuple], None]] = []
sys.addaudithook(lambda event, args: [hear(event, args) for hear in LISTENERS] and None)


@contextmanager
def overheard() -> Iterator[list[str]]:
    """Files of the payloads that are opened meanwhile, and machines that are spoken to."""
    heard: list[str] = []

    def hear(event: str, args: tuple) -> None:
        if event == "open" and str(args[0]).endswith(NAMES):
            heard.append(f"opened {args[0]}")
        elif event in ("socket.connect", "socket.getaddrinfo"):
            heard.append(f"{event} {args[1:] if event == 'socket.connect' else args[0]}")

    LISTENERS.append(hear)
    try:
        yield heard
    finally:
        LISTENERS.remove(hear)


def test_the_sets_are_as_large_as_they_should_be():
    assert len(set(TRAVERSAL)) >= 500 and len(set(SSRF)) >= 150 and len(PATHS) >= 650


async def attack(visitor, values, step):
    """Send every `step`-th payload to each place of each request; (address, place, target, status, body)."""
    answered, turn = [], 0
    for address in addresses(visitor.app):
        if address.path.endswith("/sign-out"):
            continue
        for place in range(len(variants(address, values, ""))):
            turn += 1
            for payload in PATHS[turn % step :: step]:
                where, target, body = variants(address, values, payload)[place]
                answered.append((address, where, target, *await send(visitor, address.method, target, body)))
    return answered


@pytest.mark.parametrize("step", [32, pytest.param(1, marks=pytest.mark.slow)])
def test_no_address_name_or_url_leads_out(step, waiting):
    room, visit, case = waiting
    anna = visit("anna")
    room.line.stop()  # questions are taken in, and nobody works on them
    values = values_of(anna.get(f"{API}/cases/{case}").json())
    with overheard() as heard:
        answered = asyncio.run(attack(anna, values, step))
    assert heard == []
    assert {where for _, where, *_ in answered} == {"path", "query", "body"}
    assert len(answered) > 40 * len(PATHS) / step
    for address, where, target, status, said in answered:
        told = (address, where, target, status, said[:300])
        assert status < 500 and (where != "path" or status in (404, 405, 422)), told
        assert not any(mark in said for mark in (b"root:", b"SQLite format", b"[fonts]", b"\x89PNG")), told
    assert anna.get(f"{API}/cases/{case}").json()["slides"][0]["name"] == "lesion.tiff"


def test_the_ear_hears(slide_folder):
    with overheard() as heard:
        (slide_folder.parent / "outside.tiff").read_bytes()
    assert heard == [f"opened {slide_folder.parent / 'outside.tiff'}"]


def test_no_slide_of_another_place_is_opened_by_what_a_body_names(waiting):
    _, visit, case = waiting
    anna = visit("anna")
    with overheard() as heard:
        for payload in (*PATHS[::40], "/etc/passwd", "http://127.0.0.1:1/x.tiff"):
            assert anna.post(f"{API}/cases", json={"slides": [payload]}).status_code == 404
            box = {"x": 0, "y": 0, "width": 64, "height": 64}
            body = {"region": box, "slide": payload}
            assert anna.post(f"{API}/cases/{case}/questions", json=body).status_code == 422
    assert heard == [] and len(anna.get(f"{API}/cases").json()) == 1
