"""The same batch on a real Ray cluster: cases that kill their worker, nodes that are killed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_work import SETTINGS, ColourActor, Inline, case, poisoned_work, shared_work, tiny_work

import pathagent
from pathagent.batches import ray_engine
from pathagent.batches.call import make_engine
from pathagent.batches.case import BatchCase, CaseResult, Job
from pathagent.batches.ray_engine import RayEngine
from pathagent.batches.run import run_batch
from pathagent.batches.work import server_of
from pathagent_tools.core.errors import UserError

MEASURE = SETTINGS.model_copy(update={"stages": "triage,measure"})
STEADY = ("outcome", "state", "kind", "reason", "slides", "folder")

NewCluster = Callable[[int], Any]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[NewCluster]:
    """A cluster of so many nodes of one CPU each, whose workers can import the tests."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*sys.path, str(Path(__file__).parent)]))
    made: list[Any] = []

    def start(nodes: int) -> Any:
        own = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
        made.append(Cluster(initialize_head=True, head_node_args=own))
        for _ in range(nodes - 1):
            made[0].add_node(num_cpus=1, object_store_memory=80_000_000)
        ray.init(address=made[0].address, log_to_driver=False)
        return made[0]

    yield start
    ray.shutdown()
    for one in made:
        one.shutdown()


def finished(
    cases: list[BatchCase], out: Path, engine: Any, work: Any = poisoned_work
) -> dict[str, CaseResult]:
    return {r.case: r for r in run_batch(cases, MEASURE, out, engine, work=work)}


def test_cases_that_kill_their_worker_are_rows_and_the_others_are_as_on_one_machine(
    cluster: NewCluster, lesion_slide: Path, plain_slide: Path, tmp_path: Path
) -> None:
    cluster(2)
    (tmp_path / "cut.tiff").write_bytes(lesion_slide.read_bytes()[:9000])
    good = [case("A", lesion_slide), case("C", tmp_path / "cut.tiff")]
    bad = [case("abort", plain_slide), case("greedy", plain_slide)]
    found = finished([*bad, *good], tmp_path / "ray", RayEngine(2, timeout_s=600))
    assert {found[c.name].kind for c in bad} == {"aborted", "out of memory"}
    alone = finished(good, tmp_path / "alone", Inline())
    for name, result in alone.items():
        assert [getattr(found[name], key) for key in STEADY] == [getattr(result, key) for key in STEADY]
    assert found["C"].kind == "damaged"


@pytest.mark.slow
def test_a_case_that_hangs_is_stopped_and_its_place_is_free_again(
    cluster: NewCluster, lesion_slide: Path, tmp_path: Path
) -> None:
    cluster(1)
    cases = [case("hang", lesion_slide), case("A", lesion_slide)]
    found = finished(cases, tmp_path / "out", RayEngine(timeout_s=90))
    assert (found["hang"].kind, found["A"].state) == ("timeout", "done")


@pytest.mark.slow
def test_cases_of_a_node_that_is_killed_are_done_on_another(
    cluster: NewCluster, lesion_slide: Path, tmp_path: Path
) -> None:
    made = cluster(3)
    doomed = sorted(made.worker_nodes, key=str)
    cases = [case(f"case {i}", shutil.copy(lesion_slide, tmp_path / f"{i}.tiff")) for i in range(16)]
    ended: dict[str, CaseResult] = {}
    for result in run_batch(cases, MEASURE, tmp_path / "out", RayEngine(timeout_s=600), work=tiny_work):
        ended[result.case] = result
        if len(ended) in (3, 6):
            made.remove_node(doomed.pop(), allow_graceful=False)
    assert {r.state for r in ended.values()} == {"done"}
    assert len(ended) == 16


@pytest.mark.slow
def test_a_cluster_that_has_lost_every_node_with_a_cpu_says_so(
    cluster: NewCluster, lesion_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(1)
    monkeypatch.setattr(ray_engine, "ROOM_S", 0.5)
    monkeypatch.setattr(ray_engine, "_room", lambda running: {})
    with pytest.raises(UserError, match="no node with a CPU"):
        finished([case("A", lesion_slide)], tmp_path / "out", RayEngine())


@pytest.mark.slow
def test_actors_encode_for_all_workers_and_nothing_changes(
    cluster: NewCluster, lesion_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(1)
    monkeypatch.setattr(ray_engine, "EncoderActor", ColourActor)
    shared = finished([case("A", lesion_slide)], tmp_path / "ray", RayEngine(encoders=1), shared_work)
    alone = finished([case("A", lesion_slide)], tmp_path / "alone", Inline())
    assert shared["A"].state == "done"
    assert (tmp_path / "ray/cases/A/triage.json").read_text() == (
        tmp_path / "alone/cases/A/triage.json"
    ).read_text()
    assert [getattr(shared["A"], key) for key in STEADY] == [getattr(alone["A"], key) for key in STEADY]


def test_an_encoder_of_which_more_than_vectors_is_asked_is_not_shared() -> None:
    with pytest.raises(UserError, match="leave --encoders out"):
        ray_engine.EncoderActor("embedded").card()


def test_several_model_servers_share_the_cases_and_a_case_keeps_its_own(lesion_slide: Path) -> None:
    settings = SETTINGS.model_copy(update={"vlm_url": "http://a/v1, http://b/v1"})
    jobs = [Job(case=case(f"c{i}", lesion_slide), settings=settings, out="out") for i in range(40)]
    chosen = [server_of(job) for job in jobs]
    assert chosen == [server_of(job) for job in jobs]
    assert 8 < chosen.count("http://a/v1") < 32 and chosen.count("http://b/v1") == 40 - chosen.count(
        "http://a/v1"
    )
    assert server_of(jobs[0].model_copy(update={"settings": SETTINGS})) is None


@pytest.mark.parametrize(("more", "said"), [
    ({"engine": "spark"}, "Known: local; ray"),
    ({"encoders": 2}, "add --engine ray"),
])  # fmt: skip
def test_an_engine_that_cannot_run_is_refused_before_any_work(lesion_slide, tmp_path, more, said) -> None:
    with pytest.raises(UserError, match=said):
        pathagent.batch(lesion_slide, tmp_path / "out", **more)
    assert not (tmp_path / "out").exists()


def test_without_ray_the_engine_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pathagent\[ray\]"):
        make_engine("ray", 1, 60.0, 0)
