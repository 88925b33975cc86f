"""Profiles, the command line that serves them, and whether their weights are here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pathagent.commands.models import profile_rows
from pathagent.commands.profile_checks import profile_checks
from pathagent_tools.core.errors import UserError
from pathagent_tools.vlm.adapters import ELSEWHERE, adapter_digests, adapter_folders
from pathagent_tools.vlm.profile import Profile, load_profile, profile_names, served_name
from pathagent_tools.vlm.vllm_command import server_command, server_environment
from pathagent_tools.vlm.weights import weights_folder


@pytest.fixture(autouse=True)
def no_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)


def written(folder: Path, **vlm: Any) -> Profile:
    """A profile read back from a file in `folder`."""
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"name": "mine", "encoder": "embedded", "domain": "open", "vlm": vlm}))
    return load_profile(str(path))


def adapter(folder: Path, **config: Any) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": 8, **config}))
    (folder / "adapter_model.safetensors").touch()
    return folder


def flag(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_says_what_it_is(name: str) -> None:
    vlm = load_profile(name).vlm
    if vlm.backend == "vllm":
        assert vlm.model
        assert vlm.revision is None or len(vlm.revision) == 40
        assert vlm.licence != "unknown"
        assert vlm.gpu_gb > vlm.disk_gb > 1


def test_folders_of_a_profile_are_relative_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    found = written(tmp_path, backend="vllm", model="./base", adapters={"describe": "tuned"}).vlm
    assert found.model == str(tmp_path / "base")
    assert found.adapters == {"describe": tmp_path / "tuned"}
    assert served_name(found) == "base"
    assert served_name(load_profile("vllm-qwen3-vl").vlm) == "Qwen/Qwen3-VL-8B-Instruct"


def test_an_adapter_for_a_role_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vlm\.adapters\.descrbe"):
        written(tmp_path, backend="vllm", adapters={"descrbe": "tuned"})


def test_a_hub_model_is_served_pinned_in_its_own_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    profile = load_profile("vllm-qwen3-vl")
    command = server_command(profile, "cuda", host="127.0.0.1", port=8000)
    assert flag(command, "--model") == "Qwen/Qwen3-VL-8B-Instruct"
    assert flag(command, "--revision") == profile.vlm.revision
    assert flag(command, "--dtype") == "bfloat16"
    assert "--trust-remote-code" not in command
    assert "--enforce-eager" not in command
    assert "HF_HUB_OFFLINE" not in server_environment(profile, "cuda")


def test_the_embedded_base_is_served_with_its_adapters_by_role(tmp_path: Path) -> None:
    tuned = {
        "describe": str(adapter(tmp_path / "d")),
        "answer": str(adapter(tmp_path / "a", rank_pattern={"q_proj": 24})),
    }
    profile = written(tmp_path, backend="embedded", max_context=2048, adapters=tuned)
    command = server_command(profile, "cpu", host="127.0.0.1", port=8000, prefix_caching=False)
    assert flag(command, "--dtype") == "float32"
    assert flag(command, "--max-lora-rank") == "32"
    assert flag(command, "--max-loras") == "2"
    assert f"describe={tuned['describe']}" in command
    assert "--no-enable-prefix-caching" in command
    assert server_environment(profile, "cpu")["HF_HUB_OFFLINE"] == "1"


def test_roles_that_share_a_folder_are_served_once(tmp_path: Path) -> None:
    shared = str(adapter(tmp_path / "belief", r=16))
    tuned = {"diagnose": shared, "answer": str(adapter(tmp_path / "a")), "judge": shared}
    profile = written(tmp_path, backend="embedded", adapters=tuned)
    command = server_command(profile, "cpu", host="127.0.0.1", port=8000)
    assert flag(command, "--max-loras") == "2"
    modules = {*command[command.index("--lora-modules") + 1 :]}
    assert modules == {f"diagnose+judge={shared}", f"answer={tuned['answer']}"}


def test_the_embedded_profile_has_the_adapters_that_its_file_names() -> None:
    profile = load_profile("embedded")
    command = server_command(profile, "cpu", host="127.0.0.1", port=8000)
    served = [word for word in command if word.partition("=")[0] in adapter_folders(profile.vlm.adapters)]
    assert len(served) == len({*profile.vlm.adapters.values()})
    assert {*adapter_digests(profile.vlm.adapters)} == {*profile.vlm.adapters}
    assert ELSEWHERE not in adapter_digests(profile.vlm.adapters).values()


def test_another_adapter_is_another_identity(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a")
    before = adapter_digests({"answer": folder})
    (folder / "adapter_model.safetensors").write_bytes(b"tuned again")
    assert before != adapter_digests({"answer": folder})
    assert adapter_digests({"answer": tmp_path / "not here"}) == {"answer": ELSEWHERE}


def test_the_key_that_clients_send_is_the_key_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATHAGENT_VLM_API_KEY", "abc")
    assert server_environment(load_profile("embedded"), "cpu")["VLLM_API_KEY"] == "abc"


def test_what_cannot_be_served_is_said_before_vllm_starts(tmp_path: Path) -> None:
    for spec, says in (
        ({"backend": "vllm", "model": "./absent"}, "no model.safetensors"),
        ({"backend": "embedded", "adapters": {"describe": "absent"}}, "is no LoRA adapter"),
        ({"backend": "embedded", "adapters": {"describe": str(adapter(tmp_path / "r", r=600))}}, "rank 512"),
    ):
        with pytest.raises(UserError, match=says):
            server_command(written(tmp_path, **spec), "cpu", host="127.0.0.1", port=8000)


def test_weights_are_here_only_with_every_shard(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    spec = written(tmp_path, backend="vllm", model="./base").vlm
    shards = ["model-1.safetensors", "model-2.safetensors"]
    index = {"weight_map": dict(zip("ab", shards, strict=True))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / shards[0]).touch()
    assert weights_folder(spec) is None
    (folder / shards[1]).touch()
    assert weights_folder(spec) == folder


def test_the_doctor_names_what_a_gated_hub_model_lacks_and_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pathagent_tools.vlm.vllm_command._installed", lambda name: False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    profile = load_profile("vllm-medgemma")
    nowhere = profile.vlm.model_copy(update={"url": "http://127.0.0.1:9/v1"})
    checks = {c.name: c for c in profile_checks(profile.model_copy(update={"vlm": nowhere}))}
    assert checks["gated access"].state == "missing"
    assert "hf auth login" in checks["gated access"].fix
    assert checks["VLM weights"].fix.startswith("hf download google/medgemma-4b-it --revision ")
    assert "uv sync --extra vllm" in checks["vLLM"].found
    assert checks["GPU memory"].state == "missing"
    assert "pathagent serve vlm" in checks["VLM server"].fix


def test_the_doctor_says_that_a_model_is_not_pinned(tmp_path: Path) -> None:
    profile = written(tmp_path, backend="vllm", model="org/model", disk_gb=1e6, url="http://127.0.0.1:9")
    checks = {check.name: check for check in profile_checks(profile)}
    assert checks["VLM revision"].state == "optional"
    assert checks["disk for weights"].state == "missing"
    assert "HF_HOME" in checks["disk for weights"].fix


def test_the_embedded_profile_lacks_nothing() -> None:
    assert {check.state for check in profile_checks(load_profile("embedded"))} == {"ok"}


def test_the_list_of_models_shows_licence_and_access() -> None:
    rows = {(row["profile"], row["role"]): row for row in profile_rows()}
    medgemma = rows["vllm-medgemma", "vlm"]
    assert medgemma["licence"].endswith(", gated")
    assert medgemma["present"] is False
    assert rows["embedded", "vlm"]["present"] is True
    assert rows["openai-compatible", "vlm"]["present"] is None
