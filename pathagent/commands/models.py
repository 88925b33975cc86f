"""`pathagent models list`: which models stand behind the tools, and whether they are here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pathagent.commands.console import emit, emit_json
from pathagent.commands.options import Json

if TYPE_CHECKING:
    from pathagent_tools.core.card import ModelCard
    from pathagent_tools.vlm.profile import Profile

app = typer.Typer(help="Models and profiles.")
Row = dict[str, Any]


@app.callback()
def _group() -> None:
    """Models and profiles."""


@app.command("list")
def list_models(json: Json = False) -> None:
    """List the models of every profile: role, licence, revision, and whether the weights are here."""
    rows = profile_rows()
    if json:
        emit_json(rows)
        return
    table = [
        [name.replace("_", " ") for name in rows[0]],
        *([_word(v) for v in row.values()] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        emit("  ".join(f"{word:<{width}}" for word, width in zip(line, widths, strict=True)).rstrip())


def profile_rows() -> list[Row]:
    """One row a model of a profile that ships. `present` is None where a server or hub holds the weights."""
    from pathagent_tools.vlm.profile import load_profile, profile_names

    return [row for name in profile_names() for row in _rows(load_profile(name))]


def _rows(profile: Profile) -> list[Row]:
    from pathagent_tools.encoders.registry import EMBEDDED_FOLDER
    from pathagent_tools.vlm.profile import EMBEDDED_WEIGHTS

    vlm = profile.vlm
    tile = f"{vlm.tile_px} px at {vlm.tile_mpp:g} µm/px"
    encoder_folder = EMBEDDED_FOLDER if profile.encoder == "embedded" else None
    vlm_folder = EMBEDDED_WEIGHTS if vlm.backend == "embedded" else None
    return [
        _row(profile, "encoder", profile.encoder, encoder_folder, licence="see its card", tile=None),
        _row(profile, "vlm", vlm.model or vlm.backend, vlm_folder, licence=vlm.licence, tile=tile),
    ]


def _row(
    profile: Profile, role: str, model: str, folder: Path | None, *, licence: str, tile: str | None
) -> Row:
    """What the card beside the weights says, else what the profile says."""
    card = _card(folder)
    return {
        "profile": profile.name,
        "role": role,
        "model": card.id if card else model,
        "version": card.version if card else None,
        "revision": card.digest[:12] if card else (profile.vlm.revision if role == "vlm" else None),
        "tile": f"{card.tile_px} px at {card.tile_mpp:g} µm/px" if card else tile,
        "licence": card.licence_weights if card else licence,
        "knows": "phantoms only" if profile.domain == "phantom" else "open",
        "present": None if folder is None else any(folder.glob("*model.safetensors")),
    }


def _card(folder: Path | None) -> ModelCard | None:
    from pathagent_tools.core.card import CARD_NAME, ModelCard

    return ModelCard.load(folder) if folder is not None and (folder / CARD_NAME).is_file() else None


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "missing"
    return "-" if value is None else str(value)
