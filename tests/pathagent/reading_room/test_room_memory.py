"""The server's memory: what a run freed is used again while it lasts, and is not kept after it."""

import subprocess
import sys
import time

import pytest
from rooms import API

SCRIPT = """
import threading
from pathlib import Path
import numpy as np
from pathagent.reading_room.memory import give_back, keep_freed_blocks

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

def work():
    blocks = [np.ones(8 << 20, np.uint8) for _ in range(20)]
    told.append(resident() - before)
    alive.append(blocks[-1])

keep_freed_blocks()
before, told, alive = resident(), [], []
thread = threading.Thread(target=work)
thread.start()
thread.join()
told.append(resident() - before)
give_back()
print(*told, resident() - before)
"""


def test_freed_blocks_are_kept_until_they_are_given_back():
    """In a process of its own, for which it is set."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, check=True)
    held, kept, left = map(int, done.stdout.split())
    assert held >= 155
    assert kept >= 155
    assert left <= 20


def test_memory_is_given_back_after_each_run(waiting, monkeypatch: pytest.MonkeyPatch):
    _, visit, case = waiting
    given = []
    monkeypatch.setattr("pathagent.reading_room.line.give_back", lambda: given.append(time.monotonic()))
    anna = visit("anna")
    for asked in (1, 2):
        anna.post(f"{API}/cases/{case}/questions", json={"question": "Is there tumour?"})
        anna.settled(case)
        end = time.monotonic() + 10
        while len(given) < asked and time.monotonic() < end:
            time.sleep(0.01)
        assert len(given) == asked
