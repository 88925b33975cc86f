"""Names and numbers of a phantom: zones (the plan), kinds (the paint), classes (the truth)."""

from __future__ import annotations

from typing import Final, Literal

# Zones: the coarse plan of a world, one byte per grid cell.
GLASS, ADIPOSE, STROMA, MUSCLE, MUCOSA, REACTIVE, LYMPHOID = range(7)
ADENOMA, ADENOCARCINOMA, SOLID, POORLY_COHESIVE, MUCINOUS, NECROSIS = range(7, 13)

LESION_ZONES: Final[dict[str, int]] = {
    "adenoma": ADENOMA,
    "adenocarcinoma": ADENOCARCINOMA,
    "mucinous carcinoma": MUCINOUS,
    "poorly cohesive carcinoma": POORLY_COHESIVE,
    "solid carcinoma": SOLID,
}

# Kinds: how a point is painted and which nuclei it may hold.
K_GLASS, K_ADIPOSE, K_STROMA, K_MUSCLE, K_BENIGN, K_DYSPLASTIC, K_GLAND_TUMOUR, K_SOLID = range(8)
K_FILE, K_CLUSTER, K_LYMPHOID, K_NECROSIS, K_MUCIN, K_LUMEN, K_BLOOD, K_WALL = range(8, 16)
K_PROPRIA, K_DESMOPLASTIC, K_GOBLET, K_CLEFT, K_REACTIVE = range(16, 21)

# Classes: the label map. Lumina are kept apart from their epithelium and counted with it.
CLASSES: Final[dict[int, str]] = {
    0: "background",
    1: "adipose",
    2: "stroma",
    3: "smooth muscle",
    4: "benign epithelium",
    5: "dysplastic epithelium",
    6: "invasive tumour",
    7: "lymphoid infiltrate",
    8: "necrosis",
    9: "mucin",
    10: "benign lumen",
    11: "dysplastic lumen",
    12: "tumour lumen",
    13: "vessel",
}
"""Class number of a label map → name. 1-9 are the words of the tissue slot of a Findings record."""

(
    C_BACKGROUND,
    C_ADIPOSE,
    C_STROMA,
    C_MUSCLE,
    C_BENIGN,
    C_DYSPLASTIC,
    C_TUMOUR,
    C_LYMPHOID,
    C_NECROSIS,
    C_MUCIN,
    C_BENIGN_LUMEN,
    C_DYSPLASTIC_LUMEN,
    C_TUMOUR_LUMEN,
    C_VESSEL,
) = range(14)

# Nuclei.
NUCLEUS_CLASSES: Final[dict[int, str]] = {
    1: "benign epithelial",
    2: "dysplastic",
    3: "tumour",
    4: "lymphocyte",
    5: "fibroblast",
    6: "smooth muscle",
    7: "adipocyte",
    8: "endothelial",
    9: "debris",
    10: "red blood cell",
    11: "apoptotic body",
}
N_BENIGN, N_DYSPLASTIC, N_TUMOUR, N_LYMPHOCYTE, N_FIBROBLAST, N_MUSCLE = range(1, 7)
N_ADIPOCYTE, N_ENDOTHELIAL, N_DEBRIS, N_RED_CELL, N_APOPTOTIC = range(7, 12)
"""Numbers of `NUCLEUS_CLASSES`; the last three are painted but are not nuclei."""

# Entries of a world's parameter vector.
(
    P_ANGLE,
    P_MUCOSA_ANGLE,
    P_MUCOSA_STRETCH,
    P_GRADE,
    P_GLAND_UM,
    P_NEST_UM,
    P_MITOSIS_RATE,
    P_CLUSTERS,
    P_CELLULARITY,
    P_LESION_ON,
    P_COUNT,
) = range(11)

GRADE_WORDS: Final[tuple[Literal["low", "intermediate", "high"], ...]] = ("low", "intermediate", "high")
