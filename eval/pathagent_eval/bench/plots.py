"""The plots of a benchmark as SVG: reliability, risk and coverage, hits by number of looks, slots, floors."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

from pathagent_eval.bench.results import SYSTEM, Results
from pathagent_eval.bench.table import label
from pathagent_tools.core.errors import UserError

_BLUE: Final = "#1f5fa8"
_GREY: Final = "#8a8f98"
_LIGHT: Final = "#c9ced6"


def svgs(r: Results) -> dict[str, str]:
    """Title → SVG of every plot that these results have. UserError without the extra `eval`."""
    drawn = {"Primary score beside its floors": _floors}
    by_curve: dict[str, tuple[str, Callable[[Any, Results], None]]] = {
        "reliability": ("Reliability", _reliability),
        "risk_coverage": ("Risk and coverage", _risk_coverage),
        "hits": ("Lesion reached after so many looks", _hits),
        "slots": ("F1 of each slot", _slots),
    }
    plots = drawn | {title: draw for curve, (title, draw) in by_curve.items() if r.curves.get(curve)}
    return {title: _svg(draw, r) for title, draw in plots.items()}


def _svg(draw: Callable[[Any, Results], None], r: Results) -> str:
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("Plots need the extra eval. Type: pip install 'pathagent[eval]'") from None
    with matplotlib.rc_context({"svg.hashsalt": r.task, "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes, r)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _floors(axes: Any, r: Results) -> None:
    scores = {name: numbers[r.primary] for name, numbers in r.systems.items() if r.primary in numbers}
    names = list(scores)[::-1]
    values = [scores[name].value for name in names]
    below = [scores[n].value - scores[n].low for n in names]
    above = [scores[n].high - scores[n].value for n in names]
    colours = [_BLUE if name == SYSTEM else _LIGHT for name in names]
    axes.barh(names, values, color=colours, xerr=[below, above], error_kw={"ecolor": _GREY, "capsize": 2})
    axes.set_xlabel(label(r.primary))
    axes.set_xlim(0, 1)


def _reliability(axes: Any, r: Results) -> None:
    stated, right, n = zip(*r.curves["reliability"], strict=True)
    axes.plot([0, 1], [0, 1], color=_LIGHT, linestyle="--")
    axes.scatter(stated, right, s=[20 + 3 * count for count in n], color=_BLUE, alpha=0.8)
    axes.set(xlabel="stated confidence", ylabel="share right", xlim=(0, 1.02), ylim=(-0.02, 1.02))


def _risk_coverage(axes: Any, r: Results) -> None:
    covered, risk = zip(*r.curves["risk_coverage"], strict=True)
    axes.step(covered, risk, where="post", color=_BLUE)
    axes.set(xlabel="share answered, surest first", ylabel="share wrong of them", xlim=(0, 1.02))
    axes.set_ylim(bottom=0)


def _hits(axes: Any, r: Results) -> None:
    looks, share = zip(*r.curves["hits"], strict=True)
    axes.plot(looks, share, marker="o", color=_BLUE)
    axes.set(xlabel="looks", ylabel="share of lesions reached", ylim=(0, 1.02))


def _slots(axes: Any, r: Results) -> None:
    slots = r.curves["slots"]
    names = list(slots)[::-1]
    titles = [f"{label(n)} ({slots[n]['wanted']:g})" for n in names]
    axes.barh(titles, [slots[n]["f1"] for n in names], color=_BLUE)
    axes.set(xlabel="F1 (facts wanted in brackets)", xlim=(0, 1))
