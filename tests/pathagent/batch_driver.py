"""A driver in a process of its own, to be killed: runs the batch whose cases stand in a JSON file.

Arguments: cases.json, out, workers, stages.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from batch_work import SETTINGS, tiny_work

from pathagent.batches.case import BatchCase
from pathagent.batches.engine import ProcessEngine
from pathagent.batches.run import run_batch

if __name__ == "__main__":
    listed, out, workers, stages = sys.argv[1:]
    cases = [BatchCase.model_validate(case) for case in json.loads(Path(listed).read_text())]
    settings = SETTINGS.model_copy(update={"stages": stages})
    engine = ProcessEngine(int(workers), timeout_s=600)
    for result in run_batch(cases, settings, Path(out), engine, work=tiny_work):
        print(result.case, result.state, flush=True)
