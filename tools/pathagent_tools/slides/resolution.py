"""How many micrometres a level-0 pixel covers, and who says so."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pathagent_tools.core.errors import ResolutionError, SlideError

MPP_RANGE: Final = (0.1, 20.0)
"""µm per pixel that a slide scanner can plausibly have written."""
MAX_ANISOTROPY: Final = 0.03
NUCLEAR_MPP_LIMIT: Final = 1.0
"""Above this, nuclei are a few pixels wide: nuclear measures and the VLM are withheld."""

_DIRECT_KEYS: Final = (
    ("openslide.mpp-x", "openslide.mpp-y"),
    ("aperio.MPP", "aperio.MPP"),
    ("openslide.mirax.MPP", "openslide.mirax.MPP"),
    ("hamamatsu.XResolution", "hamamatsu.YResolution"),
)
_TIFF_KEYS: Final = ("tiff.XResolution", "tiff.YResolution", "tiff.ResolutionUnit")
_UNIT_UM: Final = {"centimeter": 10_000.0, "inch": 25_400.0}
KEYS_TRIED: Final = (*(x for x, _ in _DIRECT_KEYS), "tiff.XResolution with tiff.ResolutionUnit")


@dataclass(frozen=True, slots=True)
class Resolution:
    """µm per level-0 pixel. `source` is the metadata key, 'user' or 'csv'; `header` what the file says."""

    mpp: float
    source: str
    header: float | None

    @property
    def assumed(self) -> bool:
        """True where a person gave the value: every µm figure then says so."""
        return self.source in ("user", "csv")


def resolve_resolution(
    properties: Mapping[str, str], *, name: str, mpp: float | None = None, mpp_csv: Path | None = None
) -> Resolution:
    """The resolution of a slide: `mpp`, else the CSV row of `name`, else the metadata.

    properties: OpenSlide properties. name: file name, for the messages and the CSV.
    Raises SlideError where nothing usable is found, naming the keys that were tried and what to type.
    """
    header = _header_mpp(properties)
    header_value = None if header is None else (header[0] + header[1]) / 2
    if mpp is not None:
        return Resolution(_plausible(mpp, "--mpp"), "user", header_value)
    if mpp_csv is not None and (row := mpp_from_csv(mpp_csv, name)) is not None:
        return Resolution(_plausible(row, f"the row of {name} in {mpp_csv}"), "csv", header_value)
    if header is None or header_value is None:
        raise ResolutionError(
            f"{name} does not say how large its pixels are (tried {', '.join(KEYS_TRIED)}). "
            f"Type it in µm per pixel, for example --mpp 0.5, or --mpp-csv FILE with columns wsi,mpp."
        )
    x, y, key = header
    if not all(MPP_RANGE[0] <= v <= MPP_RANGE[1] for v in (x, y)):
        raise ResolutionError(
            f"{name} claims {header_value:.5g} µm per pixel ({key}), "
            f"outside {MPP_RANGE[0]:g}–{MPP_RANGE[1]:g}. "
            f"Type the true value, for example --mpp 0.5, or --mpp-csv FILE with columns wsi,mpp."
        )
    if abs(x / y - 1) > MAX_ANISOTROPY:
        raise ResolutionError(
            f"{name} has pixels of {x:.4g} × {y:.4g} µm ({key}): more than {MAX_ANISOTROPY:.0%} from square. "
            f"If the header is wrong, type the true value, for example --mpp {min(x, y):.3g}."
        )
    return Resolution(header_value, key, header_value)


def mpp_from_csv(path: Path, name: str) -> float | None:
    """The `mpp` of the row whose `wsi` is `name` (with or without folder or extension), else None.

    Raises SlideError for a file without the columns `wsi,mpp` or a value that is no number.
    """
    if not path.is_file():
        raise SlideError(f"No such file: {path}. --mpp-csv wants a CSV with columns wsi,mpp.")
    with path.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.DictReader(handle)
        if not {"wsi", "mpp"} <= set(reader.fieldnames or ()):
            found = ", ".join(reader.fieldnames or ()) or "none"
            raise SlideError(f"{path} needs the columns wsi,mpp; it has: {found}.")
        for row in reader:
            listed = Path(row["wsi"] or "")
            if name in (listed.name, listed.stem) or (Path(name).stem == listed.name and listed.name):
                return _number(row["mpp"], f"mpp of {name} in {path}")
    return None


def _number(text: str | None, what: str) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise SlideError(f"{what} is {text!r}, not a number. Write µm per pixel, for example 0.5.") from None


def _plausible(mpp: float, what: str) -> float:
    if not MPP_RANGE[0] <= mpp <= MPP_RANGE[1]:
        raise SlideError(
            f"{what} gives {mpp:g} µm per pixel, outside {MPP_RANGE[0]:g}–{MPP_RANGE[1]:g}. "
            f"A 20× scan has about 0.5, a 40× scan about 0.25."
        )
    return mpp


def _header_mpp(properties: Mapping[str, str]) -> tuple[float, float, str] | None:
    """(mpp_x, mpp_y, key) of the first key that holds a positive number, plausible or not."""
    for key_x, key_y in _DIRECT_KEYS:
        x = _positive(properties.get(key_x))
        if x is not None:
            return x, _positive(properties.get(key_y)) or x, key_x
    unit = _UNIT_UM.get(properties.get(_TIFF_KEYS[2], "").lower())
    per_unit = _positive(properties.get(_TIFF_KEYS[0]))
    if unit is None or per_unit is None:
        return None
    return unit / per_unit, unit / (_positive(properties.get(_TIFF_KEYS[1])) or per_unit), _TIFF_KEYS[0]


def _positive(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
