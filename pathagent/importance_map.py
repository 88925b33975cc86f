"""Where on a slide do words apply? Every tile's likeness to a phrase, as numbers and as a picture."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import write_bytes_atomic
from pathagent_tools.core.protocols import Image, SlideEncoder

if TYPE_CHECKING:
    from pathagent.report.tile_map import TileMap

OVERVIEW_PX: Final = 1400
NAMED: Final = 5
"""Places that `ImportanceMap.best` names."""


@dataclass(frozen=True)
class ImportanceMap:
    """`tiles`: 0 at the slide's least similar tile, 1 at its most similar. `picture`: over the overview."""

    words: str
    encoder: str
    revision: str
    tiles: TileMap
    picture: Image

    def best(self, count: int = NAMED) -> list[dict[str, Any]]:
        """The likest tiles: x, y, width, height in level-0 px, and the likeness."""
        order = np.argsort(-self.tiles.values, kind="stable")[:count]
        names = ("x", "y", "width", "height")
        return [
            dict(zip(names, map(int, self.tiles.boxes[i]), strict=True))
            | {"likeness": round(float(self.tiles.values[i]), 3)}
            for i in order
        ]


def slide_map(
    slide: str | Path,
    words: str,
    *,
    out: str | Path | None = None,
    encoder: str | SlideEncoder = "embedded",
    mpp: float | None = None,
    mpp_csv: str | Path | None = None,
    force: bool = False,
) -> ImportanceMap:
    """How like `words` each tissue tile of a slide is, relative to the slide; `out`: PNG to write.

    encoder: a name as for `pathagent.encode`, or a loaded encoder; it needs a text tower. Features of the
    scan are kept in the cache and used again. UserError: no words, no text tower, no tissue, `out` there
    already without `force`; SlideError: the slide cannot be read.
    """
    from pathagent.runs import cache_dir
    from pathagent_tools.encoders.reading import relevance
    from pathagent_tools.encoders.registry import load_encoder
    from pathagent_tools.encoders.scan import scan_slide
    from pathagent_tools.slides import open_slide, tissue_mask

    target = None if out is None else _target(Path(out), force=force)
    if not words.strip():
        raise UserError(
            'Words are needed. Type for example: pathagent slide map SLIDE "solid tumour" -o map.png'
        )
    model = load_encoder(encoder) if isinstance(encoder, str) else encoder
    model.encode_texts([words])  # an encoder without a text tower says so before the slide is scanned
    with open_slide(slide, mpp=mpp, mpp_csv=mpp_csv) as opened:
        found = scan_slide(opened, tissue_mask(opened), model, store=cache_dir() / "features")
        if len(found) == 0:
            raise UserError(f"{slide} has no tissue of a tile's size: there is nothing to map.")
        sides = np.full((len(found), 2), found.size_level0, np.int64)
        tiles = _tile_map(np.hstack([found.coords, sides]), relevance(found.features, model, words), words)
        picture = _drawn(*opened.thumbnail(OVERVIEW_PX), tiles)
    if target is not None:
        _write_png(target, picture, words, model)
    return ImportanceMap(words, model.id, model.revision, tiles, picture)


def _tile_map(boxes: Any, values: Any, words: str) -> TileMap:
    from pathagent.report.tile_map import TileMap

    return TileMap(boxes=boxes, values=np.asarray(values, np.float64), title=f"like “{words}”")


def _drawn(rgb: Image, level0_per_px: float, tiles: TileMap) -> Image:
    from pathagent.report.figures import Overview, map_of
    from pathagent.report.tile_map import heat_over, with_key

    return with_key(heat_over(map_of(Overview(rgb, level0_per_px), []), tiles), tiles.title)


def _target(out: Path, *, force: bool) -> Path:
    if out.suffix.lower() != ".png":
        raise UserError(f"The map is a PNG picture: -o {out.with_suffix('.png')}")
    if out.exists() and not force:
        raise UserError(f"{out} exists. Choose another name with -o, or add --force to replace it.")
    return out


def _write_png(path: Path, picture: Image, words: str, encoder: SlideEncoder) -> None:
    from PIL import Image as Pillow
    from PIL.PngImagePlugin import PngInfo

    from pathagent.output_folder import unwritable
    from pathagent_tools.core.vocabulary import RESEARCH_USE_ONLY

    info = PngInfo()
    for key, value in {
        "Software": "PathAgent",
        "Disclaimer": RESEARCH_USE_ONLY,
        "Words": words,
        "Encoder": f"{encoder.id} {encoder.revision}",
    }.items():
        info.add_itxt(key, value)
    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, "PNG", pnginfo=info)
    try:
        write_bytes_atomic(path, buffer.getvalue())
    except OSError as error:
        raise unwritable(path, error) from error
