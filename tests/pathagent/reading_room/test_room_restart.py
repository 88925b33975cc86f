"""A run outlives the browser and the server: its events go on, and the report is the same."""

import pytest
from rooms import API
from serving import events_of, looked, served, wait_for

from pathagent.reading_room.settings import RoomSettings


def test_a_killed_server_goes_on_where_it_was(slide_folder, tmp_path, lesion_report):
    data, cache = tmp_path / "data", tmp_path / "cache"
    with served(data, slide_folder, cache, pause=0.15) as first:
        reader = first.reader()
        ids = {s["name"]: s["id"] for s in reader.get(f"{API}/slides").json()}
        case = reader.post(f"{API}/cases", json={"slides": [ids["lesion.tiff"]], "draft": True}).json()["id"]
        wait_for(reader, case, lambda view: len(looked(reader, case)) >= 2)
        port = first.port
        first.kill()

    with served(data, slide_folder, cache, port=port) as second:
        assert second.address == first.address
        view = wait_for(reader, case, lambda view: view["state"] == "waiting for review")
        report = view["review"]["report"]
        assert report["claims"] == lesion_report.model_dump(mode="json")["claims"]
        assert [e["pixels_sha256"] for e in report["evidence"]] == [
            e.pixels_sha256 for e in lesion_report.evidence
        ]
        events = events_of(reader, case)
        states = [e["state"] for e in events if e["kind"] == "run_state"]
        assert states == ["queued", "running", "queued", "running", "waiting"]
        ids = [e["seq"] for e in events]
        assert ids == sorted(set(ids))

        half = ids[len(ids) // 2]
        assert [e["seq"] for e in events_of(reader, case, after=half)] == [i for i in ids if i > half]
        triages = [e for e in events if e["kind"] == "node_finished" and e["node"] == "triage"]
        assert len(triages) == 1


def test_a_server_that_is_told_to_end_pauses_and_later_goes_on(slide_folder, tmp_path):
    data, cache = tmp_path / "data", tmp_path / "cache"
    with served(data, slide_folder, cache, pause=0.3) as first:
        reader = first.reader()
        ids = {s["name"]: s["id"] for s in reader.get(f"{API}/slides").json()}
        case = reader.post(f"{API}/cases", json={"slides": [ids["plain.tiff"]], "draft": True}).json()["id"]
        wait_for(reader, case, lambda view: looked(reader, case))
        port = first.port
    with served(data, slide_folder, cache, port=port):
        view = wait_for(reader, case, lambda view: view["state"] == "waiting for review")
        assert view["review"]["version"]["number"] == 1


def test_stop_and_go_on(slide_folder, tmp_path):
    with served(tmp_path / "data", slide_folder, tmp_path / "cache", pause=0.3) as server:
        reader = server.reader()
        ids = {s["name"]: s["id"] for s in reader.get(f"{API}/slides").json()}
        made = reader.post(f"{API}/cases", json={"slides": [ids["plain.tiff"]], "draft": True}).json()
        case, run = made["id"], made["runs"][0]["id"]
        wait_for(reader, case, lambda view: looked(reader, case))
        reader.post(f"{API}/cases/{case}/runs/{run}/stop")
        view = wait_for(reader, case, lambda view: view["runs"][0]["state"] == "stopped")
        assert view["review"] is None
        reader.post(f"{API}/cases/{case}/runs/{run}/resume")
        wait_for(reader, case, lambda view: view["state"] == "waiting for review")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_another_host_without_users_is_refused(host, tmp_path, slide_folder, capsys):
    from pathagent.cli import run

    folder, data = str(slide_folder), str(tmp_path / "data")
    assert run(["serve", "--host", host, "--folder", folder, "--data", data, "--port", "0"]) == 2
    assert "pathagent user add NAME" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(tmp_path, slide_folder, capsys):
    import socket

    from pathagent.cli import run

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        folder, data = str(slide_folder), str(tmp_path / "data")
        assert run(["serve", "--folder", folder, "--data", data, "--port", port]) == 2
    assert "Choose another with --port" in capsys.readouterr().err


def test_no_answer_waits_for_the_ack_of_its_own_head(tmp_path):
    """asyncio sends small answers at once (TCP_NODELAY) only on sockets that name their protocol."""
    import asyncio
    import socket

    from pathagent.reading_room.serve import _listening

    async def delays() -> int:
        found = asyncio.get_running_loop().create_future()

        def accepted(reader, writer):
            found.set_result(
                writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            )
            writer.close()

        listening = _listening(RoomSettings(data=tmp_path, port=0))
        async with await asyncio.start_server(accepted, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname()[:2])
            sent_at_once = await found
            writer.close()
        return sent_at_once

    assert asyncio.run(delays()) != 0
