"""Few-shot slide head: from a table of slides and labels to a calibrated head with a card, in one command."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pathagent_finetune.slide_head_fit import fit, temperature
from pathagent_tools.core.card import ModelCard, hash_files
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import sha256_file, write_text_atomic
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.encoders.slide_head import HeadSettings, Pooling, SlideHead

if TYPE_CHECKING:
    from pathagent_tools.core.protocols import SlideEncoder

Floats = NDArray[np.float32]
FOLDS: Final = 5
NOT_FOR: Final = (
    "Diagnosis or patient care. It sorts slides like the few that it was trained on; on others its "
    "probabilities mean nothing."
)


class LabelledSlide(Frozen):
    """A row of the table. `patient`: whose slides are never parted; the slide itself where none is named."""

    slide: str
    label: str
    patient: str
    mpp: float | None = None


def train(
    table: Path, out: Path, *, pooling: Pooling = "mean", encoder: str = "embedded", seed: int = 0
) -> Path:
    """Encode the slides (features are kept in OUT/features), cross-validate, calibrate, fit on all.

    Returns `out`. UserError: a table without the columns, fewer than two classes, a class of one patient,
    a slide without tissue; SlideError: a slide cannot be read.
    """
    from pathagent_tools.encoders.registry import load_encoder

    rows = read_table(table)
    model = load_encoder(encoder)
    bags = [_features(row, model, out / "features") for row in rows]
    classes = tuple(sorted({row.label for row in rows}))
    labels = np.array([classes.index(row.label) for row in rows])
    patients = [row.patient for row in rows]
    held_out, folds = cross_validated(bags, labels, patients, pooling, len(classes), seed)
    arrays = fit(bags, labels, pooling, len(classes), seed)
    settings = HeadSettings(
        classes=classes,
        pooling=pooling,
        encoder=model.id,
        encoder_revision=model.revision,
        dim=model.dim,
        temperature=temperature(held_out, labels),
    )
    SlideHead(settings, arrays).save(out)
    scores = scores_of(held_out, labels, folds, patients, classes)
    card = _card(out, table, rows, settings, model, scores, seed)
    card.save(out)
    write_text_atomic(out / "card.md", _markdown(card))
    return out


def read_table(path: Path) -> list[LabelledSlide]:
    """The rows; paths are relative to the table's folder."""
    if not path.is_file():
        raise UserError(f"There is no table at {path}: give a CSV with the columns slide,label.")
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle)
        if missing := [n for n in ("slide", "label") if n not in (reader.fieldnames or ())]:
            raise UserError(
                f"{path} has no column {missing[0]}: it needs slide,label and may have patient,mpp."
            )
        rows = [_row(row, path, line) for line, row in enumerate(reader, 2)]
    counts = {label: len({r.patient for r in rows if r.label == label}) for label in {r.label for r in rows}}
    if len(counts) < 2:
        raise UserError(f"{path} names {len(counts)} class: a head needs at least two labels.")
    if few := [label for label, n in counts.items() if n < 2]:
        raise UserError(f"The class {min(few)!r} has one patient: give slides of at least two of each class.")
    return rows


def _row(row: dict[str, Any], path: Path, line: int) -> LabelledSlide:
    slide, label = (row.get(n) or "" for n in ("slide", "label"))
    if not slide or not label:
        raise UserError(f"{path}, line {line}: slide and label must not be empty.")
    text = row.get("mpp") or ""
    try:
        mpp = float(text) if text else None
    except ValueError:
        raise UserError(f"{path}, line {line}: mpp is {text!r}. Write µm per pixel, e.g. 0.5.") from None
    return LabelledSlide(
        slide=str((path.parent / slide).resolve()), label=label, patient=row.get("patient") or slide, mpp=mpp
    )


def cross_validated(
    bags: Sequence[Floats], labels: NDArray[Any], patients: Sequence[str], pooling: Pooling, classes: int,
    seed: int,
) -> tuple[Floats, NDArray[Any]]:  # fmt: skip
    """(logits [n, C] of each slide by a head that saw neither it nor its patient, its fold [n])."""
    folds = folds_of(labels, patients, seed)
    logits = np.zeros((len(bags), classes), np.float32)
    for fold in np.unique(folds):
        train = np.flatnonzero(folds != fold)
        arrays = fit([bags[i] for i in train], labels[train], pooling, classes, seed)
        dim = bags[0].shape[1]
        names = tuple(map(str, range(classes)))
        head = SlideHead(
            HeadSettings(classes=names, pooling=pooling, encoder="", encoder_revision="", dim=dim), arrays
        )
        for i in np.flatnonzero(folds == fold):
            logits[i] = head.logits(bags[i])
    return logits, folds


