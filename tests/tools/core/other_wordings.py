"""Phantom reports in wordings that neither the phantoms nor the extractor's vocabulary were written from."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from pathagent_tools.core.scoring.report import Fact
from pathagent_tools.core.vocabulary import DIAGNOSES

_MITOSES = {
    "none": ["Mitotic figures could not be found.", "I see no mitoses.", "Mitoses: nil."],
    "few": ["Mitoses are occasional.", "Only scattered mitoses.", "A low mitotic count is noted."],
    "many": ["Mitotic figures are frequent.", "Brisk mitotic activity.", "Mitoses are abundant."],
}
_NECROSIS = {
    "absent": ["Necrosis was not observed.", "Without necrosis.", "No necrotic areas."],
    "present": [
        "There are foci of necrosis.",
        "Necrotic debris is seen.",
        "Geographic necrosis is conspicuous.",
    ],
}
_INFLAMMATION = {
    "none": ["No inflammatory infiltrate.", "The stroma is devoid of inflammation.", "Inflammation: absent."],
    "mild": [
        "Mild lymphocytic inflammation.",
        "Slight inflammation only.",
        "The inflammatory infiltrate is mild.",
    ],
    "marked": ["Dense lymphocytic infiltrate.", "Severe inflammation.", "The inflammation is marked."],
}
_PATTERN = {
    "crowded glands": ["The glands are closely packed.", "Crowded tubules.", "Glands stand back to back."],
    "irregular glands": [
        "Infiltrating glands are seen.",
        "Angulated glands.",
        "Irregular tubules invade the stroma.",
    ],
    "mucin pools": ["Cells float in mucin.", "Lakes of mucin.", "There is pooled mucin with mucin lakes."],
    "single files": [
        "Cells run in single file.",
        "Indian files: linear files of cells.",
        "Single-file growth.",
    ],
    "solid nests": ["The growth is in solid sheets.", "Nests of tumour cells.", "Sheets of malignant cells."],
    "regular glands": ["Glands are regularly spaced.", "Regular crypts.", "The glands look regular."],
}
_OF_FAMILY = {
    "no significant abnormality": "regular glands",
    "adenoma": "crowded glands",
    "adenocarcinoma": "irregular glands",
    "mucinous carcinoma": "mucin pools",
    "poorly cohesive carcinoma": "single files",
    "solid carcinoma": "solid nests",
}
_NUCLEI = ["The nuclei are {} grade.", "{}-grade cytology.", "Nuclear grade: {}."]
_GRADED = [
    "{diagnosis}; G{n}.",
    "Histology in keeping with {diagnosis}, {word} differentiated.",
    "This is {diagnosis} of grade {roman}.",
]


def other_wordings() -> Iterator[tuple[str, frozenset[Fact]]]:
    """(text, the facts of its truth) for each family, grade and wording."""
    rng = Random(5)
    for family, pattern in _OF_FAMILY.items():
        for grade in DIAGNOSES[family]:
            for w in range(3):
                drawn = {
                    "mitoses": rng.choice(list(_MITOSES)),
                    "necrosis": rng.choice(list(_NECROSIS)),
                    "inflammation": rng.choice(list(_INFLAMMATION)),
                }
                nuclei = rng.choice(["low", "intermediate", "high"])
                words = [
                    _PATTERN[pattern][w],
                    _NUCLEI[w].format(nuclei),
                    _MITOSES[drawn["mitoses"]][w],
                    _NECROSIS[drawn["necrosis"]][w],
                    _INFLAMMATION[drawn["inflammation"]][w],
                ]
                rng.shuffle(words)
                facts = {
                    Fact("diagnosis", family),
                    Fact("architecture", pattern),
                    Fact("nuclear_grade", "nuclear grade", nuclei),
                    *(Fact(slot, slot, value) for slot, value in drawn.items()),
                }
                if (graded := _graded(grade)) is not None:
                    facts.add(graded)
                yield " ".join([*words, _conclusion(family, grade, w)]), frozenset(facts)


def _graded(grade: str) -> Fact | None:
    if grade.startswith("grade"):
        return Fact("grade", "grade", grade.split()[1])
    return Fact("grade", "dysplasia", grade.split("-")[0]) if "dysplasia" in grade else None


def _conclusion(family: str, grade: str, w: int) -> str:
    if family == "no significant abnormality":
        return ["Within normal limits.", "Unremarkable tissue.", "No specific pathological change."][w]
    if "dysplasia" in grade:
        level = grade.split("-")[0]
        return [
            f"Adenoma; dysplasia is {level}.",
            f"An adenoma with {level} grade dysplasia.",
            f"{level.title()}-grade dysplasia in an adenomatous lesion.",
        ][w]
    n = int(grade.split()[1])
    word, roman = ["well", "moderately", "poorly"][n - 1], "I" * n
    return _GRADED[w].format(diagnosis=family, n=n, word=word, roman=roman)
