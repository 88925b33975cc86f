"""What a reader, a slide's metadata or a model writes is shown as text, wherever it is shown."""

import io
import json
import re
import zipfile
import zlib
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from payloads import HARM, MARKUP
from poisoned import put_in
from rooms import API, opened_room, visitors
from tiny_slides import paint, write_slide

from pathagent.reading_room.users import add_user

HARMLESS = tuple(f"plain words {i}" for i in range(len(MARKUP)))


class Skeleton(HTMLParser):
    """The elements of a page with the names of their attributes, and all addresses; no text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        addresses = [v for k, v in attributes if k in ("href", "src", "action", "content", "http-equiv")]
        kept = [
            v for v in addresses if v and not v.startswith("data:image/") and not re.fullmatch(r"\w{64}", v)
        ]
        self.found.append((tag, sorted(k for k, _ in attributes), kept))


def skeleton(page: str) -> list[tuple]:
    return Skeleton(page).found


def test_the_set_is_as_large_as_it_should_be():
    assert len(set(MARKUP)) >= 60 and sum(HARM in text for text in MARKUP) >= 40


def test_a_skeleton_shows_what_is_slipped_in():
    assert skeleton("<p>x</p>") != skeleton(f"<p>{MARKUP[0]}</p>")
    assert skeleton('<p title="x">') != skeleton(f'<p title="{MARKUP[14]}">')


def test_what_a_reader_types_never_becomes_markup(visit):
    anna = visit("anna")
    plain = anna.open_case("plain.tiff", title="x", notes="x")["id"]
    expected = skeleton(anna.get(f"/cases/{plain}").text)
    for payload in MARKUP:
        made = anna.open_case("plain.tiff", title=payload, notes=payload)
        page = anna.get(f"/cases/{made['id']}")
        assert page.headers["content-type"].startswith("text/html")
        assert skeleton(page.text) == expected, payload
        view = anna.get(f"{API}/cases/{made['id']}")
        assert view.headers["content-type"] == "application/json"
        assert view.json()["title"] == " ".join(payload.split()) and view.json()["notes"] == payload


def test_an_error_says_back_no_markup(visit):
    anna = visit("anna")
    expected = skeleton(anna.get("/cases/x").text)
    for payload in MARKUP:
        path = f"/cases/{payload.replace('/', '').replace('#', '').replace('?', '').replace('%', '')}"
        assert skeleton(anna.get(path).text) == expected, payload
        said = anna.get(f"{API}/cases/{payload.replace('/', '')[:40]}")
        assert said.headers["content-type"] == "application/json"


def test_what_a_file_is_called_and_says_of_itself_never_becomes_markup(tmp_path):
    folder = tmp_path / "slides" / "<img src=x onerror=alert(1)>"
    name = '"><svg onload=alert(1)>.tiff'
    write_slide(folder / name, paint(lesion=False, seed=1))
    with opened_room(tmp_path / "data", tmp_path / "slides") as room, visitors(room) as visit:
        with room.writing() as session:
            add_user(session, "anna", "correct horse battery")
        anna = visit("anna")
        case = anna.open_case(name)
        assert case["title"] == name
        page = anna.get(f"/cases/{case['id']}").text
        assert "<svg" not in page and "onerror=alert(1)>" not in page
        assert anna.get(f"{API}/slides").json()[0]["folder"] == "slides/<img src=x onerror=alert(1)>"


@pytest.fixture
def downloads(waiting):
    """Ending → (the file with harmless words, the file with the payloads)."""
    room, visit, case = waiting
    anna = visit("anna")
    numbers = [put_in(room, case, texts) for texts in (HARMLESS, MARKUP)]
    found = {}
    for kind in ("html", "md", "docx", "pdf", "geojson", "json"):
        pair = [anna.get(f"{API}/cases/{case}/versions/{n}/report.{kind}") for n in numbers]
        assert [a.status_code for a in pair] == [200, 200], (kind, pair[1].text[:300])
        assert all("attachment" in a.headers["content-disposition"] for a in pair)
        found[kind] = (pair[0].content, pair[1].content)
    return found


def test_what_a_model_writes_never_becomes_markup_in_any_format(downloads):
    plain, hostile = (page.decode() for page in downloads["html"])
    assert skeleton(hostile) == skeleton(plain)
    assert "evil.example" in hostile  # it is there, as text

    plain, hostile = (kinds(text.decode()) for text in downloads["md"])
    assert hostile == plain and "image" not in hostile - plain

    for data in downloads["docx"]:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            relations = b"".join(parts.read(n) for n in parts.namelist() if n.endswith(".rels"))
        assert b'TargetMode="External"' not in relations
    for data in downloads["pdf"]:
        active = (b"/URI", b"/JavaScript", b"/Launch", b"root:")
        assert not [mark for mark in active for part in inflated(data) if mark in part]
    for kind in ("json", "geojson"):
        assert json.loads(downloads[kind][1])
    assert len(json.loads(downloads["json"][1])["claims"]) == len(MARKUP)


def inflated(pdf: bytes) -> list[bytes]:
    """A PDF as it stands, and each of its compressed streams."""
    streams = re.findall(rb"FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", pdf, flags=re.DOTALL)
    parts = [zlib.decompressobj().decompress(s) for s in streams if s[:1] == b"x"]
    assert parts
    return [pdf, *parts]


def kinds(text: str) -> set[str]:
    """Which kinds of active elements a Markdown file has: links, images, raw HTML."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [t for token in tokens for t in [token, *(token.children or [])]]
    active = ("link_open", "image", "html_inline", "html_block")
    return {
        f"{t.type} {t.attrGet('href') or t.attrGet('src') or t.content}" for t in inline if t.type in active
    }


def test_a_markdown_reader_sees_what_would_be_active():
    assert "image http://evil.example/x.png" in kinds("![x](http://evil.example/x.png)")
    assert kinds("<img src=x>") == {"html_block <img src=x>"}
