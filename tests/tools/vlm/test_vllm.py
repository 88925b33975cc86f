"""The shipped VLM and adapters behind a real vLLM server on the CPU: `make test-vllm`.

Roles without a shipped adapter are lent small random ones, two of them the same. One server serves the
whole file; the last test kills it.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml
from tiny_vlm import all_roles

from pathagent_eval import recorded
from pathagent_eval.parity import TracedVLM, compare, reports_through, traced
from pathagent_eval.recorded import record
from pathagent_tools.core.errors import (
    ContextExceededError,
    ModelServerAbsentError,
    ModelServerGoneError,
    UnknownModelError,
    UserError,
)
from pathagent_tools.core.protocols import ModelRequest
from pathagent_tools.encoders.registry import load_encoder
from pathagent_tools.phantom.tile import sample_tile
from pathagent_tools.vlm import roles
from pathagent_tools.vlm.adapters import adapter_folders, adapter_names
from pathagent_tools.vlm.openai import OpenAIVLM
from pathagent_tools.vlm.profile import EMBEDDED_WEIGHTS, Profile, load_profile, open_vlm
from pathagent_tools.vlm.schema_check import fault
from pathagent_tools.vlm.serving import Server, running_server

pytestmark = pytest.mark.vllm

LENT = {"describe": "describe", "verify": "verify", "diagnose": "belief", "judge": "belief"}
"""role → folder of a random adapter; a role that ships with one keeps its own."""
IMAGE = sample_tile(3_000_000, split="test").image
LOOK = roles.describe(IMAGE, field_um=192)
EQUAL = 0.95
"""Least share of the same JSON; what differs must be a near tie."""


def write_adapter(folder: Path, seed: int) -> None:
    """A random LoRA of rank 4 on the language model, weak enough to leave it a language."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    config = LoraConfig(
        r=4,
        lora_alpha=1,
        target_modules=r".*language_model.*\.(q_proj|v_proj)",
        init_lora_weights=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base = AutoModelForImageTextToText.from_pretrained(EMBEDDED_WEIGHTS)
        get_peft_model(base, config).save_pretrained(folder)


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """The embedded profile with the lent adapters, written to a file as a user would write it."""
    folder = tmp_path_factory.mktemp("tuned")
    content = load_profile("embedded").model_dump(mode="json")
    lent = {role: name for role, name in LENT.items() if role not in content["vlm"]["adapters"]}
    for seed, name in enumerate(sorted(set(lent.values()))):
        write_adapter(folder / name, seed)
    content["vlm"]["adapters"] |= lent
    path = folder / "tuned.yaml"
    path.write_text(yaml.safe_dump(content | {"name": "tuned"}))
    return load_profile(str(path))


@pytest.fixture(scope="session")
def here(profile: Profile) -> TracedVLM:
    """The same profile in this process."""
    return traced(profile)


