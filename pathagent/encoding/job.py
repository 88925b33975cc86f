"""One job: slides in, a folder of features out. The same call goes on where an earlier one stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pathagent.encoding.inputs import EncodeInput
from pathagent.encoding.pictures import write_pictures, write_tiles_picture
from pathagent.encoding.settings import EncodeSettings
from pathagent.encoding.state import SlideState, read_state, write_state
from pathagent_tools.core.errors import PathAgentError
from pathagent_tools.core.geometry import TileSpec
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.encoders.encode import Encoded, encode_slide
from pathagent_tools.encoders.features import refuse_foreign
from pathagent_tools.encoders.slide_text import embed_slide, head_of
from pathagent_tools.encoders.spec import EncoderSpec
from pathagent_tools.encoders.store import (
    StoreKey,
    grid_folder,
    patches_path,
    write_features,
    write_patches,
    write_slide_features,
)
from pathagent_tools.slides import Slide, open_slide, tile_grid, tissue_mask

TileProgress = Callable[[str, int, int], None]
"""Called with (slide, tiles done, tiles of the slide)."""


class EncodeJob:
    """Encodes slide after slide into `out`, and keeps a state of each."""

    def __init__(self, out: Path, settings: EncodeSettings, *, progress: TileProgress | None = None) -> None:
        self.out, self.settings = out, settings
        self._progress = progress

    @cached_property
    def spec(self) -> EncoderSpec:
        """The encoder without its weights. UserError where its name or its resolution is unknown."""
        from pathagent_tools.encoders.catalogue import canonical
        from pathagent_tools.encoders.importing import imported_spec
        from pathagent_tools.encoders.registry import describe_encoder

        name, tile_mpp = self.settings.encoder, self.settings.tile_mpp
        if self.settings.imported and (key := canonical(name.partition("@")[0])):
            return imported_spec(key, mpp=tile_mpp)
        weights = Path(self.settings.weights) if self.settings.weights else None
        return describe_encoder(name, mpp=tile_mpp, weights=weights) or _spec_of_plugin(self.encoder)

    @cached_property
    def encoder(self) -> SlideEncoder:
        """The encoder, loaded when the first slide needs it."""
        from pathagent_tools.encoders.registry import load_encoder

        s = self.settings
        weights = Path(s.weights) if s.weights else None
        return load_encoder(s.encoder, mpp=s.tile_mpp, device=s.device, weights=weights, runtime=s.runtime)

    def run(self, inputs: Sequence[EncodeInput], *, skip_errors: bool) -> Iterator[SlideState]:
        """Encode what is left; yields the state of every slide in turn, untouched ones too.

        A slide that fails ends the run with its error, unless `skip_errors`; either way its state says why.
        """
        for item in inputs:
            before = read_state(self.out, item)
            if self._done(item, before):
                yield before
                continue
            attempts = before.attempts + 1
            running = before.model_copy(
                update={
                    "status": "running",
                    "name": item.name,
                    "reason": "",
                    "kind": "",
                    "attempts": attempts,
                }
            )
            write_state(self.out, item, running)
            began = time.monotonic()
            try:
                update = self._encode(item)
            except (PathAgentError, OSError, MemoryError) as error:
                failed = {"status": "error", "reason": _one_line(error), "kind": _kind(error)}
                yield self._ended(item, running, failed, began)
                if not skip_errors:
                    raise
                continue
            yield self._ended(item, running, update, began)

    def _ended(
        self, item: EncodeInput, running: SlideState, update: dict[str, Any], began: float
    ) -> SlideState:
        seconds = round(time.monotonic() - began, 2)
        return write_state(self.out, item, running.model_copy(update={**update, "seconds": seconds}))

    def _done(self, item: EncodeInput, state: SlideState) -> bool:
        """Whether the state proves that the features are there, of this file and under this key."""
        path = Path(item.path)
        if not state.ended_well or state.name != item.name or not path.is_file():
            return False
        stat = path.stat()
        unchanged = (state.bytes, state.modified_ns) == (stat.st_size, stat.st_mtime_ns)
        key = self.settings.key(self.spec, item.mpp)
        return unchanged and state.key == key and (self.out / state.features).is_file()

    def _encode(self, item: EncodeInput) -> dict[str, Any]:
        """Everything that is written for one slide; what its state then says."""
        spec, settings = self.spec, self.settings
        grid = settings.grid(spec)
        mpp = item.mpp if item.mpp is not None else settings.mpp
        with open_slide(item.path, mpp=mpp, mpp_csv=settings.mpp_csv) as slide:
            key = self._key(slide, grid, item)
            path = key.features_path(self.out, item.name)
            whole = key.slide_features_path(self.out, item.name)
            for target in (path, whole, patches_path(self.out, grid, item.name)):
                refuse_foreign(target)
            if settings.imported:
                coords, ended = self._import(slide, item, key, path)
            else:
                coords = self._coords(slide, grid, item, key)
                ended = self._features(slide, coords, key, path)
                self._embed(key, path, whole)
        stat = Path(item.path).stat()
        return {
            **ended,
            "key": settings.key(spec, item.mpp),
            "bytes": stat.st_size,
            "modified_ns": stat.st_mtime_ns,
            "tiles": len(coords),
            "features": str(path.relative_to(self.out)),
        }

    def _key(self, slide: Slide, grid: TileSpec, item: EncodeInput) -> StoreKey:
        return StoreKey(
            slide=item.name,
            slide_digest=slide.digest,
            slide_mpp=slide.mpp,
            width=slide.width,
            height=slide.height,
            spec=grid,
            encoder=self.spec.id,
            encoder_revision=self.spec.revision,
            transform="imported" if self.settings.imported else self.settings.resampling,
            quickhash=slide.quickhash,
        )

    def _coords(self, slide: Slide, grid: TileSpec, item: EncodeInput, key: StoreKey) -> NDArray[np.int64]:
        """Find the tissue, lay the tiles, and write both for eyes and for other tools."""
        tissue = tissue_mask(slide)
        regions = tile_grid(slide, tissue, grid, self.settings.min_tissue)
        coords = np.array([(r.x, r.y) for r in regions], np.int64).reshape(-1, 2)
        folder = grid_folder(self.out, grid)
        thumbnail, per_px = write_pictures(self.out, item.name, slide, tissue)
        side = round(grid.size_level0(slide.mpp))
        write_tiles_picture(folder / "visualization" / f"{item.name}.jpg", thumbnail, per_px, coords, side)
        write_patches(patches_path(self.out, grid, item.name), key, coords)
        return coords

    def _features(self, slide: Slide, coords: NDArray[np.int64], key: StoreKey, path: Path) -> dict[str, Any]:
        progress = self._progress
        done: Encoded = encode_slide(
            slide,
            coords,
            self.encoder,
            key,
            path,
            workers=self.settings.workers,
            resampling=self.settings.resampling,
            progress=None if progress is None else lambda n, of: progress(slide.name, n, of),
        )
        reason = "" if done.reason == "not stored yet" else done.reason
        return {"status": "completed", "reason": f"computed anew: {reason}" if reason else ""}

    def _embed(self, key: StoreKey, path: Path, whole: Path) -> None:
        """The embedding of the whole slide, where the encoder has a head for it and the slide a tile."""
        import h5py

        if not head_of(self.encoder):
            return
        with h5py.File(path, "r") as file:
            features = np.asarray(file["features"], np.float32)
        if len(features):
            write_slide_features(whole, key, embed_slide(features, self.encoder))

    def _import(
        self, slide: Slide, item: EncodeInput, key: StoreKey, path: Path
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        from pathagent_tools.encoders.importing import check_features, find_features

        found = find_features(Path(self.settings.imported or ""), Path(item.path).stem, self.spec)
        check_features(found, slide, self.spec)
        write_patches(patches_path(self.out, key.spec, item.name), key, found.coords)
        write_features(path, key, found.coords, found.features)
        return found.coords, {"status": "skipped", "reason": f"imported from {found.path} ({found.layout})"}


def _spec_of_plugin(encoder: SlideEncoder) -> EncoderSpec:
    """What a plug-in says of itself once it is loaded."""
    return EncoderSpec(
        id=encoder.id, source="plug-in", revision=encoder.revision, licence="see its package",
        dim=encoder.dim, tile_px=encoder.tile_px, mpp=encoder.tile_mpp, mean=(0, 0, 0), std=(1, 1, 1),
    )  # fmt: skip


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _kind(error: BaseException) -> str:
    return error.kind if isinstance(error, PathAgentError) else type(error).__name__
