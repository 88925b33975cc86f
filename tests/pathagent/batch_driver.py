"""A driver in a process of its own, to be killed: runs the batch whose cases stand in a JSON file.

Arguments: cases.json, out, workers, stages, seconds that a case may take, local or ray.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from batch_work import SETTINGS, poisoned_work

from pathagent.batches.call import make_engine
from pathagent.batches.case import BatchCase
from pathagent.batches.run import run_batch

if __name__ == "__main__":
    listed, out, workers, stages, timeout, engine = sys.argv[1:]
    cases = [BatchCase.model_validate(case) for case in json.loads(Path(listed).read_text())]
    settings = SETTINGS.model_copy(update={"stages": stages})
    runs = make_engine(engine, int(workers), float(timeout), 0)
    for result in run_batch(cases, settings, Path(out), runs, work=poisoned_work):
        print(result.case, result.state, flush=True)
