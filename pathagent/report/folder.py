"""The folder of a report: whole or absent, and never in the place of another without `--force`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pathagent.output_folder import unwritable, whole_folder
from pathagent.report import geojson
from pathagent.report.figures import Overview, evidence_png
from pathagent.report.maps import write_maps
from pathagent.report.page import report_html
from pathagent.report.text import report_markdown
from pathagent.report.tile_map import TileMap
from pathagent.report.view import view_of
from pathagent.review_pairs import write_pairs
from pathagent_tools.core.files import write_bytes_atomic, write_text_atomic
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.records import Report
from pathagent_tools.core.review_pair import ReviewPair


def write_run(
    out: Path,
    report: Report,
    *,
    evidence_images: Mapping[str, Image],
    overviews: Mapping[str, Overview],
    bounds: Mapping[str, tuple[int, int]],
    run: Mapping[str, Any],
    pairs: Sequence[ReviewPair] = (),
    tiles: Mapping[str, TileMap] | None = None,
    illustrations: Mapping[str, bytes] | None = None,
    force: bool = False,
) -> Path:
    """Write `report.json|md|html`, `evidence/*.png`, `maps/*.png`, `*.geojson` and `run.json` into `out`.

    evidence_images: evidence id → the pixels looked at, RGB uint8 [h, w, 3]. overviews: slide id → whole
    slide. bounds: slide id → corner of the slide's bounds in level-0 px, taken off for QuPath. run: what
    differs from run to run. pairs: what a human decided, appended to those that `out` holds. tiles: slide
    id → what its scan saw, where a scan can be shown. illustrations: id → marked PNG, written to
    `synthetic/` and shown apart from everything that is evidence.
    An existing empty folder is accepted; a filled one needs `force` and survives until the new one is
    complete. Returns `out`. Raises UserError (see `check_folder`), ValueError where a picture of the
    report is missing.
    """
    _complete(report, evidence_images, overviews, bounds)
    drawn = dict(illustrations or {})
    view = view_of(report, evidence_images, overviews, tiles or {}, drawn)
    try:
        with whole_folder(out, force=force) as folder:
            write_text_atomic(folder / "report.json", report.model_dump_json(indent=2) + "\n")
            write_text_atomic(folder / "report.md", report_markdown(view))
            write_text_atomic(folder / "report.html", report_html(view))
            _write_evidence(folder, report, evidence_images)
            _write_regions(folder, report, bounds)
            write_maps(folder, report, view.slides, tiles or {}, bounds)
            for image in report.illustrations:
                if image.id in drawn:
                    write_bytes_atomic(folder / "synthetic" / image.file, drawn[image.id])
            record = json.dumps(dict(run), indent=2, ensure_ascii=False, default=str)
            write_text_atomic(folder / "run.json", record + "\n")
            write_pairs(folder, out, pairs, evidence_images)
    except OSError as error:
        raise unwritable(out, error) from error
    return out


def _write_evidence(folder: Path, report: Report, images: Mapping[str, Image]) -> None:
    slides = {s.id: s for s in report.slides}
    (folder / "evidence").mkdir()
    for look in report.evidence:
        picture = evidence_png(images[look.id], look, slides[look.region.slide])
        write_bytes_atomic(folder / "evidence" / f"{look.id}.png", picture)


def _write_regions(folder: Path, report: Report, bounds: Mapping[str, tuple[int, int]]) -> None:
    """All regions in one file; for several slides also a file each, as QuPath opens one slide at a time."""
    everything = geojson.feature_collection(report, bounds)
    write_text_atomic(folder / "evidence.geojson", geojson.dump(everything))
    if len(report.slides) > 1:
        for slide in report.slides:
            own = geojson.feature_collection(report, bounds, slide=slide.id)
            write_text_atomic(folder / f"evidence-{slide.id}.geojson", geojson.dump(own))


def _complete(
    report: Report,
    images: Mapping[str, Image],
    overviews: Mapping[str, Overview],
    bounds: Mapping[str, tuple[int, int]],
) -> None:
    slides = {s.id for s in report.slides}
    absent = {
        "image": sorted({e.id for e in report.evidence} - set(images)),
        "overview": sorted(slides - set(overviews)),
        "bounds": sorted(slides - set(bounds)),
    }
    if missing := [f"{kind} of {', '.join(ids)}" for kind, ids in absent.items() if ids]:
        raise ValueError(f"The report cannot be written: no {'; no '.join(missing)}.")
