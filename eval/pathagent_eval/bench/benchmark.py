"""A benchmark as one versioned YAML file: where its data comes from, how it is read, what is scored."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import sha256_bytes, write_text_atomic
from pathagent_tools.core.geometry import Frozen

Kind = Literal["report", "question", "label", "mask", "navigation", "grounding", "safety", "perturbation"]
FOLDER = "benchmarks"


class Metric(Frozen):
    """One column of the table. The first of a benchmark is its primary score."""

    metric: str
    options: dict[str, Any] = Field(default={})

    @property
    def name(self) -> str:
        """`vqa_compat wsi-vqa`: the metric with its options' values."""
        return " ".join([self.metric, *(str(v) for v in self.options.values())])


class Metadata(Frozen):
    """What a reader of a number must know."""

    version: float
    description: str
    source: str = Field(description="where the user gets the data")
    licence: str
    comparable: str = Field(description="what published numbers may stand beside ours, and which may not")
    citation: str = ""


class Reading(Frozen):
    """How records become items: the names of their fields, as in lm-evaluation-harness."""

    records: str = Field(description="reader of the format, one of `formats.READERS`")
    files: tuple[str, ...] = Field(description="inside the data folder, glob patterns allowed")
    doc_to_id: str = ""
    doc_to_cluster: str = Field(default="", description="field of patient or slide; empty: each item its own")
    cluster_pattern: str = Field(default="", description="the part of it that names the patient")
    doc_to_text: str = ""
    doc_to_target: str = ""
    doc_to_choice: str = ""
    doc_to_topic: str = ""
    keep: dict[str, str] = Field(default={}, description="field → value: other records are left out")


class Benchmark(Frozen):
    """The content of one YAML file, named as its task."""

    task: str
    title: str
    kind: Kind
    phantom: bool = False
    reading: Reading | None = None
    labels: tuple[str, ...] = Field(default=(), description="of a label benchmark; grades in their order")
    metric_list: tuple[Metric, ...] = Field(min_length=1)
    groups: tuple[str, ...] = ()
    metadata: Metadata
    digest: str = ""

    @property
    def primary(self) -> Metric:
        """The score by which systems are compared."""
        return self.metric_list[0]


def names() -> list[str]:
    """Every benchmark that ships."""
    folder = files("pathagent_eval").joinpath(FOLDER)
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


@cache
def load(task: str) -> Benchmark:
    """A benchmark by name, or by the path of a YAML file. UserError on an unknown name or a bad file."""
    import yaml

    shipped = files("pathagent_eval").joinpath(FOLDER, f"{task}.yaml")
    path = Path(task)
    if task in names():
        text = shipped.read_text(encoding="utf-8")
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        raise UserError(f"No benchmark {task!r}. There are: {', '.join(names())}; or give a YAML file.")
    try:
        return Benchmark.model_validate({**yaml.safe_load(text), "digest": sha256_bytes(text.encode())})
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{task}: {'.'.join(map(str, first['loc']))}: {first['msg']}. Mend the YAML."
        ) from None


def fixture(task: str) -> Path:
    """Folder of the few items of our own making on which a benchmark is tested; phantoms share one."""
    name = "phantom" if load(task).phantom else task
    return Path(str(files("pathagent_eval").joinpath(FOLDER, "fixtures", name)))


def save(bench: Benchmark, path: Path) -> None:
    """The benchmark as YAML beside its results, so that they can be compared wherever it came from."""
    import yaml

    content = bench.model_dump(mode="json", exclude={"digest"}, exclude_defaults=True)
    write_text_atomic(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
