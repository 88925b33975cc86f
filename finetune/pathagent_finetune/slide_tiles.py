"""Tiles of one slide for a corpus: ranked as navigation ranks its first looks, or spread over the tissue.

Only regions on the tissue are read, one tile at a time; label and macro images are never opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pathagent.agents import candidates
from pathagent.open_slide import OpenSlide
from pathagent.resources import Resources
from pathagent.runs import cache_dir
from pathagent.state import Case, SlideInput
from pathagent_finetune.slide_table import SlideRow
from pathagent_finetune.tile_rows import RowError
from pathagent_tools.core.errors import SlideError
from pathagent_tools.core.files import (
    canonical_json,
    sha256_bytes,
    sha256_file,
    write_bytes_atomic,
    write_text_atomic,
)
from pathagent_tools.core.geometry import Frozen, Region, TileSpec
from pathagent_tools.core.protocols import Image, SlideEncoder
from pathagent_tools.vlm.profile import Profile

Choice = Literal["ranked", "spread"]
TILES_NAME = "tiles.json"


class Tile(Frozen):
    """A tile on disk, `file` relative to the corpus, and where it lies on its slide."""

    file: str
    sha256: str
    size_px: tuple[int, int]
    region: Region


@dataclass(frozen=True)
class TileMaker:
    """Chooses and saves `count` tiles of a slide at the tile size and mpp of the profile's VLM."""

    profile: Profile
    count: int
    choice: Choice
    out: Path
    given_encoder: SlideEncoder | None = None

    @cached_property
    def encoder(self) -> SlideEncoder:
        """The profile's encoder, loaded once. UserError where its weights are missing."""
        if self.given_encoder is not None:
            return self.given_encoder
        from pathagent_tools.encoders.registry import load_encoder

        return load_encoder(self.profile.encoder)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that decides which tiles a slide gives."""
        vlm = self.profile.vlm
        found: dict[str, Any] = {
            "tiles": self.count, "choice": self.choice, "tile_px": vlm.tile_px, "tile_mpp": vlm.tile_mpp,
        }  # fmt: skip
        if self.choice == "ranked":
            found["encoder"] = [self.encoder.id, self.encoder.revision]
        return found

    def tiles_of(self, row: SlideRow) -> tuple[str, list[Tile]]:
        """(sha256 of the slide, its tiles): those on disk where the same settings made them, else new ones.

        RowError where the slide cannot be read or has no tissue.
        """
        try:
            with self._opened(row) as opened:
                digest = opened.slide.digest
                key = sha256_bytes(canonical_json([digest, opened.slide.mpp, self.settings]).encode())
                folder = self.out / "tiles" / key[:24]
                if (folder / TILES_NAME).is_file():
                    held = json.loads((folder / TILES_NAME).read_text(encoding="utf-8"))
                    return digest, [Tile.model_validate(tile) for tile in held]
                return digest, self._save(opened, folder)
        except SlideError as error:
            raise RowError("unreadable slide", str(error)) from None

    @contextmanager
    def _opened(self, row: SlideRow) -> Iterator[OpenSlide]:
        case = Case(slides=(SlideInput(id="S1", path=str(row.slide.resolve())),), mpp=row.mpp)
        store = cache_dir() / "features"
        with Resources(
            case=case, profile=self.profile, store=store, given_encoder=self.given_encoder
        ) as resources:
            if self.choice == "ranked":
                resources.given_encoder = self.encoder
            yield resources.slide("S1")

    def _save(self, opened: OpenSlide, folder: Path) -> list[Tile]:
        regions = self._ranked(opened) if self.choice == "ranked" else self._spread(opened)
        if not regions:
            raise RowError("no tissue", f"{opened.slide.name} has no tile with enough tissue")
        tiles = []
        for i, region in enumerate(regions):
            path = folder / f"{i}.png"
            write_bytes_atomic(path, _png(image := opened.slide.read(region)))
            size = (image.shape[1], image.shape[0])
            name = path.relative_to(self.out).as_posix()
            tiles.append(Tile(file=name, sha256=sha256_file(path), size_px=size, region=region))
        listed = json.dumps([tile.model_dump(mode="json") for tile in tiles], indent=1)
        write_text_atomic(folder / TILES_NAME, listed + "\n")
        return tiles

    def _ranked(self, opened: OpenSlide) -> list[Region]:
        vlm = self.profile.vlm
        pool = candidates.make_pool(
            opened, tile_px=vlm.tile_px, tile_mpp=vlm.tile_mpp, goal=None, known=False
        )
        ranked = candidates.rank(pool, [], candidates.FIRST_ROUND, self.count)
        return [pool.regions[index] for index, _, _ in ranked]

    def _spread(self, opened: OpenSlide) -> list[Region]:
        """Each next tile is the one furthest from those chosen; the first lies nearest to the middle."""
        from pathagent_tools.slides import tile_grid

        vlm, slide = self.profile.vlm, opened.slide
        spec = TileSpec(tile_px=vlm.tile_px, mpp=max(vlm.tile_mpp, slide.mpp))
        grid = tile_grid(slide, opened.tissue, spec, candidates.MIN_TISSUE)
        if not grid:
            return []
        centres = np.array([region.center for region in grid])
        chosen = [int(np.argmin(((centres - centres.mean(0)) ** 2).sum(1)))]
        far = ((centres - centres[chosen[0]]) ** 2).sum(1)
        while len(chosen) < min(self.count, len(grid)):
            chosen.append(int(np.argmax(far)))
            far = np.minimum(far, ((centres - centres[chosen[-1]]) ** 2).sum(1))
        return [grid[i] for i in chosen]


def _png(image: Image) -> bytes:
    import io

    from PIL import Image as Pillow

    out = io.BytesIO()
    Pillow.fromarray(image).save(out, "PNG")
    return out.getvalue()
