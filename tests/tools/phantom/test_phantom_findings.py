"""The rules that turn exact areas and nuclei into the words of a look."""

from __future__ import annotations

import numpy as np
import pytest

from pathagent_tools.phantom import classes as k
from pathagent_tools.phantom.cells import CLASS, COLUMNS, MITOSIS, Table
from pathagent_tools.phantom.findings import class_fractions, findings_of, tissue_of

FIELD_MM2 = 0.192**2
EMPTY = dict.fromkeys((k.CLASSES[i] for i in range(10)), 0.0)


def nuclei(lymphocytes: int = 0, mitoses: int = 0) -> Table:
    table = np.zeros((lymphocytes + mitoses, COLUMNS))
    table[:, CLASS] = k.N_LYMPHOCYTE
    table[lymphocytes:, CLASS], table[lymphocytes:, MITOSIS] = k.N_TUMOUR, 1.0
    return table


@pytest.mark.parametrize(
    ("shares", "word"),
    [
        ({"invasive tumour": 0.06, "stroma": 0.94}, "invasive tumour"),
        ({"invasive tumour": 0.05, "dysplastic epithelium": 0.08, "stroma": 0.87}, "dysplastic epithelium"),
        ({"necrosis": 0.15, "stroma": 0.85}, "necrosis"),
        ({"lymphoid infiltrate": 0.25, "stroma": 0.75}, "lymphoid infiltrate"),
        ({"invasive tumour": 0.2, "background": 0.71, "stroma": 0.09}, "background"),
        ({"background": 0.6, "adipose": 0.4}, "adipose"),
        ({"mucin": 0.6, "stroma": 0.4}, "mucin"),
    ],
)
def test_most_serious_tissue_wins(shares: dict[str, float], word: str) -> None:
    assert tissue_of({**EMPTY, **shares}) == word


def test_lumina_count_with_their_epithelium() -> None:
    labels = np.array([[k.C_BENIGN, k.C_BENIGN_LUMEN], [k.C_VESSEL, k.C_STROMA]], np.uint8)
    shares = class_fractions(labels)
    assert shares["benign epithelium"] == 0.5 and shares["stroma"] == 0.5


@pytest.mark.parametrize(("count", "word"), [(0, "none"), (1, "few"), (2, "few"), (3, "many")])
def test_mitoses_are_counted_per_look(count: int, word: str) -> None:
    found = findings_of(
        {**EMPTY, "invasive tumour": 1.0}, nuclei(mitoses=count), FIELD_MM2,
        family="solid carcinoma", grade=3, artifact_cover={}, stain="balanced",
    )  # fmt: skip
    assert found.mitoses == word and found.nuclear_grade == "high"


@pytest.mark.parametrize(("count", "word"), [(10, "none"), (60, "mild"), (130, "marked")])
def test_inflammation_is_lymphocyte_density(count: int, word: str) -> None:
    found = findings_of(
        {**EMPTY, "stroma": 1.0}, nuclei(lymphocytes=count), FIELD_MM2,
        family="no significant abnormality", grade=0, artifact_cover={"fold": 0.1, "pen": 0.3}, stain="pale",
    )  # fmt: skip
    assert found.inflammation == word and found.artifact == "pen" and found.nuclear_grade == "none"
