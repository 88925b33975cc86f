"""A child process that touches slide files: a plain interpreter with a pipe, and its end.

It does not import the caller's script (so no `__main__` guard is needed), and what it sends back is JSON
and raw bytes: a file that corrupts it cannot send pickled objects.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe


def start_child(
    module: str, arguments: Sequence[str], *, share: Sequence[int] = ()
) -> tuple[subprocess.Popen[bytes], Connection]:
    """Run `python -m MODULE FD ARGUMENTS…` with one thread; FD is its end of the returned pipe.

    share: file descriptors that the child inherits under the same numbers.
    """
    ours, theirs = Pipe()
    search = os.pathsep.join(p for p in sys.path if p)
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with theirs:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(theirs.fileno()), *arguments],
            pass_fds=[theirs.fileno(), *share],
            env={**os.environ, "PYTHONPATH": search, **one_thread},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return child, ours


def end_child(child: subprocess.Popen[bytes], pipe: Connection) -> None:
    """Close the pipe, which ends a healthy child; kill one that does not go."""
    pipe.close()
    try:  # a dead or closing child tells its own exit status first
        child.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def death(code: int | None) -> str:
    """What an exit status says, in words."""
    if code is None or code == 0:
        return "it closed"
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit status {code}"
