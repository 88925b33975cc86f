"""Tune a Stable-Diffusion-class pipeline on a user's tiles: a LoRA of its U-Net, in diffusers' format.

Rows are read as `finetune vlm --data` reads them: an image with a caption, or with words of the vocabulary,
which become the sentence that the pipeline is told when it draws. Patients, or images where none are named,
are held out whole; the adapter whose loss on them was least is kept. A second call goes on.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from pathagent_finetune.data_rows import BROKEN, COLUMNS, rows_of, split_of
from pathagent_finetune.draws import device_name, training_device
from pathagent_finetune.generator_recipe import recipe_of
from pathagent_finetune.loop import LOG, Budget, Metrics, Stage, claim, run
from pathagent_finetune.splits import point
from pathagent_finetune.tile_rows import RowError, image_of
from pathagent_tools.core.card import ModelCard, hash_files
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, sha256_bytes, sha256_file
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Image
from pathagent_tools.generators.conditions import WORD_SLOTS, Conditions
from pathagent_tools.generators.latent_pipeline import LORA, Parts, revision_of, sentence

log = logging.getLogger(__name__)

MODEL: Final = "lora"
STAGE: Final = "stage-0"
TIMES: Final = 8
"""Noise levels at which held-out tiles are scored."""


class LoraRecipe(Frozen):
    """Everything that decides the adapter, but base, data and code.

    mpp: µm per px at which tiles are learned, and of those whose row names none. rank and targets of the
    LoRA; hold_out: share of the patients that validate; forget: share of the tiles of a step whose words are
    left out, so that guidance has something to compare with.
    """

    seed: int
    mpp: float = Field(gt=0)
    rank: int = Field(gt=0)
    targets: tuple[str, ...] = Field(min_length=1)
    batch: int = Field(gt=0)
    hold_out: float = Field(gt=0, lt=1)
    forget: float = Field(ge=0, lt=1)
    budget: Budget


@dataclass(frozen=True)
class Tile:
    """A tile on disk, what the pipeline is told of it, whether it is held out, and its µm per px."""

    image: Path
    said: str
    held_out: bool
    mpp: float


def train(
    recipe: str | Path,
    base: Path,
    data: Path,
    out: Path,
    *,
    minutes: float | None = None,
    device: str | None = None,
) -> Path:
    """Tune the pipeline `base` on `data` into `out`; returns `out/lora`, which `load_generator` opens.

    UserError where base or data cannot be used, or `out` holds another tuning; nothing is written then.
    """
    plan, on = recipe_of(LoraRecipe, recipe), training_device(device)
    tiles = tiles_of(data, plan)
    parts = Parts.load(base)
    revision = revision_of(base)
    digest = sha256_bytes(
        canonical_json([[sha256_file(t.image), t.said, t.held_out] for t in tiles]).encode()
    )
    work = _Work(plan, parts, tiles, on)
    claim(out, plan.model_dump(mode="json") | {"base": revision, "data": digest})
    stage = Stage(
        folder=out / STAGE,
        modules={"lora": work.adapter},
        loss=work.loss,
        evaluate=work.evaluate,
        keep_best=lambda metrics: work.save(out / MODEL),
    )
    until = None if minutes is None else time.monotonic() + 60 * minutes
    if run(stage, plan.budget, until=until):
        held = sum(tile.held_out for tile in tiles)
        counts = {"train": len(tiles) - held, "held_out": held, "digest": digest}
        _card(plan, base, revision, counts, out, px=parts.px).save(out / MODEL)
    else:
        log.warning("stopped: run the same command again to go on")
    return out / MODEL


def tiles_of(data: Path, plan: LoraRecipe) -> list[Tile]:
    """The rows of a user's data as tiles, some held out. UserError names the first that cannot be used."""
    rows: list[_Row] = []
    for place, row, folder in rows_of(data):
        try:
            if BROKEN in row:
                raise RowError("broken", row[BROKEN])
            rows.append(_row(row, folder, plan))
        except RowError as error:
            raise UserError(f"{place} cannot be used: {error}. Mend it, or take it out.") from None
    if not rows:
        raise UserError(f"{data} holds no tiles: give rows with an image and what it shows.")
    at = {one.patient: point(one.patient, plan.seed) for one in rows}
    drawn = {key for key, value in at.items() if value < plan.hold_out} or {min(at, key=at.__getitem__)}
    named = {one.patient: one.split for one in rows if one.split}
    tiles, sides = [], dict[str, bool]()
    for one in rows:
        split = one.split or named.get(one.patient)
        if split == "test":
            continue
        held = split == "validation" if split else not named and one.patient in drawn
        for key in (one.patient, one.sha256):
            if sides.setdefault(key, held) != held:
                raise UserError(f"{one.image.name}, or its patient, is in two splits: put it into one.")
        tiles.append(Tile(one.image, one.said, held, one.mpp))
    for name, wanted in (("to learn from", False), ("to be held out", True)):
        if not any(tile.held_out == wanted for tile in tiles):
            raise UserError(f"No tile of {data} is left {name}: give tiles of more patients.")
    return tiles


