"""A benign diagnosis does not stand beside a sound look at what it cannot account for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pathagent.agents.verification import verify
from pathagent.rules.benign import shown_against, unexplained
from pathagent.state import Case, ModelCall, SlideInput
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.records import Claim, Evidence, Findings, Hypothesis, MadeBy, Measurement

PLAIN = Findings(
    tissue="stroma", architecture="none", nuclear_grade="none", mitoses="none", necrosis="absent",
    inflammation="none", artifact="none", stain="balanced",
)  # fmt: skip


def look(n: int, tissue: str, *, artifact: str = "none", mapped: str | None = None) -> Evidence:
    """A look described as `tissue`, which the encoder maps as `mapped` (the same where not said)."""
    share = f"share_of_{(mapped or tissue).replace(' ', '_')}"
    return Evidence(
        id=f"E{n}",
        region=Region(slide="S1", x=1000 * n, y=0, width=384, height=384, mpp=1.0),
        place="centre",
        pixels_sha256="",
        findings=PLAIN.model_copy(update={"tissue": tissue, "artifact": artifact}),
        measurements=(Measurement(name=share, label="", value=90, unit="%"),),
        reason="",
        made_by=MadeBy(tool="describe"),
    )


TUMOUR, DYSPLASIA = look(1, "invasive tumour"), look(2, "dysplastic epithelium")


@pytest.mark.parametrize(
    ("diagnosis", "looked", "against"),
    [
        ("chronic inflammation", [TUMOUR], "E1 shows invasive tumour, which it does not explain"),
        ("no significant abnormality", [look(3, "mucin"), look(4, "mucin")], "E3, E4 show mucin"),
        ("adenoma", [TUMOUR, DYSPLASIA], "E1 shows invasive tumour, which"),
        ("adenoma", [DYSPLASIA], ""),
        ("adenocarcinoma", [TUMOUR, DYSPLASIA], ""),
        ("chronic inflammation", [look(1, "stroma"), look(2, "lymphoid infiltrate")], ""),
        ("chronic inflammation", [look(1, "invasive tumour", artifact="crush")], ""),
        ("chronic inflammation", [look(1, "invasive tumour", mapped="stroma")], ""),
    ],
)
def test_what_sound_looks_show_against_a_diagnosis(
    diagnosis: str, looked: list[Evidence], against: str
) -> None:
    said = shown_against(looked, diagnosis)
    assert said.startswith(against) and bool(said) is bool(against)


def test_what_is_not_sound_is_named_all_the_same() -> None:
    assert unexplained([look(7, "invasive tumour", artifact="crush")], "chronic inflammation") == {
        "invasive tumour": ["E7"]
    }


def test_a_benign_draft_is_withheld_where_one_look_of_many_shows_tumour() -> None:
    checked = {"verdict": "supported", "said": "chronic inflammation", "seen": "chronic inflammation"}
    resources: Any = SimpleNamespace(
        slide=lambda _: SimpleNamespace(read=lambda region: None, lymphocytes=lambda: None),
        ask_all=lambda asked: [
            ModelCall(key=key, role="verify", prompt_sha256="", text="", data=checked) for key, _ in asked
        ],
    )
    claim = Claim(
        id="C1", section="diagnosis", text="Chronic inflammation, mild.", evidence=("E2",),
        verdict="unsupported", written_by="model",
    )  # fmt: skip
    state: Any = {
        "case": Case(slides=(SlideInput(id="S1", path="s.tiff"),)),
        "slides": {"S1": SimpleNamespace(id="S1", outcome="report")},
        "claims": [claim],
        "evidence": {"E1": TUMOUR, **{f"E{n}": look(n, "stroma") for n in range(2, 9)}},
        "differential": [Hypothesis(diagnosis="chronic inflammation", grade="mild", probability=0.98)],
    }
    update = verify(resources, state)
    assert update["outcome"] == "insufficient evidence"
    assert update["outcome_text"] == (
        "No diagnosis is drafted: Chronic inflammation, mild was proposed, and E1 shows invasive tumour, "
        "which it does not explain."
    )
    assert [c.verdict for c in update["claims"]] == ["contradicted"]
