"""Training a slide head: a table in, a calibrated head with a card out; the controls do not learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pathagent_finetune.slide_head import cross_validated, folds_of, read_table, scores_of
from pathagent_finetune.slide_head_fit import fit, softmax, temperature
from pathagent_tools.core.errors import UserError

DIM = 8


def bags(count: int, *, signal: float, tiles: int = 3, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Slides of 30 tiles; in those of class 1 some `tiles` point along the first axis."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    made = []
    for label in labels:
        bag = rng.normal(size=(30, DIM)).astype(np.float32)
        bag[:tiles, 0] += signal * label
        made.append(bag)
    return made, labels


@pytest.mark.parametrize(("pooling", "tiles"), [("mean", 20), ("attention", 3)])
def test_a_head_learns_what_its_pooling_can_see_and_nothing_from_noise(pooling: str, tiles: int) -> None:
    patients = [f"p{i}" for i in range(40)]

    def balanced(signal: float) -> float:
        made, labels = bags(40, signal=signal, tiles=tiles)
        logits, folds = cross_validated(made, labels, patients, pooling, 2, 0)  # type: ignore[arg-type]
        return float(scores_of(logits, labels, folds, patients, ["no", "yes"])["balanced_accuracy"])

    assert balanced(9.0) >= 0.85
    assert balanced(0.0) <= 0.7


def test_no_patient_is_on_both_sides_and_every_class_is_in_training() -> None:
    patients = [f"p{i // 3}" for i in range(36)]
    labels = np.array([(i // 3) % 3 for i in range(36)])
    folds = folds_of(labels, patients, seed=3)
    for patient in set(patients):
        assert len({f for f, p in zip(folds, patients, strict=True) if p == patient}) == 1
    for fold in set(folds):
        assert set(labels[folds != fold]) == {0, 1, 2}


def test_the_temperature_is_that_of_the_noise() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3)).astype(np.float32) * 2
    labels = np.array([rng.choice(3, p=p / p.sum()) for p in softmax(logits).astype(float)])
    assert temperature(logits, labels) == pytest.approx(1.0, rel=0.15)
    assert temperature(logits * 5, labels) == pytest.approx(5.0, rel=0.15)


def test_the_same_seed_gives_the_same_head() -> None:
    made, labels = bags(8, signal=3)
    first, second = (fit(made, labels, "attention", 2, 7) for _ in range(2))
    assert all(np.array_equal(first[n], second[n]) for n in first)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slide,grade\na.tiff,1\n", "no column label"),
        ("slide,label\na.tiff,x\nb.tiff,x\n", "names 1 class"),
        ("slide,label,patient\na.tiff,x,1\nb.tiff,x,2\nc.tiff,y,3\n", "'y' has one patient"),
        ("slide,label\na.tiff,\n", "line 2"),
        ("slide,label,mpp\na.tiff,x,fine\n", "mpp is 'fine'"),
    ],
)
def test_a_table_that_cannot_train_says_why(text: str, said: str, tmp_path: Path) -> None:
    table = tmp_path / "slides.csv"
    table.write_text(text)
    with pytest.raises(UserError, match=said):
        read_table(table)
