"""All tasks by name, and each of them as a LangChain tool with a schema."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from pathagent_tools.core.errors import UserError

if TYPE_CHECKING:
    from langchain_core.tools import StructuredTool

    from pathagent_tools.generators.publishing import Published
    from pathagent_tools.generators.studio import Studio


@dataclass(frozen=True)
class TaskEntry:
    """A task: where its request (schema) and its function are, and what it is for."""

    module: str
    request: str
    function: str
    about: str

    @property
    def schema(self) -> type[BaseModel]:
        """The request's model."""
        found: type[BaseModel] = getattr(import_module(self.module), self.request)
        return found

    @property
    def run(self) -> Callable[..., Any]:
        """The function (studio, request) → Drawn; for `field` (studio, request, folder) → SyntheticImage."""
        found: Callable[..., Any] = getattr(import_module(self.module), self.function)
        return found


_TASKS: Final = "pathagent_tools.generators.tasks"
TASKS: Final[dict[str, TaskEntry]] = {
    "patches": TaskEntry(
        f"{_TASKS}.patches", "PatchRequest", "draw_patches",
        "Draw synthetic patches by words, dials, stain, or as variants of an example.",
    ),
    "strip": TaskEntry(
        f"{_TASKS}.patches", "StripRequest", "draw_strip",
        "Draw one field while a dial is turned, e.g. from normal to high grade.",
    ),
    "layout": TaskEntry(
        f"{_TASKS}.layouts", "LayoutRequest", "draw_layout",
        "Turn a map of tissue classes (and nuclei) into an image.",
    ),
    "field": TaskEntry(
        f"{_TASKS}.large_field", "FieldRequest", "draw_field",
        "Turn a coarse map into a field of thousands of pixels a side, a pyramidal TIFF.",
    ),
    "counterfactual": TaskEntry(
        f"{_TASKS}.counterfactual", "CounterfactualRequest", "draw_counterfactual",
        "Find the smallest edit of a region that moves the encoder's verdict to another diagnosis.",
    ),
    "restore": TaskEntry(
        f"{_TASKS}.restoration", "RestoreRequest", "draw_restored",
        "Paint over a fold, pen mark, blur or bubble that a mask marks.",
    ),
    "stain": TaskEntry(
        f"{_TASKS}.stains", "StainRequest", "draw_stained",
        "Bring a picture into the stain of a reference picture.",
    ),
}  # fmt: skip
"""Task name → entry."""


def task_named(name: str) -> TaskEntry:
    """The task of that name. UserError with a suggestion."""
    if name in TASKS:
        return TASKS[name]
    close = difflib.get_close_matches(name, TASKS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UserError(f"Unknown task {name!r}.{hint} Known: {', '.join(TASKS)}.")


def run_task(
    studio: Studio, name: str, request: BaseModel, folder: Path, *, reason: str = "asked for by the user"
) -> Published:
    """Draw, vet and write one task's images under `folder`, all of them marked."""
    from pathagent_tools.generators.publishing import Published, publish
    from pathagent_tools.generators.vetting import Vetting

    entry = task_named(name)
    if name != "field":
        return publish(studio, entry.run(studio, request), folder, reason=reason)
    image = entry.run(studio, request, folder)
    nothing = Vetting(
        images=(), read_back_share=None, claims_checked=0, diversity=None, possible_copies=0,
        notes=("a large field is not vetted as a whole: cut fields out of it",),
    )  # fmt: skip
    return Published(task=name, title=image.title, images=(image,), vetting=nothing)


def langchain_tools(studio: Studio, folder: Path) -> list[StructuredTool]:
    """Every task as a tool `generate_NAME`; a call writes into `folder/NAME-n`."""
    return [_tool(studio, name, entry, folder) for name, entry in TASKS.items()]


def _tool(studio: Studio, name: str, entry: TaskEntry, folder: Path) -> StructuredTool:
    from langchain_core.tools import StructuredTool

    def call(**arguments: Any) -> str:
        request = entry.schema.model_validate(arguments)
        taken = len(list(folder.glob(f"{name}-*"))) if folder.is_dir() else 0
        return run_task(studio, name, request, folder / f"{name}-{taken + 1}").model_dump_json()

    return StructuredTool.from_function(
        func=call,
        name=f"generate_{name}",
        description=f"{entry.about} Synthetic, marked as such, and never evidence.",
        args_schema=entry.schema,
    )
