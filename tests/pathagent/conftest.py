"""Fixtures of the graph's tests: tiny slides, a cache of their own, and one way to call the API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from stand_ins import draft_tiny
from tiny_slides import paint, write_slide

from pathagent_tools.core.records import Report

Draft = Callable[..., Report]


@pytest.fixture(scope="session")
def lesion_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slides") / "lesion.tiff", paint(lesion=True))


@pytest.fixture(scope="session")
def plain_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slides") / "plain.tiff", paint(lesion=False, seed=1))


@pytest.fixture(scope="session")
def brown_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slides") / "brown.tiff", paint(lesion=True, brown=True))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATHAGENT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def draft() -> Draft:
    """`pathagent.draft_report` with the tiny models and a profile that is not bound to phantoms."""
    return draft_tiny


@pytest.fixture(scope="session")
def lesion_report(lesion_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report of `lesion_slide` by an ordinary run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATHAGENT_CACHE", str(tmp_path_factory.mktemp("cache")))
        return draft_tiny(lesion_slide)
