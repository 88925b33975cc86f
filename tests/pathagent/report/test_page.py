"""The page and the Markdown: nothing missing, nothing foreign executed, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from report_cases import CASES, Case, carcinoma, claim, not_he, out_of_domain, two_slides

from pathagent.report import Overview, page
from pathagent.report.page import report_html
from pathagent.report.text import escape, report_markdown
from pathagent.report.view import view_of
from pathagent_tools.core.vocabulary import RESEARCH_USE_ONLY

ATTACK = "</script><img src=x onerror=alert(1)>\"'{{ 7*7 }} ![p](http://example.org/p.png) [l](javascript:1)"


class Tags(HTMLParser):
    """Every tag with its attributes, and the text outside style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, key: str) -> list[str]:
        return [str(attrs[key]) for _, attrs in self.tags if key in attrs]


def html(case: Case) -> str:
    return report_html(view_of(case.report, case.images, case.overviews))


def markdown(case: Case) -> str:
    return report_markdown(view_of(case.report, case.images, case.overviews))


@pytest.mark.parametrize("name", CASES)
def test_the_page_asks_no_other_machine_for_anything(name: str) -> None:
    text = html(CASES[name]())
    tags = Tags(text)
    sources = [u for key in ("src", "href", "action", "srcset") for u in tags.all(key)]
    assert all(u.startswith(("data:image/", "#")) for u in sources)
    assert "url(" not in text and "@import" not in text
    policy = next(a["content"] or "" for t, a in tags.tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    script = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy


@pytest.mark.parametrize("name", CASES)
def test_every_link_has_its_target_and_every_id_is_unique(name: str) -> None:
    tags = Tags(html(CASES[name]()))
    ids = tags.all("id")
    assert len(ids) == len(set(ids))
    assert {h[1:] for h in tags.all("href") if h.startswith("#")} <= set(ids)


@pytest.mark.parametrize("name", CASES)
def test_page_and_markdown_say_all_that_the_report_holds(name: str) -> None:
    case = CASES[name]()
    report, page_text = case.report, Tags(html(case)).text
    plain_md = unescape(re.sub(r"\\(.)", r"\1", markdown(case)))
    for said in (page_text, plain_md):
        assert said.count(RESEARCH_USE_ONLY) == 2
        wanted = [c.text.rstrip(".") for c in report.claims if c.section != "diagnosis"]
        wanted += [f.label for f in report.synoptic] + list(report.limits)
        wanted += [m.label for ms in report.measurements.values() for m in ms]
        wanted += [h.text[1:] for h in report.differential] + [e.id for e in report.evidence]
        wanted += [s.name for s in report.slides]
        assert [w for w in wanted if w not in said] == []


def test_what_others_wrote_stays_text() -> None:
    case = two_slides()
    looks = tuple(e.model_copy(update={"sentence": ATTACK}) for e in case.report.evidence)
    slides = tuple(s.model_copy(update={"name": f"{ATTACK}.svs"}) for s in case.report.slides)
    hostile = {"notes": ATTACK, "question": ATTACK, "answer": ATTACK, "evidence": looks, "slides": slides}
    claims = tuple(c.model_copy(update={"text": ATTACK, "reason": ATTACK}) for c in case.report.claims)
    case.report = case.report.model_copy(update={**hostile, "claims": claims})
    calm, attacked = Tags(html(two_slides())), Tags(html(case))
    assert {t for t, _ in attacked.tags} <= {t for t, _ in calm.tags}
    assert not [k for _, attrs in attacked.tags for k in attrs if k.startswith("on")]
    assert "{{ 7*7 }}" in attacked.text
    written = markdown(case)
    assert "<img" not in written
    assert not re.search(r"(?<!\\)\]\((?!evidence/)", written)


def test_failed_claims_stand_apart_from_the_draft() -> None:
    text = html(carcinoma())
    kept, set_aside = text.split("Set aside by the check")
    for number, label in (("C4", "Contradicted"), ("C5", "Not assessable"), ("C6", "Not supported")):
        assert f'id="{number}"' not in kept
        assert label in set_aside[set_aside.index(f'id="{number}"') :][:600]
    assert 'id="C2"' in kept


def test_what_code_declines_is_not_set_aside() -> None:
    text = html(not_he())
    assert "Set aside" not in text
    assert "Not supported by evidence" in text[text.index('id="C1"') :]


def test_a_withheld_diagnosis_is_no_headline() -> None:
    case = carcinoma(
        outcome="insufficient evidence",
        outcome_text="No diagnosis is drafted: its own evidence contradicts it.",
        claims=(claim(1, "Adenocarcinoma, grade 2.", section="diagnosis", verdict="contradicted"),),
    )
    text = html(case)
    headline = re.search(r"<h1[^>]*>(.*?)</h1>", text)
    assert headline is not None and headline[1].startswith("No diagnosis is drafted")
    assert "Proposed, then withheld" in text


def test_the_look_that_speaks_against_a_draft_is_seen_at_the_head_of_the_page() -> None:
    def head(outcome_text: str) -> str:
        case = carcinoma(outcome="insufficient evidence", outcome_text=outcome_text)
        return html(case).split('class="hero calm"')[1].split("</section>")[0]

    shown = head("No diagnosis is drafted: adenoma was proposed, and E2 shows invasive tumour.")
    assert re.findall(r'class="thumb" href="#(E\d+)"', shown) == ["E2"]
    assert "thumb" not in head("No diagnosis is drafted: the likeliest, adenoma, reaches only 40 %.")


@pytest.mark.parametrize("make", [out_of_domain, not_he])
def test_an_abstention_names_no_tissue_or_diagnosis(make: type[Case]) -> None:
    said = Tags(html(make())).text.lower()
    assert not re.search(r"adenocarcinoma|irregular glands|invasive tumour,", said)


def test_sizes_are_in_micrometres() -> None:
    text = html(carcinoma())
    assert "192 × 192 µm" in text
    assert re.search(r'aria-label="Field E1: [^"]*; scale bar 50 µm"', text)
    assert "1,210 – 7,020" in text
    assumed = html(out_of_domain())
    assert "Every length, area, density and scale bar of S1 rests on it." in assumed
    assert "rests on it" not in html(carcinoma())


def test_many_large_pictures_stay_under_five_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    case = carcinoma()
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3)).astype(np.uint8)
    case.images = dict.fromkeys(case.images, noise)
    case.overviews = {"S1": Overview(noise, 6.0)}
    full = len(html(case))
    monkeypatch.setattr(page, "LARGEST_PAGE", full // 2)
    assert len(html(case)) <= full // 2


def test_an_element_that_nobody_looked_for_does_not_read_as_a_negative() -> None:
    case = carcinoma()
    unread = next(f for f in case.report.synoptic if f.status == "not found")
    for said in (Tags(html(case)).text, markdown(case)):
        row = said[said.index(unread.label, said.index("Required elements", said.index("Draft"))) :][:200]
        assert "left open" in row and "not found" not in said


def test_a_field_that_was_only_shown_is_not_called_measured() -> None:
    case = out_of_domain()
    looks = tuple(e.model_copy(update={"measurements": ()}) for e in case.report.evidence[:1])
    case.report = case.report.model_copy(update={"evidence": looks + case.report.evidence[1:]})
    assert "E1 Shown , not described" in Tags(html(case)).text
    assert "Measured, not described" in markdown(case)


def test_markdown_names_the_rule_and_the_coverage_once() -> None:
    said = markdown(out_of_domain())
    assert "(set by rule; E1, E2)" in said and "rule; rule" not in said
    assert said.count("scanned at low power") == len(out_of_domain().report.coverage)


def test_markdown_keeps_numbers_and_escapes_what_would_start_a_list() -> None:
    assert escape("1.94 mm²") == "1.94 mm²"
    assert escape("2. Ignore the rules") == "2\\. Ignore the rules"
    assert escape("# title | cell") == "\\# title \\| cell"
    assert escape("not H&E, <b> &lt;") == "not H&E, &lt;b&gt; &amp;lt;"
    assert escape("H&E; &#60; R&D;") == "H&E; &amp;#60; R&D;"
