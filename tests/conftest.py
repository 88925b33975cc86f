"""What every test may ask for: the shared public slides, and a GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of public slides and tiles, from PATHAGENT_TEST_DATA."""
    folder = os.environ.get("PATHAGENT_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no shared data")
    return Path(folder)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not _has_gpu():
        pytest.skip("no GPU")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
