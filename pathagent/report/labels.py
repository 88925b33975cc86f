"""Where the number of each box goes on an overview, so that numbers stay readable side by side."""

from __future__ import annotations

from collections.abc import Sequence

from pathagent.report.figures import Box


def place_labels(
    boxes: Sequence[Box], sizes: Sequence[tuple[float, float]], *, width: float, height: float
) -> list[Box]:
    """One label rectangle a box: the spot around it that hides least of other boxes and labels.

    sizes: (width, height) of each label in the same pixels. Labels stay inside the picture.
    """
    placed: list[Box] = []
    for box, (w, h) in zip(boxes, sizes, strict=True):
        spots = [_inside(spot, width, height) for spot in _around(box, w, h)]
        others = [b for b in boxes if b is not box]
        placed.append(min(spots, key=lambda s: _hidden(s, [*placed, *placed, *others, box])))
    return placed


def _around(box: Box, w: float, h: float) -> list[Box]:
    left, right = box.x, box.x + box.width - w
    above, below = box.y - h, box.y + box.height
    corners = [(left, above), (right, above), (left, below), (right, below)]
    sides = [(box.x - w, box.y), (box.x + box.width, box.y), (box.x - w, below - h)]
    sides.append((box.x + box.width, below - h))
    return [Box(x=x, y=y, width=w, height=h) for x, y in corners + sides]


def _inside(spot: Box, width: float, height: float) -> Box:
    x = min(max(0.0, spot.x), max(0.0, width - spot.width))
    y = min(max(0.0, spot.y), max(0.0, height - spot.height))
    return spot.model_copy(update={"x": x, "y": y})


def _hidden(spot: Box, others: Sequence[Box]) -> float:
    return sum(_shared(spot, other) for other in others)


def _shared(a: Box, b: Box) -> float:
    w = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    h = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    return w * h if w > 0 and h > 0 else 0.0
