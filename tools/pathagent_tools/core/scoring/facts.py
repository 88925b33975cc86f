"""Facts in the text of a report: what it says of each slot, read by rules with negation.

The primary score of a report draft is whether its facts agree with the reference, slot by slot;
wording does not count. The extractor reads sentences, never the structured part of a report, so a
fact that was not written is not found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pathagent_tools.core.vocabulary import DIAGNOSES

FACT_SLOTS = ("diagnosis", "grade", "architecture", "nuclear_grade", "mitoses", "necrosis", "inflammation")

_NEGATION = re.compile(
    r"\b(no|not|without|absent|absence of|free of|negative for|never|lack\w*|none|nil|neither)\b",
    re.IGNORECASE,
)
_FAMILY = {
    "chronic inflammation": r"chronic (\w+ )?inflammation|chronically inflamed",
    "adenoma": r"\badenoma(tous)?\b",
    "mucinous carcinoma": r"mucinous (adeno)?carcinoma|colloid carcinoma",
    "poorly cohesive carcinoma": r"(poorly cohesive|discohesive) (\w+ )?carcinoma",
    "solid carcinoma": r"solid (\w+ )?carcinoma",
    "adenocarcinoma": r"(?<!mucinous )\badenocarcinoma\b",
}
_NORMAL = re.compile(
    r"no (significant|relevant|specific) (\w+ )?(abnormalit|patholog|lesion|change)"
    r"|\bunremarkable\b|within normal limits",
    re.IGNORECASE,
)
_GRADES = {
    "low-grade dysplasia": r"low[- ]grade dysplasia|dysplasia,? (is )?low[- ]grade",
    "high-grade dysplasia": r"high[- ]grade dysplasia|dysplasia,? (is )?high[- ]grade",
    "grade 1": r"\bgrade (1|I)\b|\bG1\b|well[- ]differentiated",
    "grade 2": r"\bgrade (2|II)\b|\bG2\b|moderately[- ]differentiated",
    "grade 3": r"\bgrade (3|III)\b|\bG3\b|poorly[- ]differentiated",
}
_ARCHITECTURE = {
    "crowded glands": r"crowd\w*|back[- ]to[- ]back|closely packed|close together",
    "irregular glands": r"(irregular|angulated|infiltrating|invasive) (\w+ )?glands",
    "solid nests": r"solid (\w+ )?(nests|sheets)|(nests|sheets) of (tumou?r|cohesive|malignant)",
    "single files": r"single[- ]files?|in files|linear files",
    "mucin pools": r"(pools?|lakes?) of (\w+ )?mucin|mucin (pools?|lakes?)|float\w* in mucin",
    "diffuse infiltrate": r"(diffuse|dense) (\w+ )?infiltrate|infiltrate\w* diffusely|diffusely infiltrat\w*",
    "regular glands": r"regular(ly)? (\w+ )?glands|glands (\w+ )*(of )?regular|regularly spaced",
}
_NUCLEAR = re.compile(
    r"(?:(low|intermediate|high)[- ](?:nuclear[- ])?grade (?:nuclei|cytolog\w+|atypia))"
    r"|(?:nuclear grade (?:is |of )?(low|intermediate|high))"
    r"|(?:nuclei (?:are |show |of )*(?:of )?(low|intermediate|high)[- ]?(?:nuclear )?grade)"
    r"|(?:(low|intermediate|high) nuclear grade)",
    re.IGNORECASE,
)


def _sentences(text: str) -> list[str]:
    return [s.strip() for s in re.split(r"(?<=[.!?;])\s+|\n+", text) if s.strip()]


def _diagnosis(text: str) -> str | None:
    for sentence in _sentences(text):
        for family, pattern in _FAMILY.items():
            match = re.search(pattern, sentence, re.IGNORECASE)
            if match and not _NEGATION.search(sentence[: match.start()]):
                return family
    return "no significant abnormality" if _NORMAL.search(text) else None


def _grade(text: str, diagnosis: str | None) -> str | None:
    if diagnosis == "chronic inflammation":
        match = re.search(r"\b(mild|marked)\b[^.;]*inflam|inflam[^.;]*\b(mild|marked)\b", text, re.IGNORECASE)
        return (match[1] or match[2]).lower() if match else None
    allowed = DIAGNOSES.get(diagnosis or "", tuple(_GRADES))
    for grade, pattern in _GRADES.items():
        if grade in allowed and re.search(pattern, text, re.IGNORECASE):
            return grade
    return None


def _amount(text: str) -> str | None:
    for sentence in _sentences(text):
        match = re.search(r"mitos[ie]s|mitotic", sentence, re.IGNORECASE)
        if not match:
            continue
        if re.search(r"\b(many|frequent|numerous|brisk|abundant|high mitotic)\b", sentence, re.IGNORECASE):
            return "many"
        if re.search(
            r"\b(few|occasional|scattered|rare|some|infrequent|low mitotic)\b", sentence, re.IGNORECASE
        ):
            return "few"
        if _NEGATION.search(sentence):
            return "none"
    return None


def _necrosis(text: str) -> str | None:
    for sentence in _sentences(text):
        if re.search(r"necro(sis|tic)", sentence, re.IGNORECASE):
            return "absent" if _NEGATION.search(sentence) else "present"
    return None


def _inflammation(text: str) -> str | None:
    for sentence in _sentences(text):
        if not re.search(r"inflam|lymphoc|lymphoid", sentence, re.IGNORECASE):
            continue
        for level in ("marked", "mild"):
            if re.search(rf"\b{level}(ly)?\b", sentence, re.IGNORECASE):
                return level
        if _NEGATION.search(sentence):
            return "none"
        if re.search(r"\b(dense|heavy|severe|intense)\b", sentence, re.IGNORECASE):
            return "marked"
    return None


def _architecture(text: str) -> str | None:
    for sentence in _sentences(text):
        for name, pattern in _ARCHITECTURE.items():
            match = re.search(pattern, sentence, re.IGNORECASE)
            if match and not _NEGATION.search(sentence[: match.start()]):
                return name
    return None


def extract(text: str) -> dict[str, str]:
    """Slot → value for every fact that the text states."""
    diagnosis = _diagnosis(text)
    nuclear = _NUCLEAR.search(text)
    found = {
        "diagnosis": diagnosis,
        "grade": _grade(text, diagnosis),
        "architecture": _architecture(text),
        "nuclear_grade": next(g for g in nuclear.groups() if g).lower() if nuclear else None,
        "mitoses": _amount(text),
        "necrosis": _necrosis(text),
        "inflammation": _inflammation(text),
    }
    return {slot: value for slot, value in found.items() if value is not None}


def compare(found: Mapping[str, str], reference: Mapping[str, str]) -> dict[str, str]:
    """Slot → `right`, `wrong` or `omitted`, for every slot of the reference."""
    return {
        slot: "omitted" if slot not in found else "right" if found[slot] == value else "wrong"
        for slot, value in reference.items()
    }


def recall(found: Mapping[str, str], reference: Mapping[str, str]) -> float:
    """Share of the reference's facts that the text states rightly; an empty reference is an error."""
    if not reference:
        raise ValueError("fact recall needs at least one reference fact")
    return sum(v == "right" for v in compare(found, reference).values()) / len(reference)
