"""`report.html`: the tables and plots of a run in one file that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from pathagent_eval.bench.plots import svgs
from pathagent_eval.bench.results import SYSTEM, Results
from pathagent_eval.bench.table import label, number, said_of, title


def html(every: Sequence[Results]) -> str:
    """The page. UserError where plots need a package that is missing."""
    page: str = _template().render(
        every=every,
        plots={r.task: svgs(r) for r in every},
        number=number,
        label=label,
        said_of=said_of,
        title=title,
        SYSTEM=SYSTEM,
    )
    return page


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pathagent_eval"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("benchmarks.html.j2")
