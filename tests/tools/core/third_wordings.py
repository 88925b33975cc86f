"""Phantom reports in three more styles: dictated prose, a numbered list, a letter.

Written before the extractor had read them: F1 at first reading 0.952, then it was mended.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random

from pathagent_tools.core.scoring.report import Fact
from pathagent_tools.core.vocabulary import DIAGNOSES

_PATTERN = {
    "crowded glands": (
        "The mucosa is thickened by crowded glands",
        "architecture: glands lying back to back",
        "we noted closely packed tubules",
    ),
    "irregular glands": (
        "The wall is permeated by irregular, angulated glands",
        "architecture: infiltrative glands of varying calibre",
        "we noted invasive glands reaching the deep edge",
    ),
    "mucin pools": (
        "Epithelial clusters lie within large pools of extracellular mucin",
        "architecture: mucin lakes",
        "we noted tumour cells that float in mucin",
    ),
    "single files": (
        "Discohesive cells march through the stroma in single file",
        "architecture: single-file strands",
        "we noted linear files of small cells",
    ),
    "solid nests": (
        "The tumour is built of solid nests",
        "architecture: solid sheets without lumina",
        "we noted nests of cohesive cells",
    ),
    "regular glands": (
        "The glands are evenly and regularly arranged",
        "architecture: regular crypts",
        "we noted regular glands throughout",
    ),
}
_NUCLEI = ("whose nuclei are of {} grade", "nuclear grade: {}", "and cytology was {} grade")
_MITOSES = {
    "none": ("No mitotic figures were encountered", "mitoses: not seen", "mitotic activity was absent"),
    "few": ("Mitoses are infrequent", "mitoses: few", "an occasional mitotic figure was seen"),
    "many": ("Mitoses are numerous", "mitoses: many", "mitotic activity was brisk"),
}
_NECROSIS = {
    "absent": ("there is no necrosis", "necrosis: none", "necrosis could not be demonstrated"),
    "present": ("confluent necrosis is evident", "necrosis: present", "areas of necrosis were found"),
}
_INFLAMMATION = {
    "none": ("Inflammatory cells are lacking", "inflammation: none", "there was no inflammation to speak of"),
    "mild": (
        "A mild chronic inflammatory infiltrate is noted",
        "inflammation: mild",
        "inflammation was slight",
    ),
    "marked": ("A heavy inflammatory infiltrate is noted", "inflammation: marked", "inflammation was severe"),
}
_NAMES = {
    "adenocarcinoma": ("adenocarcinoma", "grade {n}", "{word} differentiated"),
    "mucinous carcinoma": ("mucinous carcinoma", "grade {n}", "grade {roman}"),
    "poorly cohesive carcinoma": ("poorly cohesive carcinoma", "grade {n}", "G{n}"),
    "solid carcinoma": ("solid carcinoma", "grade {n}", "grade {roman}"),
}
_OF_FAMILY = {
    "no significant abnormality": "regular glands",
    "adenoma": "crowded glands",
    "adenocarcinoma": "irregular glands",
    "mucinous carcinoma": "mucin pools",
    "poorly cohesive carcinoma": "single files",
    "solid carcinoma": "solid nests",
}
_FRAMES = (
    "{pattern}, {nuclei}. {mitoses}, and {necrosis}. {inflammation}. In summary: {end}.",
    "1) {pattern}; 2) {nuclei}; 3) {mitoses}; 4) {necrosis}; 5) {inflammation}. Final diagnosis - {end}.",
    "Dear colleague, on your slide {pattern}, {nuclei}. There, {mitoses}; {necrosis}; {inflammation}. "
    "My conclusion is {end}. Kind regards.",
)


def third_wordings() -> Iterator[tuple[str, frozenset[Fact]]]:
    """(text, the facts of its truth): every family, grade and style twice, the rest drawn."""
    rng = Random(11)
    for _, (family, pattern), style in product(range(2), _OF_FAMILY.items(), range(3)):
        for grade in DIAGNOSES[family]:
            drawn = {
                "mitoses": rng.choice(list(_MITOSES)),
                "necrosis": rng.choice(list(_NECROSIS)),
                "inflammation": rng.choice(list(_INFLAMMATION)),
            }
            nuclei = rng.choice(["low", "intermediate", "high"])
            end, graded = _end(family, grade, style)
            text = _FRAMES[style].format(
                pattern=_PATTERN[pattern][style],
                nuclei=_NUCLEI[style].format(nuclei),
                mitoses=_MITOSES[drawn["mitoses"]][style],
                necrosis=_NECROSIS[drawn["necrosis"]][style],
                inflammation=_INFLAMMATION[drawn["inflammation"]][style],
                end=end,
            )
            facts = {
                Fact("diagnosis", family),
                Fact("architecture", pattern),
                Fact("nuclear_grade", "nuclear grade", nuclei),
                *(Fact(slot, slot, value) for slot, value in drawn.items()),
                *graded,
            }
            yield text, frozenset(facts)


def _end(family: str, grade: str, style: int) -> tuple[str, list[Fact]]:
    """The conclusion in words, and the grade that it states."""
    if family == "no significant abnormality":
        return ("tissue within normal limits", "no relevant abnormality", "unremarkable mucosa")[style], []
    if family == "adenoma":
        level = grade.split("-")[0]
        words = (
            "adenoma with {}-grade dysplasia",
            "adenoma, dysplasia: {}",
            "an adenoma with {} grade dysplasia",
        )
        return words[style].format(level), [Fact("grade", "dysplasia", level)]
    n = int(grade.split()[1])
    word = ("well", "moderately", "poorly")[n - 1]
    name = _NAMES[family][0]
    how = _NAMES[family][1 + style % 2].format(n=n, word=word, roman="I" * n)
    return f"{name}, {how}", [Fact("grade", "grade", str(n))]
