"""One slide, open: its size, its resolution, and pixels of any region at any coarser mpp."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from pathagent_tools.core.errors import SlideError
from pathagent_tools.core.geometry import Region
from pathagent_tools.core.protocols import Image
from pathagent_tools.slides.reader import (
    CONVERT,
    CONVERT_OPTIONS,
    GuardedReader,
    Limits,
    UnsupportedSlideError,
)
from pathagent_tools.slides.resolution import Resolution, resolve_resolution
from pathagent_tools.slides.source import SlideSource, find_source

MIN_SIDE_PX: Final = 64
UPSAMPLING_SLACK: Final = 1.02


class Slide:
    """A slide that is open for reading. Use it as a context manager; `close` ends its decoder process.

    All coordinates are level-0 px of the full canvas, x right, y down. Safe to share between threads.
    """

    def __init__(
        self, source: SlideSource, reader: GuardedReader, *, slide_id: str, resolution: Resolution, facts: Any
    ) -> None:
        self.id = slide_id
        self.name = source.name
        self.resolution = resolution
        self._source, self._reader = source, reader
        self._properties: dict[str, str] = facts["properties"]
        self.width, self.height = (int(v) for v in facts["levels"][0])

    @property
    def mpp(self) -> float:
        """µm per level-0 pixel."""
        return self.resolution.mpp

    @property
    def mpp_source(self) -> str:
        """The metadata key, 'user' or 'csv'."""
        return self.resolution.source

    @property
    def mpp_header(self) -> float | None:
        """What the file itself says, also where the user overrode it."""
        return self.resolution.header

    @property
    def resolution_assumed(self) -> bool:
        """True where the resolution is the user's word: µm figures must say so."""
        return self.resolution.assumed

    @property
    def path(self) -> Path:
        """The file that decoders open."""
        return self._source.path

    @property
    def limits(self) -> Limits:
        """Memory and time that decoding may cost."""
        return self._reader.limits

    @property
    def quickhash(self) -> str | None:
        """OpenSlide's own hash of the slide (`quickhash-1`), None where the format has none."""
        return self._properties.get("openslide.quickhash-1")

    @property
    def vendor(self) -> str | None:
        """OpenSlide's name of the format: aperio, hamamatsu, dicom, generic-tiff, …"""
        return self._properties.get("openslide.vendor")

    @property
    def has_icc_profile(self) -> bool:
        """True where the file carries a colour profile. It is noted, never applied."""
        return "openslide.icc-size" in self._properties

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) of the scanned part in level-0 px; the whole canvas where none is named."""
        keys = [f"openslide.bounds-{k}" for k in ("x", "y", "width", "height")]
        if not all(self._properties.get(k, "").isdecimal() for k in keys):
            return 0, 0, self.width, self.height
        x, y, w, h = (int(self._properties[k]) for k in keys)
        return x, y, min(w, self.width - x), min(h, self.height - y)

    @cached_property
    def digest(self) -> str:
        """sha256 of the file; over all files where the slide has several."""
        return self._source.digest()

    def read(self, region: Region) -> Image:
        """uint8 RGB [h, w, 3] of a region at `region.mpp`; beyond the canvas is background colour.

        The size is round(width × slide mpp / region.mpp). Raises SlideError where the region asks for more
        detail than was scanned, belongs to another slide, or cannot be decoded.
        """
        if region.slide != self.id:
            raise SlideError(f"Region of slide {region.slide} asked of slide {self.id} ({self.name}).")
        scale = self.mpp / region.mpp
        if scale > UPSAMPLING_SLACK:
            raise SlideError(
                f"Requested mpp={region.mpp:g} is smaller than the slide mpp={self.mpp:g}. "
                f"Up-sampling is not supported: ask for mpp={self.mpp:.4g} or more."
            )
        out = max(1, round(region.width * scale)), max(1, round(region.height * scale))
        return self._reader.read(region.x, region.y, region.width, region.height, out=out)

    def read_many(self, regions: Sequence[Region]) -> list[Image]:
        """`read` of each region, in order."""
        return [self.read(region) for region in regions]

    def thumbnail(self, max_px: int = 1024) -> tuple[Image, float]:
        """The whole canvas with its longer side at most `max_px`, and level-0 px per thumbnail px."""
        per_px = max(1.0, max(self.width, self.height) / max_px)
        out = max(1, round(self.width / per_px)), max(1, round(self.height / per_px))
        return self._reader.read(0, 0, self.width, self.height, out=out), per_px

    def close(self) -> None:
        """End the decoder process."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_slide(
    path: str | Path,
    *,
    slide_id: str = "S1",
    mpp: float | None = None,
    mpp_csv: str | Path | None = None,
    limits: Limits | None = None,
) -> Slide:
    """Open a slide file, a DICOM file of a series, or a folder that holds one DICOM series.

    mpp: µm per level-0 pixel; wins over CSV and metadata. mpp_csv: CSV with columns `wsi,mpp`.
    limits: memory and time of the decoding process. Label and macro images are never read.
    Raises SlideError with one sentence that says what is wrong and what to type next.
    """
    source = find_source(Path(path).expanduser())
    reader = GuardedReader(source.path, name=source.name, limits=limits or Limits())
    try:
        facts = _facts(source, reader)
        resolution = resolve_resolution(
            facts["properties"], name=source.name, mpp=mpp, mpp_csv=None if mpp_csv is None else Path(mpp_csv)
        )
        slide = Slide(source, reader, slide_id=slide_id, resolution=resolution, facts=facts)
        _probe(slide, reader)
    except BaseException:
        reader.close()
        raise
    return slide


def overview(slide: Slide, max_px: int = 1024) -> Image:
    """A picture of the whole slide, uint8 RGB, its longer side at most `max_px`. Never label or macro."""
    return slide.thumbnail(max_px)[0]


def _facts(source: SlideSource, reader: GuardedReader) -> dict[str, Any]:
    try:
        return reader.facts()
    except UnsupportedSlideError:
        if source.ome:
            raise SlideError(
                f"{source.name} is an OME-TIFF that OpenSlide cannot read. Convert it, for example: "
                f"{CONVERT} {source.name} slide.tiff {CONVERT_OPTIONS}"
            ) from None
        raise


def _probe(slide: Slide, reader: GuardedReader) -> None:
    """Read a little from the middle, so that a slide without readable pixels fails when it is opened."""
    if min(slide.width, slide.height) < MIN_SIDE_PX:
        _read_middle(slide, reader)
        raise SlideError(
            f"{slide.name} is {slide.width} × {slide.height} px: too small for a whole-slide image "
            f"(at least {MIN_SIDE_PX} px a side). Give the full slide."
        )
    _read_middle(slide, reader)


def _read_middle(slide: Slide, reader: GuardedReader) -> None:
    x, y, width, height = slide.bounds
    side = min(MIN_SIDE_PX, width, height)
    reader.read(x + (width - side) // 2, y + (height - side) // 2, side, side, out=(side, side))
