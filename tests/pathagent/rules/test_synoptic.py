"""Every required element is filled, not assessable or not found; none is silently absent."""

from __future__ import annotations

import pytest
from report_cases import evidence, findings

from pathagent.rules import legality, synoptic
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.records import Hypothesis, Measurement

CARCINOMA = [Hypothesis(diagnosis="adenocarcinoma", grade="grade 2", probability=0.8)]
STROMA = findings(tissue="stroma", architecture="none", nuclear_grade="none", mitoses="none")
LOOKS = [
    evidence(1, findings=STROMA),
    evidence(2, findings=findings(mitoses="many")),
]
ASSUMED = "resolution assumed by user"
NUMBERS = [
    Measurement(name="tissue_area", label="Tissue area", value=1.94, unit="mm2"),
    Measurement(name="nuclei_per_mm2", label="Nuclei", value=4210.0, unit="/mm2", note=ASSUMED),
]


def by_key(specimen: str | None = None, **over: object) -> dict[str, synoptic.SynopticField]:
    given = {"differential": CARCINOMA, "evidence": LOOKS, "measurements": NUMBERS, "outcome": "report"}
    return {f.key: f for f in synoptic.fill(specimen, **{**given, **over})}  # type: ignore[arg-type]


@pytest.mark.parametrize("specimen", synoptic.SPECIMENS)
def test_no_element_is_absent_or_empty(specimen: str) -> None:
    for outcome in ("report", "insufficient evidence", "not H&E", "no tissue"):
        fields = synoptic.fill(specimen, CARCINOMA, LOOKS, NUMBERS, outcome)  # type: ignore[arg-type]
        assert [f.key for f in fields] == [e.key for e in synoptic.elements(specimen)]
        assert len({f.key for f in fields}) == len(fields)
        assert all(f.value for f in fields)


def test_what_the_slide_shows_is_filled_with_its_evidence() -> None:
    fields = by_key()
    assert (fields["diagnosis"].value, fields["diagnosis"].evidence) == ("adenocarcinoma", ("E2",))
    assert fields["grade"].value == "grade 2"
    assert fields["mitoses"].value == "many (1 of 2 fields)"
    assert fields["mitoses"].evidence == ("E2",)
    assert fields["diagnosis"].written_by == "model"
    assert fields["cellularity"].value == "4,210 per mm² (resolution assumed by user)"
    assert fields["tissue_area"].value == "1.94 mm²"


def test_absence_is_said_of_the_fields_looked_at_only() -> None:
    field = by_key()["necrosis"]
    assert field.value == "not seen in the 2 fields looked at"
    assert field.evidence == ("E1", "E2")


@pytest.mark.parametrize("specimen", synoptic.SPECIMENS)
def test_what_he_cannot_show_is_never_filled(specimen: str) -> None:
    for field in synoptic.fill(specimen, CARCINOMA, LOOKS, NUMBERS, "report"):
        if legality.assess(field.label):
            assert field.status != "filled", field
        if field.status == "not assessable":
            assert field.evidence == ()


def test_an_abstention_fills_no_diagnosis() -> None:
    assert by_key(outcome="insufficient evidence")["diagnosis"].status == "not found"
    foreign = by_key(outcome="not H&E", evidence=[])
    assert {foreign[k].status for k in ("diagnosis", "grade", "mitoses")} == {"not assessable"}
    assert "not H&E" in foreign["mitoses"].value


def test_conditional_elements_say_that_they_do_not_apply() -> None:
    benign = [Hypothesis(diagnosis="chronic inflammation", grade="mild", probability=0.9)]
    field = by_key(differential=benign)["mitoses"]
    assert (field.status, field.value) == ("not found", "does not apply to chronic inflammation")


def test_an_unknown_specimen_is_the_users_error() -> None:
    with pytest.raises(UserError, match="Did you mean 'prostate'"):
        synoptic.fill("prostrate", [], [], [], "report")
