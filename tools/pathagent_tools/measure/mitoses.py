"""Mitotic figures of a field, found by a small trained detector. Its weights know what they were trained on.

The detector that ships knows phantoms; a folder of the same files (`config.json`, `model.safetensors`,
`card.json`) takes its place.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import write_text_atomic
from pathagent_tools.core.geometry import Frozen
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.records import Measurement

if TYPE_CHECKING:
    from pathagent_tools.measure.mitosis_net import MitosisNet

EMBEDDED: Final = Path(__file__).parent / "embedded-mitoses"
WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
MANY_PER_MM2: Final = 2.5 / (0.192 * 0.192)
"""From three figures in a field of 192 µm on they are many."""
APART_UM: Final = 8.0
"""Figures nearer to each other than this are one."""
Floats = NDArray[np.float32]


def amount(count: int, area_mm2: float) -> Literal["none", "few", "many"]:
    """The word for so many figures in a field of this area."""
    if count == 0:
        return "none"
    return "many" if count / area_mm2 >= MANY_PER_MM2 else "few"


def detector_folder(named: Path | str) -> Path:
    """The folder of what a profile names: its own, or for `embedded` that of the detector that ships."""
    return EMBEDDED if named == "embedded" else Path(named)


class DetectorConfig(Frozen):
    """Shape of the network, the resolution that it reads, and the scores from which a cell is a figure.

    threshold: where most figures are found and few false ones; certain: where hardly a field without figures
    has one, for whoever looks for the largest count among many fields.
    """

    channels: int = 32
    dilations: tuple[int, ...] = (1, 2, 1, 2)
    mpp: float = 0.5
    threshold: float = Field(default=0.5, gt=0, lt=1)
    certain: float = Field(default=0.8, gt=0, lt=1)


class MitosisDetector:
    """Finds mitotic figures in RGB fields at `config.mpp`. Load it with `load`; thread-safe."""

    def __init__(self, net: MitosisNet, config: DetectorConfig, *, id: str, revision: str) -> None:
        self.net, self.config, self.id, self.revision = net.eval(), config, id, revision

    @classmethod
    def load(cls, folder: Path = EMBEDDED) -> Self:
        """The detector of a folder, by default the one that ships. UserError where there is none."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from pathagent_tools.measure.mitosis_net import MitosisNet

        if not (folder / WEIGHTS).is_file() or not (folder / CONFIG).is_file():
            raise UserError(
                f"{folder} holds no mitosis detector ({CONFIG}, {WEIGHTS}). "
                "Train one: pathagent finetune mitoses --out runs/mitoses"
            )
        try:
            config = DetectorConfig.model_validate_json((folder / CONFIG).read_text())
            net = MitosisNet(channels=config.channels, dilations=config.dilations)
            net.load_state_dict(
                {k: v.float() if v.is_floating_point() else v for k, v in load_file(folder / WEIGHTS).items()}
            )
        except (ValidationError, SafetensorError, RuntimeError) as error:
            said = " ".join(str(error).split())[:200]
            raise UserError(f"{folder} is no mitosis detector that can be loaded: {said}") from error
        card = ModelCard.load(folder)
        return cls(net, config, id=card.id, revision=card.digest)

    def reads(self, mpp: float) -> bool:
        """Whether fields at `mpp` µm per px are at its resolution, within 2 %."""
        return abs(mpp / self.config.mpp - 1) <= 0.02

    def find(self, rgb: Image, mpp: float) -> Floats:
        """[k, 3]: (x, y) px in the field [h, w, 3] and score of each figure, best first.

        UserError where the field is not at the detector's resolution, or smaller than 32 px.
        """
        if not self.reads(mpp):
            raise UserError(
                f"The mitosis detector reads {self.config.mpp:g} µm per px and was given {mpp:.3g}: "
                f"read the field at mpp={self.config.mpp:g}."
            )
        if min(rgb.shape[:2]) < 32:
            raise UserError(f"A field of {rgb.shape[1]} × {rgb.shape[0]} px is too small: at least 32 px.")
        return peaks(self.scores(rgb[None])[0], self.config.threshold)

    def scores(self, fields: NDArray[np.uint8]) -> Floats:
        """[B, ⌈h / 4⌉, ⌈w / 4⌉] in 0..1 for fields [B, h, w, 3]: a figure is centred in this cell."""
        import torch

        from pathagent_tools.measure.mitosis_net import STRIDE

        h, w = fields.shape[1:3]
        padded = np.pad(fields, ((0, 0), (0, -h % STRIDE), (0, -w % STRIDE), (0, 0)), mode="edge")
        x = torch.from_numpy(padded).permute(0, 3, 1, 2).float().div_(255)
        with torch.inference_mode():
            found: Floats = self.net(x).sigmoid().numpy()
        return found

    def measure(self, rgb: Image, mpp: float) -> Measurement:
        """The count as a measurement of the field; `q05` is how many of them are certain."""
        found = self.find(rgb, mpp)
        n = len(found)
        return Measurement(
            name="mitotic_figures",
            label="Mitotic figures in the field",
            value=n,
            unit="1",
            q05=int((found[:, 2] >= self.config.certain).sum()),
            n=n,
            note=f"counted by {self.id} {self.revision[:8]}",
        )


def distinct(figures: Floats, nearer_than: float) -> Floats:
    """[k, 3] figures (x, y, score), best first, without those that lie at one that is kept already."""
    kept: list[int] = []
    order = np.argsort(-figures[:, 2], kind="stable")
    for i in order:
        apart = np.abs(figures[kept, :2] - figures[i, :2]).max(1) if kept else np.array([np.inf])
        if apart.min() >= nearer_than:
            kept.append(int(i))
    return np.asarray(figures[kept], np.float32)


def densest(figures: Floats, side: float) -> tuple[float, float, NDArray[np.bool_]] | None:
    """(x, y) of the centre of the square of `side` with most figures, and which of [k, 3] lie in it.

    Of squares with as many the one with the highest scores. None where there are no figures.
    """
    best: tuple[tuple[int, float], float, float, NDArray[np.bool_]] | None = None
    x, y, score = figures.T
    for left in x:
        across = (x >= left) & (x <= left + side)
        for top in y[across]:
            inside = across & (y >= top) & (y <= top + side)
            rank = (int(inside.sum()), float(score[inside].sum()))
            if best is None or rank > best[0]:
                middle = [(v[inside].min() + v[inside].max()) / 2 for v in (x, y)]
                best = (rank, float(middle[0]), float(middle[1]), inside)
    return None if best is None else best[1:]


def peaks(scores: Floats, threshold: float) -> Floats:
    """[k, 3]: centres (x, y) px and scores of the cells [h, w] that no neighbour within two cells exceeds."""
    from scipy import ndimage

    from pathagent_tools.measure.mitosis_net import STRIDE

    top = (scores >= threshold) & (scores == ndimage.maximum_filter(scores, size=5))
    rows, columns = np.nonzero(top)
    found = np.stack([(columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE, scores[rows, columns]], axis=1)
    return np.asarray(found[np.argsort(-found[:, 2], kind="stable")], np.float32)


def _small(value: Any) -> Any:
    return (value.half() if value.is_floating_point() else value).contiguous()


def save_detector(net: Any, config: DetectorConfig, folder: Path) -> None:
    """Write configuration and fp16 weights; the weights last, under a temporary name."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomic(folder / CONFIG, config.model_dump_json(indent=2) + "\n")
    part = folder / f".{WEIGHTS}.tmp"
    save_file({k: _small(v.detach()) for k, v in net.state_dict().items()}, part)
    part.chmod(0o644)
    part.replace(folder / WEIGHTS)
