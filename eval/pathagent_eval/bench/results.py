"""The results of a benchmark: every number with what it takes to trust it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.scoring.resampling import Verdict

RESULTS = "results.json"
SYSTEM = "system"
SHUFFLED = "shuffled options"


class Number(Frozen):
    """One score of one system. `value` is the ratio over items, `corpus` the one that a paper prints."""

    value: float
    low: float
    high: float
    n: int
    clusters: int
    n_unparsed: int
    n_abstained: int
    n_failed: int
    corpus: float | None = None
    higher_is_better: bool = True
    signature: str
    data_sha256: str
    seed: int


class PairedGain(Frozen):
    """Ours less theirs over the same items."""

    value: float
    low: float
    high: float
    p: float
    n: int
    clusters: int
    verdict: Verdict


class Results(Frozen):
    """What `results.json` holds. `systems`: the system, each floor and each control → metric → number."""

    task: str
    title: str
    version: float
    benchmark_sha256: str
    data_sha256: str
    predictions_sha256: dict[str, str]
    method: str
    seed: int
    n: int
    clusters: int
    primary: str
    systems: dict[str, dict[str, Number]]
    controls: tuple[str, ...] = Field(default=(), description="of `systems`: shown beside, but no floor")
    best_floor: str | None = None
    gain: PairedGain | None = Field(default=None, description="of the primary score over the best floor")
    groups: dict[str, dict[str, Number]] = Field(default={}, description="`scanner: aurora` → primary score")
    curves: dict[str, Any] = Field(default={})
    metadata: dict[str, Any] = Field(default={})
    package_version: str

    def save(self, folder: Path) -> None:
        """Write `folder/results.json`."""
        write_text_atomic(folder / RESULTS, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Results of a folder, or of the file itself. UserError where there are none."""
        path = folder / RESULTS if folder.is_dir() else folder
        if not path.is_file():
            raise UserError(
                f"{folder} has no {RESULTS}. Type: pathagent eval score PREDICTIONS --benchmark …"
            )
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise UserError(f"{path} is no results file: {error.errors()[0]['msg']}. Score again.") from None
