"""`pathagent serve`: the chat page. `pathagent serve vlm`: the profile's VLM behind vLLM. Until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from pathagent.commands.console import emit, say
from pathagent.commands.options import (
    CaseIndexFolder,
    Data,
    DatabaseUrl,
    Knowledge,
    Profile,
    Seed,
    VlmModel,
    VlmUrl,
)
from pathagent_tools.core.errors import ModelUnavailableError, UserError

app = typer.Typer(help="The chat page on this machine, or a model server (serve vlm).")


@app.callback(invoke_without_command=True)
def page(
    ctx: typer.Context,
    folder: Annotated[
        list[Path] | None, typer.Option("--folder", help="Folder of slides that may be opened; repeatable.")
    ] = None,
    uploads: Annotated[
        Path | None, typer.Option("--uploads", help="Folder that readers may send slides to, from the page.")
    ] = None,
    data: Data = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8860,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; another than this machine needs users.")
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Name under which readers reach this host.")
    ] = None,
    database: DatabaseUrl = None,
    profile: Profile = "embedded",
    vlm_url: VlmUrl = None,
    vlm_model: VlmModel = None,
    knowledge: Knowledge = None,
    cases: CaseIndexFolder = None,
    seed: Seed = 0,
) -> None:
    """Open the chat page: slides, questions, evidence and reports on this machine. Research use only."""
    if ctx.invoked_subcommand is not None:
        return
    from pathagent.reading_room.serve import serve_room
    from pathagent.reading_room.settings import RoomSettings, default_data

    settings = RoomSettings(
        data=(data or default_data()).expanduser().resolve(),
        folders=tuple(folder or [Path.cwd()]),
        uploads=None if uploads is None else _made(uploads),
        host=host,
        port=port,
        names=tuple(name or ()),
        profile=profile,
        vlm_url=vlm_url,
        vlm_model=vlm_model,
        database=database,
        knowledge=None if knowledge is None else knowledge.expanduser().resolve(),
        cases=None if cases is None else cases.expanduser().resolve(),
        seed=seed,
    )
    serve_room(settings, say=say, emit=emit)


def _made(folder: Path) -> Path:
    """The folder of uploads, made where it is absent."""
    folder = folder.expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write {folder}: {error.strerror}. Choose another --uploads.") from None
    return folder


@app.command("vlm")
def vlm(
    profile: Profile = "embedded",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; default: this machine only.")] = (
        "127.0.0.1"
    ),
) -> None:
    """Serve the profile's VLM and adapters with vLLM; the base URL is printed when it answers."""
    from pathagent.runs import cache_dir
    from pathagent_tools.vlm.profile import load_profile
    from pathagent_tools.vlm.serving import reason_in, running_server

    found = load_profile(profile)
    log = cache_dir() / "serve" / f"vllm-{port}.log"
    if host != "127.0.0.1" and not os.environ.get(found.vlm.api_key_env):
        say(f"Whoever reaches {host} can use this server. To ask for a key, set {found.vlm.api_key_env}.")
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            say(f"Starting vLLM, which takes minutes. Its log: {log}")
            with _shown_waiting() as waiting:
                server = stack.enter_context(
                    running_server(found, log=log, host=host, port=port, waiting=waiting)
                )
            emit(server.url)
            say(f"In another terminal: pathagent report SLIDE --profile {profile} --vlm-url {server.url}")
            say("Ctrl-C stops it.")
            server.process.wait()
            said = reason_in(log.read_text(encoding="utf-8", errors="replace"))
    except KeyboardInterrupt:
        say("Stopped.")
        return
    raise ModelUnavailableError(f"vLLM ended by itself: {said} (whole log: {log})")


@contextmanager
def _shown_waiting() -> Iterator[Callable[[str], None] | None]:
    """A listener that shows what the server does while it starts; None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("starting vLLM") as status:
        yield lambda line: status.update(f"starting vLLM: {escape(line[:90])}")
