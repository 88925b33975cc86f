"""What a tuning leaves beside its adapter: the card, and the curves of its losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pathagent_finetune.lora_base import BaseName
from pathagent_finetune.lora_recipe import LoraRecipe
from pathagent_finetune.user_corpus import Corpus
from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.files import sha256_file

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def card_of(
    plan: LoraRecipe,
    folder: Path,
    corpus: Corpus,
    base: BaseName,
    *,
    skipped: Mapping[str, int],
    scores: dict[str, Any],
    run: Mapping[str, Any],
) -> ModelCard:
    """The card of the adapter in `folder`; `run` says seconds, device and steps.

    `tile_px` is the commonest width of the images that it was tuned on, 0 where there were none.
    """
    widths = Counter(corpus.pictures[image].size_px[0] for e in corpus.examples for image in e.images)
    return ModelCard(
        id=plan.id,
        version=plan.version,
        kind="vlm-adapter",
        files={name: sha256_file(folder / name) for name in ADAPTER_FILES},
        trained_on={
            "recipe": plan.model_dump(mode="json"),
            "base": base.as_dict(),
            "data": corpus.digest,
            "examples": dict(Counter(e.split for e in corpus.examples)),
            "roles": dict(Counter(e.role for e in corpus.examples)),
            "patients": len({e.patient for e in corpus.examples if e.patient}),
            "skipped": dict(skipped),
            **run,
        },
        licence_weights=base.licence,
        licence_data=plan.licence_data,
        tile_px=widths.most_common(1)[0][0] if widths else 0,
        tile_mpp=plan.mpp,
        scores=scores,
        reproduce="pathagent finetune vlm --recipe RECIPE --data DATA --out DIR",
        not_for="Diagnosis or patient care. Tissue, stains and scanners unlike those that it was tuned on.",
    )


_W, _H, _PAD = 640, 360, 48


def curves_svg(history: Sequence[Mapping[str, float]]) -> str:
    """Training and validation loss over steps as an SVG image; `history` is the trainer's log."""
    curves = {
        name: [(row["step"], row[key]) for row in history if key in row]
        for key, name in (("loss", "training"), ("eval_loss", "validation"))
    }
    points = [point for curve in curves.values() for point in curve]
    last = max((x for x, _ in points), default=1) or 1
    top = max((y for _, y in points), default=1.0) or 1.0

    def place(x: float, y: float) -> str:
        return f"{_PAD + x / last * (_W - 2 * _PAD):.1f},{_H - _PAD - y / top * (_H - 2 * _PAD):.1f}"

    drawn = []
    for i, ((name, curve), colour) in enumerate(zip(curves.items(), ("#9aa5b1", "#b3261e"), strict=True)):
        line = " ".join(place(x, y) for x, y in curve)
        drawn.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn.append(f'<text x="{_W - 140}" y="{24 + 18 * i}" fill="{colour}">{name} loss</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_W} {_H}" font-family="sans-serif" '
        f'font-size="13"><rect width="{_W}" height="{_H}" fill="white"/>'
        f'<path d="M{_PAD},{_PAD}V{_H - _PAD}H{_W - _PAD}" fill="none" stroke="#444"/>'
        f'<text x="8" y="{_PAD + 4}">{top:.3g}</text><text x="8" y="{_H - _PAD}">0</text>'
        f'<text x="{_W - _PAD}" y="{_H - 20}" text-anchor="end">step {last:g}</text>{"".join(drawn)}</svg>\n'
    )
