"""Faster ways to run an open_clip image tower on a CPU, with the same embeddings to rounding.

`eager`: as open_clip runs it. `folded`: batch norms folded into the convolutions before them, which needs no
other library. `openvino`: Intel's runtime for x86 (extra `fast`), threads as torch has them.
`openvino-bf16`: the same in bfloat16, on processors that compute with it. `auto`: the last of these that is
to be had and agrees with eager to a cosine of 1 - 1e-3. `make bench-slides` measures them. Tried and left
out: torch.compile, slower than OpenVINO and 14 s of compiling.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Final, Literal

from pathagent_tools.core.errors import UserError

log = logging.getLogger(__name__)
Runtime = Literal["auto", "eager", "folded", "openvino", "openvino-bf16"]
MAX_DISAGREEMENT: Final = 1e-3
RUNTIMES: Final[tuple[Runtime, ...]] = ("auto", "eager", "folded", "openvino", "openvino-bf16")
ImageTower = Callable[[Any], Any]
"""Normalised tiles [N, 3, px, px] → embeddings [N, dim], torch tensors."""


def image_tower(model: Any, runtime: Runtime, input_px: int) -> ImageTower:
    """The image side of an open_clip model in evaluation mode, by a runtime. `model` is not changed.

    What a faster runtime gives is compared with the eager model first: `auto` takes the next one where the
    cosine is below 1 - 1e-3, and says so. UserError for an unknown runtime, one that is not installed or not
    for this processor, or one that was asked for by name and does not agree.
    """
    if runtime not in RUNTIMES:
        raise UserError(f"Unknown runtime {runtime!r}. Known: {', '.join(RUNTIMES)}.")
    if runtime == "eager":
        return _eager(model)
    folded = fold_batch_norms(model)
    for chosen in faster_ones() if runtime == "auto" else [runtime]:
        if chosen == "folded" and folded is model:
            break
        tower = _eager(folded) if chosen == "folded" else _openvino(folded, input_px, chosen)
        if (apart := _disagreement(_eager(model), tower, input_px)) <= MAX_DISAGREEMENT:
            return tower
        if runtime != "auto":
            raise UserError(
                f"The runtime {runtime} gives other embeddings (cosine 1 - {apart:.1g}): --runtime eager."
            )
        log.warning("%s gives other embeddings (cosine 1 - %.1g): it is not used", chosen, apart)
    return _eager(model)


def faster_ones() -> list[Runtime]:
    """The faster runtimes of this machine, the fastest first."""
    if find_spec("openvino") is None:
        return ["folded"]
    return ["openvino-bf16", "openvino", "folded"] if _computes_bf16() else ["openvino", "folded"]


def _computes_bf16() -> bool:
    """Whether the processor has instructions for bfloat16: without them it is slower than float32."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _eager(model: Any) -> ImageTower:
    return lambda x: model.encode_image(x)


def _disagreement(one: ImageTower, other: ImageTower, input_px: int) -> float:
    """1 - the smallest cosine between the embeddings of two noise tiles."""
    import torch

    noise = torch.randn((2, 3, input_px, input_px), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return float(1 - torch.cosine_similarity(one(noise), other(noise)).min())


def fold_batch_norms(model: Any) -> Any:
    """The model with each batch norm folded into the convolution before it; itself where it has none.

    Only neighbours in the order of definition are folded, which is the order of execution in
    convolutional networks as timm and open_clip write them; `image_tower` compares the embeddings.
    """
    from torch import nn

    if not any(isinstance(module, nn.BatchNorm2d) for module in model.visual.modules()):
        return model
    folded = copy.deepcopy(model)
    for parent in list(folded.visual.modules()):
        children = list(parent.named_children())
        for (_, before), (name, after) in pairwise(children):
            if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                setattr(parent, name, _fold(before, after))
    return folded.eval()


def _fold(conv: Any, norm: Any) -> Any:
    """Put the norm into the convolution; what is left of it (timm's has an activation of its own)."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    left = [part for name in ("drop", "act") if (part := getattr(norm, name, None)) is not None]
    return nn.Sequential(*left) if left else nn.Identity()


def _openvino(model: Any, input_px: int, runtime: Runtime) -> ImageTower:
    import torch

    if find_spec("openvino") is None:
        raise UserError(
            f"The runtime {runtime} is not installed. Type: uv sync --extra fast, or --runtime folded."
        )
    import openvino

    precision = runtime.removeprefix("openvino-") if runtime != "openvino" else "f32"
    if precision == "bf16" and not _computes_bf16():
        raise UserError("This processor does not compute with bfloat16. Type: --runtime openvino.")

    class Tower(torch.nn.Module):
        """The image side alone, as the converter wants it."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Any) -> Any:
            return self.model.encode_image(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its converter still traces with torch.jit
        graph = openvino.convert_model(Tower().eval(), example_input=torch.zeros(2, 3, input_px, input_px))
    graph.reshape([-1, 3, input_px, input_px])
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(graph, "CPU", settings)
    return lambda x: torch.from_numpy(compiled(x.contiguous().numpy())[0].copy())
