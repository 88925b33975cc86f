"""The command line: finds the command, runs it, and turns every failure into one sentence and a code.

Exit codes: 0 done (a report or a stated abstention), 1 our fault, 2 the user's, 3 a batch in which
some failed, 4 paused at a checkpoint, 130 interrupted.
"""

from __future__ import annotations

import errno
import logging
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from pathagent.commands import (
    ask,
    audit,
    batch,
    cases,
    demo,
    doctor,
    encode,
    generate,
    models,
    opinions,
    phantom,
    report,
    review,
    serve,
    slide,
    user,
)
from pathagent.commands.console import say
from pathagent.commands.report import PAUSED
from pathagent_tools.core.errors import PathAgentError, UserError

COMMANDS_GROUP: Final = "pathagent.commands"
"""Entry-point group: name → a typer app, shown as a command of that name."""
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
NO_ROOM: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
"""Failures of the disk that a user can mend."""


class PluginGroup(TyperGroup):
    """Our commands, then those of installed packages; a plug-in is imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return [*own, *sorted(name for name in _plugins() if name not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in _plugins():
            return own
        entry = _plugins()[cmd_name]
        try:
            return _command(entry)
        except (ImportError, AttributeError) as error:
            say(f"The command {cmd_name!r} of {entry.value} cannot be loaded: {error}")
            return None


def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=COMMANDS_GROUP)}


def _command(entry: EntryPoint) -> Any:
    """The entry's app as a command of ours; mounted, so that it brings no completion options along."""
    shelf = typer.Typer(add_completion=False)
    shelf.add_typer(entry.load(), name=entry.name)
    return typer.main.get_group(shelf).commands[entry.name]


app = typer.Typer(
    cls=PluginGroup,
    name="pathagent",
    help="A slide goes in, an evidence-linked report draft comes out. Research use only.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("report")(report.report)
app.command("ask")(ask.ask)
app.command("batch")(batch.batch)
app.command("encode")(encode.encode)
app.command("review")(review.review)
app.add_typer(generate.app, name="generate")
app.add_typer(slide.app, name="slide")
app.add_typer(cases.app, name="cases")
app.add_typer(phantom.app, name="phantom")
app.add_typer(models.app, name="models")
app.add_typer(serve.app, name="serve")
app.add_typer(user.app, name="user")
app.add_typer(audit.app, name="audit")
app.command("opinions")(opinions.opinions)
app.command("doctor")(doctor.doctor)


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and the log.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    logging.basicConfig(level=logging.DEBUG if debug else logging.ERROR, format="%(name)s: %(message)s")
    if not debug:
        warnings.simplefilter("ignore")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if version:
        from pathagent import __version__

        print(__version__)
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


def run(argv: Sequence[str]) -> int:
    """Run one command line (without the program's name) and return its exit code."""
    try:
        code = app(list(argv), prog_name="pathagent", standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the outermost boundary: every failure becomes a sentence
        if "--debug" in argv:
            traceback.print_exception(error)
        return _explain(error, argv)
    if code == INTERRUPTED:
        say("Interrupted. The same command goes on from the last checkpoint.")
    return code if isinstance(code, int) else 0


def _explain(error: Exception, argv: Sequence[str]) -> int:
    """Say in one line what went wrong and what to type next; the exit code of that failure."""
    if isinstance(error, TyperException):
        ctx = getattr(error, "ctx", None)
        say(f"{_sentence(error.format_message())} See: {_help(ctx)}")
        return error.exit_code
    if isinstance(error, PathAgentError):
        say(str(error))
        if error.exit_code == PAUSED:
            say(f"To resume, type the same command again: {shlex.join(['pathagent', *argv])}")
        return error.exit_code
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        say(
            f"{error.strerror}: {error.filename}. Free it, or set --out and PATHAGENT_CACHE to other folders."
        )
        return UserError.exit_code
    say(f"Internal error, our fault: {type(error).__name__}: {error}".splitlines()[0])
    if "--debug" not in argv:
        say(f"To see where, type: {shlex.join(['pathagent', '--debug', *argv])}")
    return PathAgentError.exit_code


def _sentence(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text if text.endswith("?") else f"{text}."


def _help(ctx: typer.Context | None) -> str:
    return f"{ctx.command_path if ctx is not None else 'pathagent'} --help"


def main() -> None:
    """Entry point of the `pathagent` script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
