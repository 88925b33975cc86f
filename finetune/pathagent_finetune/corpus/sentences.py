"""Sentences of a pathologist, in several wordings, from findings and differentials.

They are training targets: the model learns to write them, nothing at run time calls this module.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from pathagent_finetune.corpus.belief import lesion_looks, report_facts
from pathagent_tools.core.records import Evidence, Findings, Hypothesis

_SEEN: dict[str, tuple[str, ...]] = {
    "background": ("Almost empty background.", "The field holds hardly any tissue.", "Mostly blank glass."),
    "adipose": (
        "Mature adipose tissue.",
        "Fat cells with thin membranes fill the field.",
        "The field shows adipose tissue.",
    ),
    "stroma": (
        "Fibrous stroma with spindle nuclei.",
        "Collagenous stroma without epithelium.",
        "The field shows fibrous stroma.",
    ),
    "smooth muscle": (
        "Bundles of smooth muscle.",
        "Smooth muscle fascicles run through the field.",
        "The field shows smooth muscle.",
    ),
    "lymphoid infiltrate": (
        "A dense lymphoid infiltrate.",
        "Lymphocytes fill the field diffusely.",
        "The field is dominated by lymphoid cells.",
    ),
    "necrosis": ("Necrotic debris.", "Granular necrosis without viable cells.", "The field shows necrosis."),
    "mucin": ("A pool of mucin.", "Pale extracellular mucin.", "The field shows mucin without tumour cells."),
}
_EPITHELIUM: dict[str, tuple[str, ...]] = {
    "regular glands": (
        "Regular glands with {grade} grade nuclei.",
        "Evenly spaced glands, nuclei of {grade} grade.",
        "Glands of regular outline with {grade} grade nuclei.",
    ),
    "crowded glands": (
        "Crowded dysplastic glands with {grade} grade nuclei.",
        "Closely packed dysplastic glands, nuclei of {grade} grade.",
        "Dysplastic glands lie back to back, {grade} grade nuclei.",
    ),
    "irregular glands": (
        "Irregular glands infiltrate the stroma, nuclei of {grade} grade.",
        "Invasive tumour forming irregular glands with {grade} grade nuclei.",
        "Angulated infiltrating glands with {grade} grade nuclei.",
    ),
    "solid nests": (
        "Solid nests of invasive tumour with {grade} grade nuclei.",
        "Invasive tumour in solid nests, nuclei of {grade} grade.",
        "Sheets and nests of tumour cells with {grade} grade nuclei.",
    ),
    "single files": (
        "Single files of tumour cells with {grade} grade nuclei.",
        "Poorly cohesive tumour cells in files, nuclei of {grade} grade.",
        "Tumour cells run in single files, {grade} grade nuclei.",
    ),
    "mucin pools": (
        "Tumour cells float in mucin pools, nuclei of {grade} grade.",
        "Mucinous tumour with {grade} grade nuclei.",
        "Clusters of tumour cells in mucin with {grade} grade nuclei.",
    ),
}
_EXTRAS: dict[tuple[str, str], tuple[str, ...]] = {
    ("mitoses", "few"): ("Few mitoses.", "Occasional mitotic figures."),
    ("mitoses", "many"): ("Many mitoses.", "Mitotic figures are frequent."),
    ("necrosis", "present"): ("Necrosis is present.", "There is necrosis."),
    ("inflammation", "mild"): ("Mild inflammation.", "A mild lymphocytic infiltrate."),
    ("inflammation", "marked"): ("Marked inflammation.", "A marked lymphocytic infiltrate."),
    ("artifact", "fold"): ("A tissue fold crosses the field.",),
    ("artifact", "blur"): ("The field is out of focus.",),
    ("artifact", "pen"): ("Pen ink covers part of the field.",),
    ("artifact", "bubble"): ("An air bubble covers part of the field.",),
    ("artifact", "crush"): ("Crush artifact.",),
}


def describe_sentence(findings: Findings, rng: Random) -> str:
    """One or more short sentences that say what the slots say."""
    wording = _EPITHELIUM.get(findings.architecture)
    if wording:
        parts = [rng.choice(wording).format(grade=findings.nuclear_grade)]
    else:
        parts = [rng.choice(_SEEN.get(findings.tissue, ("The field shows " + findings.tissue + ".",)))]
    whole_field = findings.tissue in ("necrosis", "lymphoid infiltrate")
    for (slot, value), words in _EXTRAS.items():
        worth_saying = not whole_field or slot in ("artifact", "mitoses")
        if worth_saying and getattr(findings, slot) == value:
            parts.append(rng.choice(words))
    return " ".join(parts)[:220]


def _ids(looks: Sequence[Evidence], limit: int = 3) -> list[str]:
    return [e.id for e in looks[:limit]]


_DIAGNOSIS = (
    "The findings are those of {dx}.",
    "The findings favour {dx}.",
    "The appearances fit {dx}.",
)
_NORMAL = (
    "No significant abnormality is seen in the fields examined.",
    "The fields examined show no significant abnormality.",
)
_ARCHITECTURE: dict[str, tuple[str, ...]] = {
    "crowded glands": ("Dysplastic glands are crowded.", "The dysplastic glands lie close together."),
    "irregular glands": (
        "Invasive tumour forms irregular glands.",
        "Irregular glands infiltrate the stroma.",
    ),
    "solid nests": ("Invasive tumour grows in solid nests.", "The tumour forms solid nests."),
    "single files": ("Tumour cells run in single files.", "Poorly cohesive tumour cells form single files."),
    "mucin pools": ("Tumour cells lie in pools of mucin.", "The tumour cells float in mucin pools."),
    "diffuse infiltrate": ("Lymphocytes infiltrate diffusely.", "There is a diffuse lymphoid infiltrate."),
    "regular glands": ("Glands are regular.", "The glands keep a regular arrangement."),
}
_GRADE = ("Nuclei are of {v} grade.", "The nuclear grade is {v}.")
_MITOSES: dict[str, tuple[str, ...]] = {
    "none": ("No mitoses are seen.", "Mitoses are not seen."),
    "few": ("Few mitoses are seen.", "Mitoses are few."),
    "many": ("Many mitoses are seen.", "Mitoses are frequent."),
}
_NECROSIS: dict[str, tuple[str, ...]] = {
    "present": ("Necrosis is present.", "There is necrosis."),
    "absent": ("No necrosis is seen.", "Necrosis is not seen."),
}
_INFLAMMATION: dict[str, tuple[str, ...]] = {
    "none": ("No inflammation of note is seen.", "Inflammation is not prominent."),
    "mild": ("Inflammation is mild.", "There is mild inflammation."),
    "marked": ("Inflammation is marked.", "There is marked inflammation."),
}
_REST = ("Other fields show {v}.", "Elsewhere there is {v}.")


def report_sentences(
    evidence: Sequence[Evidence], leading: Hypothesis, rng: Random
) -> list[dict[str, object]]:
    """`[{"text": …, "cites": [ids]}, …]`: diagnosis first, then one sentence a fact."""
    facts = report_facts(evidence, leading)
    core = lesion_looks(evidence, leading)
    seen = [e for e in evidence if e.findings]
    dx = leading.text
    normal = leading.diagnosis == "no significant abnormality"
    text = rng.choice(_NORMAL) if normal else rng.choice(_DIAGNOSIS).format(dx=dx)
    out: list[dict[str, object]] = [{"text": text, "cites": _ids(core or seen)}]

    def say(wordings: Sequence[str], value: str, looks: Sequence[Evidence]) -> None:
        if looks:
            out.append({"text": rng.choice(wordings).format(v=value), "cites": _ids(looks)})

    if "architecture" in facts and facts["architecture"][0] in _ARCHITECTURE:
        say(_ARCHITECTURE[facts["architecture"][0]], "", facts["architecture"][1])
    if "nuclear_grade" in facts:
        say(_GRADE, *facts["nuclear_grade"])
    say(_MITOSES[facts["mitoses"][0]], "", facts["mitoses"][1])
    say(_NECROSIS[facts["necrosis"][0]], "", facts["necrosis"][1])
    say(_INFLAMMATION[facts["inflammation"][0]], "", facts["inflammation"][1])
    lesion = of_lesion(leading) | {"background"}
    rest = [e for e in seen if e not in core and e.findings and e.findings.tissue not in lesion]
    if rest:
        words = list(dict.fromkeys(e.findings.tissue for e in rest if e.findings))[:3]
        looks = [next(e for e in rest if e.findings and e.findings.tissue == w) for w in words]
        say(_REST, _listed(words), looks)
    return out[:7]


def of_lesion(leading: Hypothesis) -> set[str]:
    """Tissues that no other fields beside this lesion can show: tumour elsewhere is more of the tumour."""
    tumours = {"invasive tumour", "dysplastic epithelium"}
    return tumours - ({"dysplastic epithelium"} if leading.diagnosis.endswith("carcinoma") else set())


def named_elsewhere(text: str) -> list[str] | None:
    """Tissues that the sentence on other fields names; None where it is another sentence."""
    for wording in _REST:
        start, end = wording.split("{v}")
        if text.startswith(start) and text.endswith(end):
            return re.split(r", | and ", text.removeprefix(start).removesuffix(end))
    return None


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def rest_claim(tissues: Sequence[str], rng: Random) -> str:
    """The sentence that other fields show these tissues."""
    return rng.choice(_REST).format(v=_listed(tissues))


def claim_about(slot: str, value: str, rng: Random) -> str | None:
    """A claim that one slot has one value, in one of the report's wordings; None if never written."""
    tables: dict[str, dict[str, tuple[str, ...]]] = {
        "architecture": _ARCHITECTURE,
        "mitoses": _MITOSES,
        "necrosis": _NECROSIS,
        "inflammation": _INFLAMMATION,
    }
    if slot == "nuclear_grade" and value != "none":
        return rng.choice(_GRADE).format(v=value)
    words = tables.get(slot, {}).get(value)
    return rng.choice(words) if words else None


def diagnosis_claim(diagnosis: Hypothesis, rng: Random) -> str:
    """The sentence that states a diagnosis: bare, as the report's headline has it, or in a wording."""
    bare = f"{diagnosis.text[0].upper()}{diagnosis.text[1:]}."
    if rng.random() < 0.5:
        return bare
    if diagnosis.diagnosis == "no significant abnormality":
        return rng.choice(_NORMAL)
    return rng.choice(_DIAGNOSIS).format(dx=diagnosis.text)
