"""What every test may ask for: the shared public slides and a GPU; and what no test may touch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the hub library is imported


@pytest.fixture(scope="session", autouse=True)
def cache_of_this_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Runs and features of tests never land in the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("pathagent-cache")
        patch.setenv("PATHAGENT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of public slides and tiles, from PATHAGENT_TEST_DATA."""
    folder = os.environ.get("PATHAGENT_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no shared data")
    return Path(folder)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that need a GPU say so by their marker."""
    if item.get_closest_marker("gpu") and not _has_gpu():
        pytest.skip("no GPU")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
