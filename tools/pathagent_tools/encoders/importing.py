"""Features that another tool has made, taken over instead of encoding: TRIDENT's and CLAM's folders."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pathagent_tools.core.errors import UserError
from pathagent_tools.encoders.catalogue import catalogue
from pathagent_tools.encoders.features import StoredFeatures, load_features
from pathagent_tools.encoders.spec import EncoderSpec
from pathagent_tools.slides.slide import Slide

NOT_STATED: Final = "imported, not stated"
"""Revision of the encoder behind features whose file names none."""


def imported_spec(key: str, *, mpp: float | None = None) -> EncoderSpec:
    """The catalogue's entry as a spec without weights. UserError where its resolution is not known."""
    entry = catalogue().encoders[key]
    if (resolution := entry.mpp or mpp) is None:
        raise UserError(f"The resolution of {key}'s tiles is not published: give it with --tile-mpp 0.5.")
    return EncoderSpec(
        id=key, source=f"hf-hub:{entry.repo}", revision=NOT_STATED, licence=entry.licence, gated=entry.gated,
        dim=entry.dim, tile_px=entry.tile_px, mpp=resolution, mean=(0, 0, 0), std=(1, 1, 1), text=entry.text,
    )  # fmt: skip


def find_features(folder: Path, stem: str, spec: EncoderSpec) -> StoredFeatures:
    """The features of a slide in a folder of TRIDENT's or CLAM's. UserError where there are none."""
    entry = catalogue().encoders.get(spec.id)
    names = {spec.id, *(entry.aliases if entry else ())}
    if not folder.is_dir():
        raise UserError(f"No such folder: {folder}. Give a folder of TRIDENT's or CLAM's with --import.")
    trident = [p for n in sorted(names) for p in sorted(folder.glob(f"**/features_{n}/{stem}.h5"))]
    clam = [p for p in (folder / "h5_files" / f"{stem}.h5", folder / f"{stem}.h5") if p.is_file()]
    found = [*trident, *clam]
    if not found:
        raise UserError(
            f"{folder} has no features of {stem} by {spec.id}: looked for features_{spec.id}/{stem}.h5 "
            f"(TRIDENT), h5_files/{stem}.h5 (CLAM) and {stem}.h5. Leave --import out to encode the slide."
        )
    if len(found) > 1:
        raise UserError(
            f"{folder} has several files of features of {stem}: {found[0]} and {found[1]}. "
            "Give the folder of one grid with --import."
        )
    patches = [p for f in (folder, folder.parent) if (p := f / "patches" / f"{stem}.h5").is_file()]
    return load_features(found[0], patches=patches[0] if found[0] in clam and patches else None)


def check_features(found: StoredFeatures, slide: Slide, spec: EncoderSpec) -> None:
    """UserError unless the features can be of this slide, this encoder and its tiles."""
    if found.encoder and found.encoder.lower() not in _names(spec.id):
        raise UserError(
            f"{found.path} holds features by {found.encoder}, not by {spec.id}. Name that encoder."
        )
    if found.features.shape[1] != spec.dim and len(found.features):
        raise UserError(
            f"{found.path} holds features of {found.features.shape[1]} numbers; those of {spec.id} have "
            f"{spec.dim}. Name the encoder that made them with --encoder."
        )
    side = round(spec.tiles.size_level0(slide.mpp))
    if found.size_level0 is not None and abs(found.size_level0 - side) > max(1, 0.01 * side):
        raise UserError(
            f"{found.path} has tiles of {found.size_level0} level-0 px; {spec.id} takes {spec.tile_px} px at "
            f"{spec.mpp:g} µm/px, which is {side} on {slide.name}. Give the folder of that grid, or --mpp."
        )
    width, height = (found.attributes.get(f"level0_{k}", v) for k, v in _size(slide).items())
    if (int(width), int(height)) != (slide.width, slide.height):
        raise UserError(
            f"{found.path} is of a slide of {width} × {height} px; {slide.name} has {slide.width} × "
            f"{slide.height}. Give the features of this slide."
        )
    if len(found.coords) and (found.coords.min() < 0 or (found.coords >= (slide.width, slide.height)).any()):
        raise UserError(f"{found.path} has tiles beyond the edge of {slide.name}: it is of another slide.")


def _size(slide: Slide) -> dict[str, int]:
    return {"width": slide.width, "height": slide.height}


def _names(key: str) -> set[str]:
    entry = catalogue().encoders.get(key)
    return {key.lower(), *(alias.lower() for alias in (entry.aliases if entry else ()))}
