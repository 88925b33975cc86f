"""`pathagent user` and what it opens: a name, a link, a token."""

import io

import pytest
from rooms import API, PASSWORD, opened_room, visitors

from pathagent.cli import run


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert run(["user", "add", "carla", "--data", str(tmp_path / "data"), "--password-stdin"]) == 0
    return tmp_path / "data"


def printed(arguments, capsys):
    assert run(arguments) == 0
    return capsys.readouterr().out.strip()


def test_a_user_signs_in_comes_by_link_and_sends_a_token(data, slide_folder, capsys):
    link = printed(["user", "link", "carla", "--data", str(data)], capsys)
    token = printed(["user", "token", "carla", "--data", str(data)], capsys)
    with opened_room(data, slide_folder) as room, visitors(room) as visit:
        assert visit("carla").get(f"{API}/me").json()["by"] == "cookie"
        guest = visit()
        guest.get(link)
        assert guest.get(f"{API}/me").json()["name"] == "carla"
        said = visit().get(f"{API}/me", headers={"authorization": f"Bearer {token}"}).json()
        assert (said["name"], said["by"]) == ("carla", "token")
        assert visit().get(f"{API}/me", headers={"authorization": "Bearer x"}).status_code == 401


def test_who_guesses_passwords_has_to_wait(data, slide_folder):
    with opened_room(data, slide_folder) as room, visitors(room) as visit:
        guest = visit()
        said = [guest.post("/sign-in", content="name=carla&password=wrong").text for _ in range(6)]
        assert "do not belong together" in said[4] and "Too many wrong passwords" in said[5]
        assert "Too many" in guest.post("/sign-in", content=f"name=carla&password={PASSWORD}").text
        room.patience.wait_s = 0.0
        guest.post("/sign-in", content=f"name=carla&password={PASSWORD}")
        assert guest.get(f"{API}/me").json()["name"] == "carla"


def test_a_token_for_nobody_is_refused(data, capsys):
    assert run(["user", "token", "nobody", "--data", str(data)]) == 2
    assert "pathagent user add nobody" in capsys.readouterr().err
