"""The child process that decodes one slide: `python -m pathagent_tools.slides.decoder FD FILE MEMORY_MB`.

It reads JSON requests from an inherited pipe and answers with a JSON line, then raw RGB bytes. It imports
nothing but OpenSlide and Pillow, limits its own address space, and never opens label or macro images.
A decoder that aborts takes only this process with it.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from multiprocessing.connection import Connection
from typing import Any

import openslide
from PIL import Image

BLOCK_PX = 4096
"""Largest side of a rectangle decoded at once: 64 MiB of RGBA."""
_MARGIN = 3  # output px read around a block, so that block edges leave no seam


def main(argv: list[str]) -> None:
    """Serve requests until the pipe is closed."""
    fd, path, memory_mb = int(argv[0]), argv[1], int(argv[2])
    limit = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe = Connection(fd)
    slide: openslide.OpenSlide | None = None
    while True:
        try:
            request = json.loads(pipe.recv_bytes())
        except EOFError:
            return
        pixels = b""
        try:
            slide = slide or openslide.OpenSlide(path)
            if request["do"] == "open":
                answer: dict[str, Any] = _facts(slide)
            else:
                image = read_rgb(slide, request)
                answer, pixels = {"size": image.size}, image.tobytes()
        except (openslide.OpenSlideError, OSError, ValueError) as error:
            slide = None  # OpenSlide stays in its error state: open again for the next request
            answer = {"error": str(error), "unsupported": isinstance(error, _UNSUPPORTED)}
        except MemoryError:
            slide = None
            answer = {"error": f"it needs more than {memory_mb} MB to decode", "memory": True}
        pipe.send_bytes(json.dumps(answer).encode())
        if "size" in answer:
            pipe.send_bytes(pixels)


_UNSUPPORTED = openslide.OpenSlideUnsupportedFormatError


def _facts(slide: openslide.OpenSlide) -> dict[str, Any]:
    return {
        "properties": dict(slide.properties),
        "levels": slide.level_dimensions,
        "downsamples": slide.level_downsamples,
    }


def read_rgb(slide: openslide.OpenSlide, request: dict[str, Any]) -> Image.Image:
    """`x y width height` (level-0 px) shown as `out_width × out_height` px of RGB."""
    out_w, out_h = request["out_width"], request["out_height"]
    scale_x, scale_y = request["width"] / out_w, request["height"] / out_h
    level = level_for(slide, min(scale_x, scale_y))
    step = max(1, int(BLOCK_PX * slide.level_downsamples[level] / max(scale_x, scale_y)) - 2 * _MARGIN)
    if out_w <= step + 2 * _MARGIN and out_h <= step + 2 * _MARGIN:
        return _block(slide, level, request, (scale_x, scale_y), (0, 0, out_w, out_h))
    out = Image.new("RGB", (out_w, out_h))
    for top in range(0, out_h, step):
        for left in range(0, out_w, step):
            box = (left, top, min(left + step, out_w), min(top + step, out_h))
            out.paste(_block(slide, level, request, (scale_x, scale_y), box), box[:2])
    return out


def level_for(slide: openslide.OpenSlide, scale: float) -> int:
    """Coarsest level that is not coarser than wanted (0.5 % slack for rounded level sizes)."""
    fitting = [i for i, d in enumerate(slide.level_downsamples) if d <= scale * 1.005]
    return max(fitting, default=0, key=lambda i: slide.level_downsamples[i])


def _block(
    slide: openslide.OpenSlide,
    level: int,
    request: dict[str, Any],
    scale: tuple[float, float],
    box: tuple[int, int, int, int],
) -> Image.Image:
    """One rectangle `box` (output px) of the request, resized with antialiasing.

    A margin is decoded with it on the sides where the request goes on, and cut off again.
    """
    down = slide.level_downsamples[level]
    left, top = max(0, box[0] - _MARGIN), max(0, box[1] - _MARGIN)
    right = min(request["out_width"], box[2] + _MARGIN)
    bottom = min(request["out_height"], box[3] + _MARGIN)
    x0, y0 = request["x"] + left * scale[0], request["y"] + top * scale[1]
    x, y = math.floor(x0), math.floor(y0)
    inset_x, inset_y = (x0 - x) / down, (y0 - y) / down
    width, height = (right - left) * scale[0] / down, (bottom - top) * scale[1] / down
    size = (max(1, math.ceil(inset_x + width - 1e-6)), max(1, math.ceil(inset_y + height - 1e-6)))
    tile = flatten(slide.read_region((x, y), level, size), slide)
    out_size = (right - left, bottom - top)
    if size != out_size or inset_x or inset_y:
        edge = (min(inset_x + width, size[0]), min(inset_y + height, size[1]))
        tile = tile.resize(out_size, Image.Resampling.BICUBIC, box=(inset_x, inset_y, *edge))
    return tile.crop((box[0] - left, box[1] - top, box[2] - left, box[3] - top))


def flatten(tile: Image.Image, slide: openslide.OpenSlide) -> Image.Image:
    """Transparent pixels become the slide's background colour, white where it names none."""
    alpha = tile.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return tile.convert("RGB")
    colour = "#" + slide.properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "ffffff")
    canvas = Image.new("RGB", tile.size, colour)
    canvas.paste(tile, mask=alpha)
    return canvas


if __name__ == "__main__":
    main(sys.argv[1:])