@dataclass(frozen=True)
class _Row:
    """A row that can be used. `patient`: or the bytes of the image, where none is named."""

    image: Path
    sha256: str
    said: str
    patient: str
    split: str | None
    mpp: float


def _row(row: Mapping[str, Any], folder: Path, plan: LoraRecipe) -> _Row:
    """RowError where it cannot be used."""
    known = {COLUMNS.get(key, key): text for key, value in row.items() if (text := str(value or "").strip())}
    image = image_of(known, folder)
    if not image.is_file():
        raise RowError("missing image", f"there is no file {image}")
    try:
        mpp = float(known.get("mpp", plan.mpp))
    except ValueError:
        mpp = 0.0
    if not mpp > 0:
        raise RowError("mpp", f"{known['mpp']!r} is no um per px")
    sha256 = sha256_file(image)
    return _Row(image, sha256, _said(known), known.get("patient") or sha256, split_of(known), mpp)


def _said(row: Mapping[str, str]) -> str:
    """What the pipeline is told: the caption, or the sentence of the row's words. RowError without either."""
    if row.get("caption"):
        return row["caption"]
    try:
        said = sentence(Conditions(words={slot: row[slot] for slot in WORD_SLOTS if row.get(slot)}))
    except UserError as error:
        raise RowError("unknown word", str(error).rstrip(".")) from None
    if not said:
        raise RowError("empty", f"it has no caption and none of {', '.join(WORD_SLOTS)}")
    return said


