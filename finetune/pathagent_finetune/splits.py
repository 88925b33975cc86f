"""Which examples are held out, and the proof that no patient and no image is on both sides."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from pathagent_finetune.tuning_example import TuningExample
from pathagent_finetune.user_corpus import Corpus
from pathagent_tools.core.errors import UserError


def split(corpus: Corpus, *, share: float, seed: int) -> Corpus:
    """Every example with its split: the data's own, else drawn by patient, else by the first image's bytes.

    About `share` of the patients (or images) become validation, at least one; the same seed draws the
    same ones whatever else the corpus holds. UserError where a split is empty or leaks.
    """
    keys = {_key(e, corpus) for e in corpus.examples if e.split is None}
    points = {key: point(key, seed) for key in keys}
    held_out = {key for key, point in points.items() if point < share}
    if not held_out and points and not corpus.of("validation"):
        held_out = {min(points, key=points.__getitem__)}
    drawn = tuple(
        e
        if e.split
        else e.model_copy(update={"split": "validation" if _key(e, corpus) in held_out else "train"})
        for e in corpus.examples
    )
    found = replace(corpus, examples=drawn)
    for name in ("train", "validation"):
        if not any(e.split == name for e in drawn):
            raise UserError(
                f"No example is left for {name}: give data of more patients, or a column `split` with "
                "train and validation."
            )
    check_leaks(found)
    return found


def check_leaks(corpus: Corpus) -> None:
    """UserError that names the patient, or the image bytes, that stand in two splits."""
    seen: dict[tuple[str, str], TuningExample] = {}
    for example in corpus.examples:
        keys = [("patient", example.patient)] if example.patient else []
        keys += [("image", corpus.pictures[image].sha256) for image in example.images]
        for key in keys:
            first = seen.setdefault(key, example)
            if first.split != example.split:
                what = (
                    f"The patient {key[1]}" if key[0] == "patient" else _same_image(key[1], example, corpus)
                )
                raise UserError(
                    f"{what} is in {first.split} ({first.id}) and in {example.split} ({example.id}): "
                    "put each patient and each image into one split."
                )


def _same_image(sha256: str, example: TuningExample, corpus: Corpus) -> str:
    name = next(i.name for i in example.images if corpus.pictures[i].sha256 == sha256)
    return f"The image {name} (sha256 {sha256[:12]})"


def _key(example: TuningExample, corpus: Corpus) -> str:
    """What must stay together: a patient, an image, or the text where there is neither."""
    if example.patient:
        return f"patient {example.patient}"
    if example.images:
        return f"image {corpus.pictures[example.images[0]].sha256}"
    return f"text {example.prompt[-1].content}"


def point(key: str, seed: int) -> float:
    """A number in 0..1 from seed and key alone: where it is below the share, the key is held out."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8]) / 2**64
