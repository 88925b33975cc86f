"""`pathagent models list`: which models stand behind the tools, and whether they are here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pathagent.commands.console import emit, emit_json
from pathagent.commands.options import Json

if TYPE_CHECKING:
    from pathagent_tools.core.card import ModelCard
    from pathagent_tools.encoders.catalogue import Entry
    from pathagent_tools.vlm.profile import Profile

app = typer.Typer(help="Models and profiles.")
Row = dict[str, Any]


@app.callback()
def _group() -> None:
    """Models and profiles."""


@app.command("list")
def list_models(json: Json = False) -> None:
    """List the models of every profile and published encoders: licence, revision, whether they are here."""
    profiles, encoders = profile_rows(), encoder_rows()
    if json:
        emit_json(profiles + encoders)
        return
    _print_table(profiles)
    emit("")
    emit("Published encoders, for pathagent encode --encoder NAME (@COMMIT fixes a revision):")
    _print_table([{k: v for k, v in row.items() if k not in ("profile", "role")} for row in encoders])


def _print_table(rows: list[Row]) -> None:
    table = [
        [name.replace("_", " ") for name in rows[0]],
        *([_word(v) for v in row.values()] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        emit("  ".join(f"{word:<{width}}" for word, width in zip(line, widths, strict=True)).rstrip())


def encoder_rows() -> list[Row]:
    """One row a published encoder. `present`: weights are in the hub's cache; None: nothing loads them."""
    from huggingface_hub import try_to_load_from_cache

    from pathagent_tools.encoders.catalogue import catalogue
    from pathagent_tools.encoders.model_folder import IMAGE_WEIGHTS, WEIGHTS

    def present(entry: Entry) -> bool | None:
        weights = WEIGHTS if entry.loads_with == "open_clip" else IMAGE_WEIGHTS
        runs = entry.loads_with is not None and entry.repo is not None
        return isinstance(try_to_load_from_cache(entry.repo or "", weights), str) if runs else None

    return [
        {
            "profile": None,
            "role": "encoder",
            "model": name,
            "repository": entry.repo,
            "revision": entry.revision or "as downloaded",
            "tile": f"{entry.tile_px} px at {entry.mpp or '?'} µm/px",
            "numbers": entry.dim,
            "words": "yes" if entry.text else "no",
            "licence": entry.licence + (", gated" if entry.gated else ""),
            "runs": entry.loads_with or "no: import its features",
            "present": present(entry),
            "also": ", ".join(entry.aliases) or None,
        }
        for name, entry in catalogue().encoders.items()
    ]


def profile_rows() -> list[Row]:
    """One row a model of a profile that ships. `present` is None where a server holds the weights."""
    from pathagent_tools.vlm.profile import load_profile, profile_names

    return [row for name in profile_names() for row in _rows(load_profile(name))]


def _rows(profile: Profile) -> list[Row]:
    """What the card beside the weights says of each model, else what the profile says."""
    return [_encoder_row(profile), _vlm_row(profile), *_cell_rows(profile)]


def _cell_rows(profile: Profile) -> list[Row]:
    from pathagent_tools.measure.cell_model import WEIGHTS
    from pathagent_tools.vlm.weights import cell_folders

    return [
        _row(
            profile, kind.command, _card(folder), model=str(getattr(profile, kind.command)),
            licence="see its card", present=(folder / WEIGHTS).is_file(),
        )
        for kind, folder in cell_folders(profile)
    ]  # fmt: skip


def _encoder_row(profile: Profile) -> Row:
    from pathagent_tools.encoders.model_folder import WEIGHTS
    from pathagent_tools.encoders.registry import EMBEDDED_FOLDER

    folder = EMBEDDED_FOLDER if profile.encoder == "embedded" else None
    return _row(
        profile, "encoder", _card(folder), model=profile.encoder, licence="see its card",
        present=None if folder is None else (folder / WEIGHTS).is_file(),
    )  # fmt: skip


def _vlm_row(profile: Profile) -> Row:
    from pathagent_tools.vlm.profile import EMBEDDED_WEIGHTS
    from pathagent_tools.vlm.weights import weights_folder

    vlm = profile.vlm
    return _row(
        profile,
        "vlm",
        _card(EMBEDDED_WEIGHTS if vlm.backend == "embedded" else None),
        model=vlm.model or vlm.backend,
        revision=vlm.revision,
        tile=f"{vlm.tile_px} px at {vlm.tile_mpp:g} µm/px",
        licence=vlm.licence + (", gated" if vlm.gated else ""),
        dtype=vlm.dtype,
        adapters=", ".join(vlm.adapters) or None,
        present=None if vlm.backend == "openai" else weights_folder(vlm) is not None,
    )


def _row(
    profile: Profile,
    role: str,
    card: ModelCard | None,
    *,
    model: str,
    licence: str,
    present: bool | None,
    revision: str | None = None,
    tile: str | None = None,
    dtype: str | None = None,
    adapters: str | None = None,
) -> Row:
    revision = card.digest if card else revision
    return {
        "profile": profile.name,
        "role": role,
        "model": card.id if card else model,
        "version": card.version if card else None,
        "revision": revision[:12] if revision else None,
        "tile": f"{card.tile_px} px at {card.tile_mpp:g} µm/px" if card else tile,
        "dtype": dtype,
        "adapters": adapters,
        "licence": card.licence_weights if card else licence,
        "knows": "phantoms only" if profile.domain == "phantom" else "open",
        "present": present,
    }


def _card(folder: Path | None) -> ModelCard | None:
    from pathagent_tools.core.card import CARD_NAME, ModelCard

    return ModelCard.load(folder) if folder is not None and (folder / CARD_NAME).is_file() else None


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "missing"
    return "-" if value is None else str(value)
