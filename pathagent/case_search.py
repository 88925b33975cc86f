"""Similar tiles and similar cases: an index of the user's own slides, searched by words, region or slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pathagent_tools.core.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pathagent_tools.core.protocols import SlideEncoder
    from pathagent_tools.encoders.case_index import CaseHit, CaseIndex, IndexedCase, TileHit
    from pathagent_tools.slides import Slide

Box = tuple[int, int, int, int]
"""x, y, width, height in level-0 px."""
COMPARE: Final = "compare: similar cases are no evidence of this case"


def index_cases(
    slides: str | Path | Sequence[str | Path],
    index: str | Path,
    *,
    texts: Mapping[str, str] | None = None,
    encoder: str | SlideEncoder = "embedded",
    mpp: float | None = None,
    mpp_csv: str | Path | None = None,
) -> list[IndexedCase]:
    """Add slides to the index in the folder `index`, which is made where there is none.

    texts: report or diagnosis of a slide, by file name or by stem; shown beside what is found. Slides that
    are in the index already, by their bytes, are not added again. Returns what was added.
    UserError: an index of another encoder, a slide without tissue; SlideError: a slide cannot be read.
    """
    from pathagent_tools.encoders.case_index import INDEX_NAME, CaseIndex

    model, folder = _model(encoder), Path(index)
    if (folder / INDEX_NAME).is_file():
        found = CaseIndex.open(folder, encoder=model.id, revision=model.revision)
    else:
        found = CaseIndex.begin(folder, encoder=model.id, revision=model.revision, dim=model.dim)
    paths = [slides] if isinstance(slides, str | Path) else list(slides)
    return found.add([_addition(Path(p), texts or {}, model, mpp, mpp_csv) for p in paths])


def similar(
    index: str | Path,
    *,
    text: str | None = None,
    report: str | None = None,
    slide: str | Path | None = None,
    region: Box | None = None,
    count: int = 5,
    encoder: str | SlideEncoder = "embedded",
    mpp: float | None = None,
    mpp_csv: str | Path | None = None,
) -> tuple[list[CaseHit], list[TileHit]]:
    """(cases, tiles) of the index that are likest to words, a report, a region of a slide, or a whole slide.

    One of text (words that tiles show), report (its whole text, which a slide's embedding answers, and no
    tiles), slide, or slide with region (x, y, width, height in level-0 px). The query slide itself, where it
    is in the index, is left out. UserError: an index of another encoder, an encoder without a text tower, a
    region outside the tissue.
    """
    from pathagent_tools.encoders.case_index import CaseIndex
    from pathagent_tools.encoders.reading import unit
    from pathagent_tools.encoders.slide_text import embed_report, embed_slide

    if sum(q is not None for q in (text, report, slide)) != 1 or (region is not None and slide is None):
        raise UserError(
            "Search by --text WORDS, --report FILE, --slide SLIDE, or --slide SLIDE --region X,Y,W,H."
        )
    model = _model(encoder)
    found = CaseIndex.open(Path(index), encoder=model.id, revision=model.revision)
    if report is not None:
        return found.similar_cases(embed_report(report, model), count), []
    more, own = count + 1, ""
    if text is not None:
        vector = model.encode_texts([text])[0]
        cases = found.cases_with(vector, more)
    else:
        features, own = _of_slide(Path(str(slide)), region, model, mpp, mpp_csv)
        vector = unit(features).mean(0)
        whole = region is None
        cases = (
            found.similar_cases(embed_slide(features, model), more)
            if whole
            else found.cases_with(vector, more)
        )
    tiles = found.similar_tiles(vector, count + _tiles_of(found, own))
    return (
        [hit for hit in cases if hit.case.slide_digest != own][:count],
        [hit for hit in tiles if hit.case.slide_digest != own][:count],
    )


def _model(encoder: str | SlideEncoder) -> SlideEncoder:
    from pathagent_tools.encoders.registry import load_encoder

    return load_encoder(encoder) if isinstance(encoder, str) else encoder


def _tiles_of(index: CaseIndex, digest: str) -> int:
    return sum(case.tiles for case in index.manifest.cases if case.slide_digest == digest)


def _scan(slide: Slide, model: SlideEncoder) -> Any:
    from pathagent.runs import cache_dir
    from pathagent_tools.encoders.scan import scan_slide
    from pathagent_tools.slides import tissue_mask

    return scan_slide(slide, tissue_mask(slide), model, store=cache_dir() / "features")


def _addition(
    path: Path, texts: Mapping[str, str], model: SlideEncoder, mpp: float | None, mpp_csv: Any
) -> Any:
    from pathagent_tools.encoders.case_index import Addition
    from pathagent_tools.encoders.slide_text import embed_slide
    from pathagent_tools.slides import open_slide

    with open_slide(path, mpp=mpp, mpp_csv=mpp_csv) as slide:
        scanned = _scan(slide, model)
        return Addition(
            name=path.name,
            slide_digest=slide.digest,
            mpp=slide.mpp,
            coords=scanned.coords,
            side=scanned.size_level0,
            features=scanned.features,
            text=texts.get(path.name, texts.get(path.stem, "")),
            vector=embed_slide(scanned.features, model) if len(scanned) else None,
        )


def _of_slide(
    path: Path, region: Box | None, model: SlideEncoder, mpp: float | None, mpp_csv: Any
) -> tuple[NDArray[np.float32], str]:
    """(features [N, D] of a slide's tiles, of those whose middle lies in the region; digest of the slide)."""
    from pathagent_tools.slides import open_slide

    with open_slide(path, mpp=mpp, mpp_csv=mpp_csv) as slide:
        scanned = _scan(slide, model)
        features, digest = scanned.features, slide.digest
        if region is not None:
            x, y, width, height = region
            middles = scanned.coords + scanned.size_level0 / 2
            inside = ((middles >= (x, y)) & (middles < (x + width, y + height))).all(1)
            features = features[inside]
        if len(features) == 0:
            where = f"The region {','.join(map(str, region))} of {path}" if region else str(path)
            raise UserError(
                f"{where} holds the middle of no tissue tile; tiles are {scanned.size_level0} px wide. "
                "Give a larger region, on tissue."
            )
        return features, digest
