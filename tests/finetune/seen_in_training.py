"""The command line with a record of the examples that each process is given: `seen.RANK` beside `--out`.

Where `DIE_WHEN` names a file, a process kills itself once there is one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pathagent.cli import run
from pathagent_finetune.lora_batch import Collator


def main(argv: list[str]) -> int:
    out = Path(argv[argv.index("-o") + 1])
    record = out.with_name(f"{out.name}.seen.{os.environ.get('RANK', '0')}")
    collate, end = Collator.__call__, os.environ.get("DIE_WHEN")

    def call(self: Collator, rows: Sequence[Mapping[str, Any]]) -> Any:
        if end and Path(end).is_file():
            os.kill(os.getpid(), signal.SIGKILL)
        with record.open("a") as lines:
            lines.write(" ".join(Path(row["images"][0]).stem for row in rows) + "\n")
        return collate(self, rows)

    Collator.__call__ = call  # type: ignore[method-assign]
    return run(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