def picture_of(path: Path, px: int, scale: float) -> Image:
    """The middle px of an image that is `scale` times as fine as wanted, transparent parts white.

    UserError where it is no image, or shows less than that.
    """
    from PIL import Image as Pil
    from PIL import UnidentifiedImageError

    try:
        with Pil.open(path) as opened:
            ground = Pil.new("RGBA", opened.size, "white")
            whole = Pil.alpha_composite(ground, opened.convert("RGBA")).convert("RGB")
    except (OSError, UnidentifiedImageError, Pil.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be read as an image: {error}.") from None
    side = round(px * scale)
    if min(whole.size) < side:
        raise UserError(
            f"{path} is {whole.width} x {whole.height} px; {px} px of the pipeline are {side} of its own: "
            "give larger tiles, or another mpp in the recipe."
        )
    x, y = (whole.width - side) // 2, (whole.height - side) // 2
    return np.asarray(whole.resize((px, px), Pil.Resampling.LANCZOS, (x, y, x + side, y + side)))


class _Work:
    """What the tuning does a step and at an evaluation. Latents and words are made once and kept."""

    def __init__(self, plan: LoraRecipe, parts: Parts, tiles: Sequence[Tile], device: torch.device) -> None:
        from peft import LoraConfig

        self.plan, self.parts, self.device = plan, parts, device
        torch.manual_seed(plan.seed)
        self.unet = parts.unet.requires_grad_(requires_grad=False).to(device)
        self.unet.add_adapter(
            LoraConfig(r=plan.rank, lora_alpha=plan.rank, target_modules=list(plan.targets), lora_dropout=0.0)
        )
        tuned = [p for p in self.unet.parameters() if p.requires_grad]
        if not tuned:
            raise UserError(f"This U-Net has none of {', '.join(plan.targets)}: name others in the recipe.")
        self.adapter = nn.ParameterList(tuned)
        latents = [self._latents(tile) for tile in tiles]
        held = np.array([tile.held_out for tile in tiles])
        self.seen, self.unseen = np.flatnonzero(~held), np.flatnonzero(held)
        self.latents = torch.stack(latents)
        said = list(dict.fromkeys(tile.said for tile in tiles))
        self.which = np.array([said.index(tile.said) for tile in tiles])
        self.words, self.silence = self._embedded(said), self._embedded([""])[0]

    def _latents(self, tile: Tile) -> Tensor:
        """[2, channels, h, w]: of the tile and of its mirror image."""
        picture = picture_of(tile.image, self.parts.px, self.plan.mpp / tile.mpp)
        both = self.parts.encode(np.stack([picture, picture[:, ::-1]]))
        return torch.from_numpy(both.numpy())  # an ordinary tensor, of which gradients may be taken

    @torch.no_grad()
    def _embedded(self, sentences: Sequence[str]) -> Tensor:
        return torch.cat([self.parts.embed([said]) for said in sentences])

    def loss(self, step: int) -> tuple[Tensor, Metrics]:
        """The loss of one batch, drawn from (seed, step)."""
        rng = np.random.default_rng([self.plan.seed, step])
        chosen = rng.choice(self.seen, self.plan.batch)
        mirrored = rng.integers(2, size=len(chosen))
        times = rng.integers(len(self.parts.scheduler.alphas_cumprod), size=len(chosen))
        words = self.words[self.which[chosen]].clone()
        words[torch.from_numpy(rng.random(len(chosen)) < self.plan.forget)] = self.silence
        generator = torch.Generator().manual_seed(1_000_003 * self.plan.seed + step)
        loss = self._errors(self.latents[chosen, mirrored], times, words, generator).mean()
        return loss, {"loss": loss.detach()}

    @torch.no_grad()
    def evaluate(self) -> Metrics:
        """Loss on held-out tiles at fixed noise, with the adapter and without it."""
        tuned = self._held_out()
        self.unet.disable_adapters()
        base = self._held_out()
        self.unet.enable_adapters()
        found = {"held_out": round(tuned, 5), "held_out_base": round(base, 5)}
        return {"score": -tuned, **found, "device": device_name(self.device)}

    def _held_out(self) -> float:
        generator = torch.Generator().manual_seed(self.plan.seed)
        levels = len(self.parts.scheduler.alphas_cumprod)
        errors = []
        for level in range(TIMES):
            times = np.full(len(self.unseen), int((level + 0.5) / TIMES * levels))
            for i in range(0, len(times), self.plan.batch):
                some = self.unseen[i : i + self.plan.batch]
                at = times[i : i + self.plan.batch]
                errors.append(
                    self._errors(self.latents[some, 0], at, self.words[self.which[some]], generator)
                )
        return float(torch.cat(errors).mean())

    def _errors(
        self, latents: Tensor, times: NDArray[np.int64], words: Tensor, generator: torch.Generator
    ) -> Tensor:
        """[n]: squared error of what the U-Net predicts, in the terms of its schedule."""
        scheduler = self.parts.scheduler
        noise, when = torch.randn(latents.shape, generator=generator), torch.from_numpy(times)
        noisy = scheduler.add_noise(latents, noise, when)
        wanted = {"epsilon": noise, "sample": latents}.get(scheduler.config.prediction_type)
        if wanted is None:
            wanted = scheduler.get_velocity(latents, noise, when)
        on = self.device
        found = self.unet(noisy.to(on), when.to(on), encoder_hidden_states=words.to(on)).sample
        errors: Tensor = ((found.float() - wanted.to(on)) ** 2).mean((1, 2, 3))
        return errors

    def save(self, folder: Path) -> None:
        """Write the adapter as `LORA`, at once."""
        part = folder.with_name(f".{folder.name}.tmp")
        self.unet.save_lora_adapter(part)
        folder.mkdir(parents=True, exist_ok=True)
        (part / LORA).replace(folder / LORA)


def _card(
    plan: LoraRecipe, base: Path, revision: str, tiles: dict[str, Any], out: Path, *, px: int
) -> ModelCard:
    rows = [json.loads(line) for line in (out / STAGE / LOG).read_text().splitlines()]
    kept = max((row for row in rows if row.get("event") == "evaluation"), key=lambda row: row["score"])
    scores: dict[str, Any] = {key: kept[key] for key in ("held_out", "held_out_base")}
    if kept["held_out"] >= kept["held_out_base"]:
        log.warning("held-out tiles are denoised no better than by the base: try more tiles or fewer steps")
    return ModelCard(
        id=f"{base.name}-lora",
        version="1",
        kind="generator",
        files=hash_files(out / MODEL),
        trained_on={
            "recipe": plan.model_dump(mode="json"),
            "base": {"folder": str(base.resolve()), "revision": revision},
            "tiles": tiles,
            "training": kept,
        },
        licence_weights="that of the base",
        licence_data="that of the tiles",
        tile_px=px,
        tile_mpp=plan.mpp,
        scores=scores | {"of": "mean squared error of the denoiser on held-out tiles, with and without LoRA"},
        reproduce=f"pathagent finetune generator --base {base} --data DATA -o {out}",
        not_for=(
            "Its images are illustrations, never evidence, never training data for a clinical model, never "
            "for diagnosis or for patient care."
        ),
    )
