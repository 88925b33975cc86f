"""The command line with a record of the examples that each process is given: `seen.RANK` beside `--out`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pathagent.cli import run
from pathagent_finetune.lora_batch import Collator


def main(argv: list[str]) -> int:
    out = Path(argv[argv.index("-o") + 1])
    record = out.with_name(f"{out.name}.seen.{os.environ.get('RANK', '0')}")
    collate = Collator.__call__

    def call(self: Collator, rows: Sequence[Mapping[str, Any]]) -> Any:
        with record.open("a") as lines:
            lines.write(" ".join(Path(row["images"][0]).stem for row in rows) + "\n")
        return collate(self, rows)

    Collator.__call__ = call  # type: ignore[method-assign]
    return run(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
