"""What a run would measure of each rendered tile, by the run's own tools: nuclei, mitoses, the tissue map.

Simulated measurements were nearer to the truth than measured ones are, and a model that learned from them
trusted a run's too much.
"""

from __future__ import annotations

import json
import multiprocessing
from functools import cache, partial
from pathlib import Path

import numpy as np

from pathagent_finetune.tilestore import TileStore, open_store
from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.core.protocols import SlideEncoder
from pathagent_tools.core.records import Measurement
from pathagent_tools.encoders.registry import load_encoder
from pathagent_tools.encoders.tissue_map import read_field
from pathagent_tools.measure.mitoses import MitosisDetector
from pathagent_tools.phantom.camera import shrink

MEASURED_MPP = 0.5
"""Resolution at which a run measures its looks; the tiles must be rendered at it."""
Measured = tuple[Measurement, ...]


def measured_tiles(store: TileStore, *, workers: int = 2) -> list[Measured]:
    """The measurements of every tile as rendered, kept beside the tiles for the next call."""
    tools = f"{MitosisDetector.load().revision[:8]}-{_encoder().revision[:8]}"
    path = store.folder / f"measured-{tools}.json"
    if not path.is_file():
        measure = partial(_measured, store.folder)
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            rows = list(pool.imap(measure, range(len(store)), chunksize=20))
        write_text_atomic(path, json.dumps(rows))
    rows = json.loads(path.read_text())
    return [tuple(Measurement.model_validate(m) for m in row) for row in rows]


def _measured(folder: Path, index: int) -> list[dict[str, object]]:
    from pathagent_tools.measure import estimate_stain, measure_region

    store, detector = _opened(folder)
    pixels, around = np.array(store.image(index)), np.array(store.around(index))
    found = measure_region(pixels, MEASURED_MPP, estimate_stain(pixels))
    count = detector.measure(pixels, MEASURED_MPP)
    encoder = _encoder()
    coarser = round(encoder.tile_mpp / MEASURED_MPP)
    again = read_field(encoder, shrink(around, coarser), margin=store.margin // coarser)
    return [m.model_dump(mode="json", exclude_none=True) for m in (*found, count, *again)]


@cache
def _encoder() -> SlideEncoder:
    return load_encoder("embedded")


@cache
def _opened(folder: Path) -> tuple[TileStore, MitosisDetector]:
    return open_store(folder), MitosisDetector.load()
