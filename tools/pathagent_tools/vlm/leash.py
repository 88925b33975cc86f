"""`python -m pathagent_tools.vlm.leash COMMAND …`: a command that does not outlive whoever started it.

The starter holds the other end of this process's standard input. When the starter ends in whatever way,
kill -9 among them, that end closes, and the leash kills its whole process group. SIGTERM is handed on to
the command, whose exit code becomes the leash's own. The leash must lead its process group
(`start_new_session`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import Final

COMMAND: Final = (sys.executable, "-m", "pathagent_tools.vlm.leash")


def _kill_group_at_end_of_input() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run the command to its end; its exit code, or 128 + the number of the signal that ended it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    threading.Thread(target=_kill_group_at_end_of_input, daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
