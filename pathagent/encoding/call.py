"""`pathagent.encode(...)`: the Python interface of an encoding job."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from pathagent.encoding.inputs import EncodeInput, read_inputs
from pathagent.encoding.job import EncodeJob, TileProgress
from pathagent.encoding.settings import EncodeSettings, default_workers
from pathagent.encoding.state import SlideState
from pathagent.encoding.summary import write_summary
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import canonical_json, held, sha256_bytes, write_text_atomic
from pathagent_tools.encoders.runtimes import RUNTIMES, Runtime
from pathagent_tools.slides.tile_reader import Resampling

log = logging.getLogger(__name__)
LOCK = ".encode.lock"


def encode(
    slides: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    encoder: str = "embedded",
    mpp: float | None = None,
    mpp_csv: str | Path | None = None,
    wsi_dir: str | Path | None = None,
    overlap_px: int = 0,
    min_tissue: float = 0.25,
    workers: int | None = None,
    resampling: Resampling = "reduced",
    skip_errors: bool = False,
    imported: str | Path | None = None,
    tile_mpp: float | None = None,
    weights: str | Path | None = None,
    device: str = "cpu",
    runtime: Runtime = "auto",
    progress: TileProgress | None = None,
    planned: Callable[[int], None] | None = None,
) -> Iterator[SlideState]:
    """Tile features of slides into `out`, in TRIDENT's layout; yields each slide's state as it ends.

    slides: files, folders, patterns, or a CSV with columns `wsi,mpp` (paths relative to wsi_dir, else to the
    CSV). encoder: `embedded`, a published one (see `pathagent models list`), `local-dir:…`, `hf-hub:…`.
    mpp: µm per level-0 px of the slides, wins over metadata. overlap_px: of neighbouring tiles. min_tissue:
    share of tissue that a tile must have. workers: processes that read. resampling: `reduced` averages
    inside the JPEG decoder, `exact` gives the pixels of `Slide.read`. imported: a folder of TRIDENT's or
    CLAM's features, taken over instead of encoding. tile_mpp: µm/px of the encoder's tiles where neither
    its card nor the catalogue says. weights: a folder with a published encoder's files. runtime: how an
    open_clip image tower runs on a CPU. planned: told the number of slides.

    The same call goes on where an earlier one was stopped. What a slide's features depend on is kept in its
    state: a change of it recomputes them. Input is checked before this returns: raises UserError. While
    running, the first slide that fails raises (SlideError among others), unless `skip_errors`.
    """
    if runtime not in RUNTIMES:
        raise UserError(f"Unknown runtime {runtime!r}. Known: {', '.join(RUNTIMES)}.")
    given = [slides] if isinstance(slides, str | Path) else list(slides)
    inputs = read_inputs(given, wsi_dir=None if wsi_dir is None else Path(wsi_dir))
    if mpp_csv is not None and not Path(mpp_csv).is_file():
        raise UserError(f"No such file: {mpp_csv}. --mpp-csv wants a CSV with columns wsi,mpp.")
    settings = EncodeSettings(
        encoder=encoder,
        mpp=mpp,
        mpp_csv=None if mpp_csv is None else str(Path(mpp_csv).resolve()),
        overlap_px=overlap_px,
        min_tissue=min_tissue,
        resampling=resampling,
        imported=None if imported is None else str(Path(imported).expanduser().resolve()),
        tile_mpp=tile_mpp,
        weights=None if weights is None else str(Path(weights).expanduser().resolve()),
        device=device,
        runtime=runtime,
        workers=default_workers() if workers is None else workers,
    )
    folder = Path(out).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder. Choose a folder with --out.")
    job = EncodeJob(folder, settings, progress=progress)
    if overlap_px >= job.spec.tile_px:
        raise UserError(f"--overlap {overlap_px} must be smaller than the tile: {job.spec.tile_px} px.")
    if planned is not None:
        planned(len(inputs))
    return _run(job, inputs, skip_errors=skip_errors)


def _run(job: EncodeJob, inputs: Sequence[EncodeInput], *, skip_errors: bool) -> Iterator[SlideState]:
    job.out.mkdir(parents=True, exist_ok=True)
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}"
    states: list[SlideState] = []
    busy = "Process {holder} encodes into this folder. Wait for it, or choose another --out."
    with held(job.out / LOCK, busy):
        _write_config(job)
        try:
            for state in job.run(inputs, skip_errors=skip_errors):
                states.append(state)
                _log(job.out, state)
                yield state
        finally:
            waiting = [SlideState(slide=i.path, name=i.name) for i in inputs[len(states) :]]
            write_summary(job.out, job.spec.id, [*states, *waiting])
            _write_manifest(job, run, [*states, *waiting])


def _write_config(job: EncodeJob) -> None:
    config: dict[str, Any] = {
        "settings": job.settings.model_dump(mode="json"),
        "encoder": job.spec.model_dump(mode="json"),
    }
    write_text_atomic(job.out / "_config_encode.json", canonical_json(config) + "\n")


def _log(out: Path, state: SlideState) -> None:
    with (out / "_logs_encode.txt").open("a", encoding="utf-8") as handle:
        said = f" ({state.reason})" if state.reason else ""
        handle.write(f"{state.updated} {state.name}: {state.status}{said}\n")


def _write_manifest(job: EncodeJob, run: str, states: Sequence[SlideState]) -> None:
    """`runs/<id>.json`: what this call was and how it left every slide."""
    from pathagent import __version__

    config = (job.out / "_config_encode.json").read_bytes()
    document = {
        "run": run,
        "pathagent_version": __version__,
        "config_sha256": sha256_bytes(config),
        "settings": job.settings.model_dump(mode="json"),
        "encoder": job.spec.model_dump(mode="json"),
        "slides": {s.name: {"status": s.status, "reason": s.reason, "tiles": s.tiles} for s in states},
    }
    write_text_atomic(job.out / "runs" / f"{run}.json", canonical_json(document) + "\n")
