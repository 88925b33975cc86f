"""A case of a batch, how a batch is run, and what became of a case: small records that cross processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pathagent.budget import Budget
from pathagent.state import CompareWith
from pathagent_tools.core.files import canonical_json, sha256_bytes
from pathagent_tools.core.geometry import Frozen

Stages = Literal["triage", "triage,measure", "all"]


class BatchSlide(Frozen):
    """One slide of a case. `mpp`: µm per level-0 px, None where the file's own word is taken."""

    path: str
    mpp: float | None = None

    @property
    def name(self) -> str:
        """File name."""
        return Path(self.path).name


class BatchCase(Frozen):
    """One case of a manifest. The reference is for scoring only and never travels to a worker."""

    name: str
    slides: tuple[BatchSlide, ...]
    history: str | None = None
    specimen: str | None = None
    patient: str | None = None
    reference: str | None = None


class Settings(Frozen):
    """What holds for every case of a batch. A batch goes on only under the settings it was begun with."""

    stages: Stages = "all"
    profile: str = "embedded"
    models: str = Field(default="", description="digest of what the profile says and of the weights here")
    vlm_url: str | None = None
    vlm_model: str | None = None
    budget: Budget = Budget()
    seed: int = 0
    compare: CompareWith = CompareWith()

    def deciding(self) -> dict[str, Any]:
        """All that decides a result. What is compared with counts by its bytes, not by its place."""
        decides = self.model_dump(mode="json", exclude={"compare"})
        if self.compare != CompareWith():
            decides["compare"] = [self.compare.knowledge_digest, self.compare.index_digest]
        return decides


class Job(Frozen):
    """A case on its way to a worker."""

    case: BatchCase
    settings: Settings
    out: str = Field(description="folder of the batch")
    threads: int = Field(default=1, ge=1, description="threads of the models in one worker")

    @property
    def folder(self) -> Path:
        """Where the case's output goes."""
        return case_folder(Path(self.out), self.case.name)

    @property
    def digest(self) -> str:
        """Changes with all that decides the result: settings, history, and each file's size and time."""
        files = []
        for slide in self.case.slides:
            path = Path(slide.path)
            stat = path.stat() if path.exists() else None
            files.append([slide.path, slide.mpp, stat and stat.st_size, stat and stat.st_mtime_ns])
        decides = [self.case.history, self.case.specimen, self.settings.deciding(), files]
        return sha256_bytes(canonical_json(decides).encode())[:32]


class CaseResult(Frozen):
    """What became of a case. `kind`, `reason`: why it failed or abstains; `outcome`: what it ended in."""

    case: str
    state: Literal["done", "failed"]
    kind: str = ""
    reason: str = ""
    outcome: str = ""
    diagnosis: str = ""
    text: str = Field(default="", description="the report's sentences; empty where it abstains")
    slides: int = 1
    seconds: float = 0.0
    attempts: int = 1
    digest: str = ""
    folder: str = Field(default="", description="relative to the batch's folder")
    thumbnail: str = Field(default="", description="JPEG of the first slide, base64")
    traceback: str = ""


def case_folder(out: Path, name: str) -> Path:
    """`OUT/cases/NAME`."""
    return out / "cases" / name