@pytest.fixture(scope="session")
def server(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("vllm") / "log"
    with running_server(profile, log=log, ready_s=1200) as found:
        yield found


@pytest.fixture(scope="session")
def served(profile: Profile, server: Server) -> Iterator[OpenAIVLM]:
    """The profile as the graph opens it: roles with an adapter go to it."""
    found = open_vlm(profile, vlm_url=server.url)
    assert isinstance(found, OpenAIVLM)
    yield found
    found.close()


@pytest.fixture(scope="session")
def base(server: Server) -> Iterator[OpenAIVLM]:
    """The base alone."""
    found = OpenAIVLM(server.url)
    yield found
    found.close()


CASES = (
    ("invasive tumour, solid nests, grade high", "solid carcinoma, grade 3 (90 %)", "Solid nests are seen."),
    (
        "invasive tumour, irregular glands, grade low",
        "adenocarcinoma, grade 1 (85 %)",
        "Necrosis is present.",
    ),
    ("benign epithelium, round glands", "no significant abnormality (95 %)", "The nuclear grade is high."),
)


def questions() -> list[ModelRequest]:
    """Twenty requests of every role but one, about tiles and cases that hold together."""
    tiles = [sample_tile(3_000_010 + i, split="test").image for i in range(7)]
    asked = [roles.describe(tile, field_um=192) for tile in tiles]
    slide = roles.slide_text("S1", 2.4, 1)
    for tile, (look, differential, claim) in zip(tiles, CASES, strict=False):
        ledger = f"E1 S1 centre: {look}\nE2 S1 upper left: stroma"
        asked += [
            roles.verify(claim, f"E1 S1 centre: {look}", [tile]),
            roles.diagnose(slide, ledger),
            roles.judge("Draft a report.", differential, ledger),
            roles.write(slide, differential, ledger, ["E1", "E2"]),
        ]
    candidates = {"K1": "K1 stroma: relevance 1", "K2": "K2 mucin: relevance 2"}
    return [*asked, roles.navigate("Draft a report.", candidates, 1)]


def test_every_role_answers_json_under_its_schema_with_an_image(profile: Profile, served: OpenAIVLM) -> None:
    names = adapter_names(profile.vlm.adapters)
    requests = [replace(request, images=(IMAGE,)) for request in all_roles()]
    for request, done in zip(requests, served.generate(requests), strict=True):
        assert fault(done.data, request.schema) is None
        assert list(done.data) == list(request.schema["properties"])
        assert done.adapter == names.get(request.role)


def test_every_adapter_is_served_once_by_the_names_of_its_roles(profile: Profile, server: Server) -> None:
    cards = httpx.get(f"{server.url}/models", trust_env=False).json()["data"]
    tuned = {card["id"]: Path(card["root"]) for card in cards if card["parent"]}
    assert tuned == adapter_folders(profile.vlm.adapters)
    assert any("+" in name for name in tuned)


def test_json_is_spaced_as_in_training(base: OpenAIVLM) -> None:
    (done,) = base.generate([LOOK])
    assert done.text == json.dumps(done.data, ensure_ascii=False)


def test_an_adapter_answers_by_its_name_and_is_not_the_base(served: OpenAIVLM, base: OpenAIVLM) -> None:
    tuned, plain = served.generate([LOOK])[0], base.generate([LOOK])[0]
    assert (tuned.adapter is None, plain.adapter) == (False, None)
    assert tuned.confidence != plain.confidence


def test_an_adapter_that_is_not_served_is_the_users_error(server: Server) -> None:
    with pytest.raises(UnknownModelError, match=r"'unheard-of'.*serves: embedded-vlm, "):
        OpenAIVLM(server.url, adapters={"write": "unheard-of"})


def test_a_prompt_beyond_the_context_is_the_users_error(base: OpenAIVLM) -> None:
    with pytest.raises(ContextExceededError, match="not fit the model's context"):
        base.generate([roles.verify("Necrosis is present.", "E1 necrosis\n" * 1000)])


def test_more_images_than_served_are_the_users_error(base: OpenAIVLM) -> None:
    with pytest.raises(UserError, match="refused the request"):
        base.generate([roles.verify("Necrosis is present.", "E1 necrosis", [IMAGE] * 5)])


def test_the_server_says_what_this_process_says(here: TracedVLM, served: OpenAIVLM) -> None:
    """Greedy float32, base and adapters: the same JSON, but where this process was as good as undecided."""
    asked = questions()
    different, unlike = compare(here, served, asked)
    assert unlike == []
    assert [d for d in different if not d.near_tie] == []
    assert len(different) <= (1 - EQUAL) * len(asked)


def test_adapters_change_places_on_one_base_and_leave_no_trace(here: TracedVLM, served: OpenAIVLM) -> None:
    """The same questions before and after other adapters have answered."""
    asked = questions()
    first, again = here.generate(asked[:8]), here.generate(asked[:8])
    here.generate(asked)
    assert [c.text for c in first] == [c.text for c in again] == [c.text for c in here.generate(asked[:8])]
    assert [c.text for c in served.generate(asked[:8])] == [c.text for c in served.generate(asked[:8])]


def test_a_whole_report_through_the_server_ends_as_in_this_process(
    here: TracedVLM, served: OpenAIVLM, tmp_path: Path
) -> None:
    (drafted,) = record([recorded.FIRST_SEED], here, load_encoder("embedded"), tmp_path)
    (row,) = reports_through(served, [drafted], load_encoder("embedded"), tmp_path)
    assert row["same_diagnosis"], row
    assert served.revision == here.revision


def test_a_killed_server_is_a_model_that_went_away(server: Server) -> None:
    """The last test: it leaves no server behind."""
    vlm = OpenAIVLM(server.url, retries=1, backoff_s=0.1)
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
    with pytest.raises(ModelServerGoneError, match="cannot be reached"):
        vlm.generate([LOOK])
    vlm.close()
    with pytest.raises(ModelServerAbsentError, match="pathagent serve vlm"):
        OpenAIVLM(server.url)