def folds_of(labels: NDArray[Any], patients: Sequence[str], seed: int) -> NDArray[Any]:
    """[n] fold of each slide: patients are drawn in turn by their commonest class, so folds are alike.

    Every class stays in the training part of every fold: as many folds as the smallest class has patients.
    """
    names = sorted(set(patients))
    own = {p: Counter(labels[[i for i, q in enumerate(patients) if q == p]].tolist()) for p in names}
    kind = {p: own[p].most_common(1)[0][0] for p in names}
    count = min(FOLDS, min(Counter(kind.values()).values()))
    if count < 2:
        raise UserError("Each class needs two patients of its own to be cross-validated: give more slides.")
    order = np.random.default_rng(seed).permutation(len(names))
    at: Counter[int] = Counter()
    fold = {}
    for i in order:
        name = names[int(i)]
        fold[name] = at[kind[name]] % count
        at[kind[name]] += 1
    return np.array([fold[p] for p in patients])


def scores_of(
    logits: Floats, labels: NDArray[Any], folds: NDArray[Any], patients: Sequence[str], classes: Sequence[str]
) -> dict[str, Any]:
    """Cross-validated scores. Each fold's temperature is fitted on the other folds only."""
    from pathagent_finetune.slide_head_fit import softmax
    from pathagent_tools.core.scoring.calibration import expected_calibration_error
    from pathagent_tools.core.scoring.resampling import Resampling

    stated, raw = np.zeros_like(logits), softmax(logits)
    for fold in np.unique(folds):
        inside = folds == fold
        stated[inside] = softmax(logits[inside] / temperature(logits[~inside], labels[~inside]))
    said = logits.argmax(1)
    draws = Resampling(list(patients))

    def balanced(index: NDArray[Any]) -> float:
        of, right = labels[index], said[index] == labels[index]
        return float(np.mean([right[of == c].mean() for c in np.unique(of)]))

    right = (said == labels).tolist()
    estimate = draws.statistic(balanced)
    majority = Counter(labels.tolist()).most_common(1)[0]
    return {
        "how": f"cross-validated in {len(np.unique(folds))} folds, no patient on both sides",
        "n": len(labels),
        "balanced_accuracy": round(estimate.value, 3),
        "interval": [round(estimate.low, 3), round(estimate.high, 3)],
        "accuracy": round(float(np.mean(right)), 3),
        "majority_class": f"{majority[1] / len(labels):.3f} ({classes[majority[0]]})",
        "chance_balanced": round(1 / len(classes), 3),
        "by_class": {c: round(float(np.mean(said[labels == i] == i)), 3) for i, c in enumerate(classes)},
        "ece": round(expected_calibration_error(stated.max(1).tolist(), right).value, 3),
        "ece_uncalibrated": round(expected_calibration_error(raw.max(1).tolist(), right).value, 3),
    }


def _features(row: LabelledSlide, model: SlideEncoder, store: Path) -> Floats:
    from pathagent_tools.encoders.scan import scan_slide
    from pathagent_tools.slides import open_slide, tissue_mask

    with open_slide(row.slide, mpp=row.mpp) as slide:
        found = scan_slide(slide, tissue_mask(slide), model, store=store)
    if len(found) == 0:
        raise UserError(f"{row.slide} has no tile of tissue: take it out of the table.")
    return found.features


def _card(
    out: Path,
    table: Path,
    rows: Sequence[LabelledSlide],
    settings: HeadSettings,
    model: SlideEncoder,
    scores: dict[str, Any],
    seed: int,
) -> ModelCard:
    files = {n: d for n, d in hash_files(out).items() if not n.startswith("features/") and n != "card.md"}
    return ModelCard(
        id=out.name,
        version="1",
        kind="slide-head",
        files=files,
        trained_on={
            "table_sha256": sha256_file(table),
            "slides": len(rows),
            "patients": len({r.patient for r in rows}),
            "classes": dict(Counter(r.label for r in rows)),
            "encoder": [settings.encoder, settings.encoder_revision],
            "pooling": settings.pooling,
            "temperature": round(settings.temperature, 4),
            "seed": seed,
        },
        licence_weights="as the slides' owner says",
        licence_data="as the slides' owner says",
        tile_px=model.tile_px,
        tile_mpp=model.tile_mpp,
        scores=scores,
        reproduce=f"pathagent finetune slide-head --slides {table.name} --pooling {settings.pooling} "
        f"--encoder {settings.encoder} --seed {seed} -o FOLDER",
        not_for=NOT_FOR,
    )


def _markdown(card: ModelCard) -> str:
    s = card.scores
    rows = "\n".join(f"| {name} | {value} |" for name, value in s.items())
    return f"# Slide head {card.id}\n\n| | |\n| --- | --- |\n{rows}\n\nNot for: {card.not_for}\n"
