"""What counts cells of one kind in RGB fields: a small trained network in a folder of its own.

The models that ship know phantoms; a folder of the same files (`config.json`, `model.safetensors`,
`card.json`) takes the place of one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pathagent_tools.core.card import CARD_NAME, ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Image

if TYPE_CHECKING:
    from pathagent_tools.measure.cell_net import CellNet

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
LEAST_PX: Final = 32
Floats = NDArray[np.float32]
_SHARED: Final[dict[tuple[type, Path], tuple[bytes, Any]]] = {}
"""Kind and folder of a model → its card, and the model."""


class CellConfig(Frozen):
    """Shape of the network, and the resolution that it reads."""

    channels: int = 32
    dilations: tuple[int, ...] = (1, 2, 1, 2)
    mpp: float = 0.5


class CellModel:
    """Reads RGB fields at `config.mpp`. Load one of its kinds with `load`; thread-safe."""

    what: ClassVar[str]
    """Its name in messages, `mitosis detector`."""
    command: ClassVar[str]
    """What `pathagent finetune` calls its training."""
    embedded: ClassVar[Path]
    """The folder of the one that ships."""
    shape: ClassVar[type[CellConfig]] = CellConfig

    def __init__(self, net: CellNet, config: Any, *, id: str, revision: str) -> None:
        self.net, self.config, self.id, self.revision = net.eval(), config, id, revision

    @classmethod
    def folder_of(cls, named: Path | str) -> Path:
        """The folder of what a profile names: its own, or for `embedded` the one that ships."""
        return cls.embedded if named == "embedded" else Path(named)

    @classmethod
    def load(cls, folder: Path | None = None) -> Self:
        """The model of a folder, by default the one that ships. UserError where there is none."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from pathagent_tools.measure.cell_net import CellNet

        folder = folder or cls.embedded
        if not (folder / WEIGHTS).is_file() or not (folder / CONFIG).is_file():
            raise UserError(
                f"{folder} holds no {cls.what} ({CONFIG}, {WEIGHTS}). "
                f"Train one: pathagent finetune {cls.command} --out runs/{cls.command}"
            )
        try:
            config = cls.shape.model_validate_json((folder / CONFIG).read_text())
            net = CellNet(channels=config.channels, dilations=config.dilations)
            net.load_state_dict(
                {k: v.float() if v.is_floating_point() else v for k, v in load_file(folder / WEIGHTS).items()}
            )
        except (ValidationError, SafetensorError, RuntimeError) as error:
            said = " ".join(str(error).split())[:200]
            raise UserError(f"{folder} is no {cls.what} that can be loaded: {said}") from error
        card = ModelCard.load(folder)
        return cls(net, config, id=card.id, revision=card.digest)

    @classmethod
    def shared(cls, folder: Path) -> Self:
        """The model of a folder, loaded once in this process and again where its card has changed.

        UserError as `load`.
        """
        card = (folder / CARD_NAME).read_bytes() if (folder / CARD_NAME).is_file() else b""
        kept = _SHARED.get((cls, folder))
        if kept is None or kept[0] != card:
            kept = _SHARED[cls, folder] = card, cls.load(folder)
        found: Self = kept[1]
        return found

    @classmethod
    def save(cls, net: Any, config: CellConfig, folder: Path) -> None:
        """Write configuration and fp16 weights; the weights last, under a temporary name."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomic(folder / CONFIG, config.model_dump_json(indent=2) + "\n")
        part = folder / f".{WEIGHTS}.tmp"
        save_file({k: _small(v.detach()) for k, v in net.state_dict().items()}, part)
        part.chmod(0o644)
        part.replace(folder / WEIGHTS)

    def reads(self, mpp: float) -> bool:
        """Whether fields at `mpp` µm per px are at its resolution, within 2 %."""
        return bool(abs(mpp / self.config.mpp - 1) <= 0.02)

    def check(self, rgb: Image, mpp: float) -> None:
        """UserError where a field is not at the model's resolution, or smaller than 32 px."""
        if not self.reads(mpp):
            raise UserError(
                f"The {self.what} reads {self.config.mpp:g} µm per px and was given {mpp:.3g}: "
                f"read the field at mpp={self.config.mpp:g}."
            )
        if min(rgb.shape[:2]) < LEAST_PX:
            raise UserError(
                f"A field of {rgb.shape[1]} × {rgb.shape[0]} px is too small: at least {LEAST_PX} px."
            )

    def logits(self, fields: NDArray[np.uint8]) -> Floats:
        """[B, ⌈h / 4⌉, ⌈w / 4⌉] of the places of 4 × 4 px of fields [B, h, w, 3]."""
        import torch

        from pathagent_tools.measure.cell_net import STRIDE

        h, w = fields.shape[1:3]
        padded = np.pad(fields, ((0, 0), (0, -h % STRIDE), (0, -w % STRIDE), (0, 0)), mode="edge")
        x = torch.from_numpy(padded).permute(0, 3, 1, 2).float().div_(255)
        with torch.inference_mode():
            found: Floats = self.net(x).numpy()
        return found


def _small(value: Any) -> Any:
    return (value.half() if value.is_floating_point() else value).contiguous()
