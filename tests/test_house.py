"""The house: five floors, imports go down only, phantoms stay out of what is scored."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import pathagent_prompts

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "pathagent_prompts": ROOT / "prompts/pathagent_prompts",
    "pathagent_tools": ROOT / "tools/pathagent_tools",
    "pathagent": ROOT / "pathagent",
    "pathagent_finetune": ROOT / "finetune/pathagent_finetune",
    "pathagent_eval": ROOT / "eval/pathagent_eval",
}
MAY_IMPORT = {
    "pathagent_prompts": set[str](),
    "pathagent_tools": {"pathagent_prompts"},
    "pathagent": {"pathagent_prompts", "pathagent_tools"},
    "pathagent_finetune": {"pathagent_prompts", "pathagent_tools", "pathagent"},
    "pathagent_eval": {"pathagent_prompts", "pathagent_tools", "pathagent"},
}
PHANTOM = "pathagent_tools.phantom"
KNOWS_PHANTOMS = ("pathagent.commands.demo", "pathagent.commands.phantom", PHANTOM)
CATCHES_EVERYTHING = {"pathagent/cli.py", "pathagent/batches/work.py", "pathagent/reading_room/line.py"}
"""The boundaries at which any failure becomes a typed record: the command line, a batch's worker, and that
of the reading room."""

LAZY_TARGET = re.compile(r"(pathagent\w*(?:\.\w+)+)(:\w+)?")
SOURCES = sorted(path for folder in PACKAGES.values() for path in folder.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def module(path: Path) -> str:
    """`pathagent_tools.core.records` for its file."""
    package = next(name for name, folder in PACKAGES.items() if path.is_relative_to(folder))
    parts = path.relative_to(PACKAGES[package]).with_suffix("").parts
    return ".".join((package, *(part for part in parts if part != "__init__")))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, deferred ones and lazy `"package.module:object"` too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Constant) and (target := lazy_target(str(node.value))):
            yield node.lineno, target


def lazy_target(text: str) -> str | None:
    """The module that a string names; None for others, entry-point groups (`pathagent.encoders`) too."""
    if not (found := LAZY_TARGET.fullmatch(text)):
        return None
    package, _, rest = found[1].partition(".")
    place = PACKAGES.get(package, ROOT / "absent") / rest.replace(".", "/")
    is_module = place.is_dir() or place.with_suffix(".py").is_file()
    return found[1] if found[2] or is_module else None


def wrong_floor(path: Path) -> list[str]:
    package = module(path).split(".")[0]
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for line, name in imports(path)
        if (top := name.split(".")[0]) in PACKAGES and top != package and top not in MAY_IMPORT[package]
    ]


def knows_phantoms(path: Path) -> list[str]:
    here = module(path)
    if here.startswith((*KNOWS_PHANTOMS, "pathagent_finetune", "pathagent_eval")):
        return []
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for line, name in imports(path)
        if name == PHANTOM or name.startswith(f"{PHANTOM}.")
    ]


def swallows_everything(path: Path) -> list[str]:
    """Handlers of any exception that do not end in a bare `raise`."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or bool({"Exception", "BaseException"} & _names(node.type)))
        and not (isinstance(last := node.body[-1], ast.Raise) and last.exc is None)
    ]


def _names(node: ast.expr) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def test_imports_go_down_only() -> None:
    assert SOURCES
    assert [line for path in SOURCES for line in wrong_floor(path)] == []


def test_nothing_that_is_scored_knows_phantoms() -> None:
    assert [line for path in SOURCES for line in knows_phantoms(path)] == []


def test_core_is_the_lowest_code_floor() -> None:
    core = [path for path in SOURCES if module(path).startswith("pathagent_tools.core")]
    heavy = ("torch", "openslide", "transformers", "open_clip", "skimage", "httpx")
    bad = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in core
        for line, name in imports(path)
        if name.startswith(heavy)
        or (name.startswith("pathagent") and not name.startswith("pathagent_tools.core"))
    ]
    assert bad == []


def test_broad_catches_stand_only_at_the_boundaries() -> None:
    found = {line for path in SOURCES for line in swallows_everything(path)}
    assert {line for line in found if line.split(":")[0] not in CATCHES_EVERYTHING} == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package: str) -> None:
    assert (PACKAGES[package] / "py.typed").is_file()


def test_nothing_of_a_package_is_ignored_by_git_and_so_missing_from_the_wheel() -> None:
    """Hatch leaves out of a wheel what git ignores: weights in a folder named `runs` would be lost."""
    files = [str(f) for p in PACKAGES.values() for f in p.rglob("*") if f.is_file()]
    shipped = "\n".join(f for f in files if "__pycache__" not in f)
    ignored = subprocess.run(
        ["git", "check-ignore", "--stdin"],
        input=shipped,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert ignored.stdout == ""


@pytest.mark.parametrize("name", pathagent_prompts.names())
def test_no_prompt_keeps_a_brace(name: str) -> None:
    prompt = pathagent_prompts.load(name)
    system, user = prompt.render(**dict.fromkeys(prompt.variables, "words"))
    assert not re.search(r"[{}]", system + user)


BARE_IMPORT = """
import socket, sys, time
def refuse(*_, **__):
    raise AssertionError("import pathagent opened a socket")
socket.socket = socket.create_connection = refuse
start = time.perf_counter()
import pathagent
seconds = time.perf_counter() - start
heavy = {"torch", "openslide", "transformers", "vllm", "open_clip", "skimage", "numba", "langgraph"}
print(seconds, *sorted(heavy & set(sys.modules)))
"""


def test_import_pathagent_is_quick_light_and_offline() -> None:
    runs = [
        subprocess.run(
            [sys.executable, "-c", BARE_IMPORT], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(3)
    ]
    assert [run[1:] for run in runs] == [[], [], []]
    assert min(float(run[0]) for run in runs) < 0.3


def test_every_test_against_vllm_lies_where_make_test_vllm_looks() -> None:
    tests = ROOT / "tests"
    marked = [
        p for p in tests.rglob("test_*.py") if "pytest.mark.vllm" in p.read_text() and p != Path(__file__)
    ]
    assert marked
    assert {p.parent for p in marked} == {tests / "tools" / "vlm"}
