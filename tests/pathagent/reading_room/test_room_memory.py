"""The server's memory: what was freed is not kept. In a process of its own, for which it is set."""

import subprocess
import sys

SCRIPT = """
from pathlib import Path
import numpy as np
from pathagent.reading_room.memory import give_back_large_blocks

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

give_back_large_blocks()
np.ones(24 << 20, np.uint8)  # once freed, glibc would keep blocks of up to this size in its heap
before = resident()
blocks = [np.ones(8 << 20, np.uint8) for _ in range(20)]
held = resident() - before
del blocks[:-1]
print(held, resident() - before)
"""


def test_large_blocks_go_back_to_the_system_when_they_are_freed():
    done = subprocess.run([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, check=True)
    held, kept = map(int, done.stdout.split())
    assert held >= 155
    assert kept <= 20
