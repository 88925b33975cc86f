"""What may be asked for, and what is said of the rest."""

from __future__ import annotations

import numpy as np
import pytest

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.vocabulary import SLOTS
from pathagent_tools.generators.conditions import LABELS, Conditions, Layout, Reference, stain_code
from pathagent_tools.generators.prompt import prompt_table, read_prompt
from pathagent_tools.phantom.classes import CLASSES
from pathagent_tools.phantom.field import FieldSample


def test_the_labels_of_a_layout_are_those_of_a_phantom() -> None:
    assert dict(enumerate(LABELS)) == CLASSES


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"words": {"tissue": "bone"}}, "invasive tumour"),
        ({"words": {"colour": "red"}}, "nuclear_grade"),
        ({"dials": {"mood": 1.0}}, "pleomorphism"),
        ({"stain": (1.0, 2.0)}, "9 numbers"),
        ({"mpp": 8.0}, "0.5 to 2"),
    ],
)
def test_a_wrong_condition_is_named_with_what_is_allowed(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=named):
        Conditions(**wrong)  # type: ignore[arg-type]


def test_maps_of_different_sizes_and_unknown_classes_are_refused() -> None:
    labels = np.zeros((64, 64), np.uint8)
    with pytest.raises(UserError, match="32 x 64"):
        Layout(labels, np.zeros((64, 32), bool))
    with pytest.raises(UserError, match="class 14; known classes: 0 background"):
        Layout(np.full((64, 64), 14, np.uint8))
    with pytest.raises(UserError, match="same size"):
        Reference(np.zeros((8, 8, 3), np.uint8), np.zeros((4, 8), bool), "holes")


def test_a_stain_code_follows_the_stain_and_not_the_place(field: FieldSample) -> None:
    left, right = stain_code(field.image[:, :64]), stain_code(field.image[:, 64:])
    darker = stain_code((255 * (field.image / 255.0) ** 1.6).astype(np.uint8))
    whole = stain_code(field.image)
    assert left and right and darker and whole
    between = np.abs(np.subtract(left, right)).mean()
    assert np.subtract(darker, whole).mean() > 2 * between > 0
    assert stain_code(np.full((32, 32, 3), 250, np.uint8)) is None


def test_every_phrase_of_the_table_sets_words_of_the_vocabulary() -> None:
    for phrase, said in prompt_table().phrases.items():
        for slot, word in said.items():
            assert word in SLOTS[slot], phrase


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("High-grade solid carcinoma, pale stain",
            {"tissue": "invasive tumour", "architecture": "solid nests", "nuclear_grade": "high",
             "stain": "pale"}),
        ("a field of normal glands", {"tissue": "benign epithelium", "architecture": "regular glands"}),
        ("tumour with many mitoses", {"tissue": "invasive tumour", "mitoses": "many"}),
        ("adenocarcinoma, grade 2", {"tissue": "invasive tumour", "architecture": "irregular glands",
                                     "nuclear_grade": "intermediate"}),
    ],
)  # fmt: skip
def test_prompts_become_slots(prompt: str, said: dict[str, str]) -> None:
    assert read_prompt(prompt) == said


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("", "empty"),
        ("  ,, ", "empty"),
        ("a giraffe in stroma", "giraffe"),
        ("strma", "stroma"),
        ("of the", "nothing that can be drawn"),
        ("pale dark stroma", "keep one"),
    ],
)
def test_a_prompt_that_is_not_understood_is_refused(prompt: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        read_prompt(prompt)
