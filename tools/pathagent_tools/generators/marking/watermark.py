"""The invisible mark: a fixed 32-bit word that RivaGAN hides in the pixels (package invisible-watermark).

One pass is not enough for fields of 256 px: the word is written again until it can still be read after
compression, cropping and scaling, so a mark that is written is a mark that was tested. Zhang et al. 2019,
"Robust Invisible Video Watermarking with Attention".
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import Image

WORD: Final = 0x5A3C96E1
"""What every synthetic image carries. Bit 0 first."""
BITS: Final = tuple((WORD >> i) & 1 for i in range(32))
FOUND: Final = 28
"""Bits that must be right: by chance one image in 100,000 has as many."""
HELD: Final = 30
"""Bits that should survive each treatment when the mark is written; `FOUND` must."""
PASSES: Final = 5
_HEADROOM: Final = (10, 245)
"""Grey levels that an image is brought into before it is marked: pure white and black hold nothing."""
_THRESHOLD: Final = 0.5
_WINDOW: Final = 512
"""Side of the windows in which larger images are marked and read."""

_lock = threading.Lock()


def embed(image: Image) -> Image:
    """The image [h, w, 3] with the word in it.

    UserError where the image is too plain to hold it: such an image must not be written.
    """
    with _lock:
        low, high = _HEADROOM
        marked = _written(np.clip(image, low, high).astype(np.uint8))
        for _ in range(PASSES - 1):
            marked = _written(marked)
            read = [matches(treated) for treated in treatments(marked)]
            if min(read) >= HELD:
                return marked
        if min(read) >= FOUND:
            return marked
    raise UserError(
        "The image is too plain to hold the invisible watermark, so it is not written: "
        "ask for tissue that fills more of the field."
    )


def embed_lightly(image: Image) -> Image:
    """The image with the word written twice into each window, without testing what it survives.

    For strips of large fields, which hold many windows: the finished file is read again as a whole.
    """
    low, high = _HEADROOM
    with _lock:
        return _written(_written(np.clip(image, low, high).astype(np.uint8)))


def matches(image: Image) -> int:
    """How many of the 32 bits are read as written."""
    said = _bits(image)
    return int((said == np.array(BITS)).sum())


def treatments(image: Image) -> Iterator[Image]:
    """What a mark must survive: JPEG 75, a tenth cut from each side, three quarters of the size."""
    yield jpeg(image, 75)
    yield cropped(image, 0.1)
    yield scaled(image, 0.75)


def jpeg(image: Image, quality: int) -> Image:
    """After one JPEG compression."""
    from PIL import Image as Pil

    buffer = io.BytesIO()
    Pil.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Pil.open(buffer))


def cropped(image: Image, share: float) -> Image:
    """Without that share of each side."""
    h, w = image.shape[:2]
    dy, dx = round(h * share), round(w * share)
    return np.ascontiguousarray(image[dy : h - dy, dx : w - dx])


def scaled(image: Image, factor: float) -> Image:
    """Resampled to `factor` times its size."""
    from PIL import Image as Pil

    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.asarray(Pil.fromarray(image).resize(size, Pil.Resampling.BICUBIC))


def _bits(image: Image) -> Any:
    """The 32 bits: the mean of what the windows of the image say."""
    model = _model()
    said = [model.decoder.run(None, {"frame": _frame(part)})[0][0] for part in _windows(image)]
    return (np.mean(said, axis=0) > _THRESHOLD).astype(int)


def _written(image: Image) -> Image:
    model = _model()(list(BITS))
    if max(image.shape[:2]) <= _WINDOW:
        return np.asarray(model.encode(image))
    out = image.copy()
    for part in _windows(out):
        part[:] = model.encode(np.ascontiguousarray(part))
    return out


def _windows(image: Image) -> Iterator[Image]:
    """Views of at most about `_WINDOW` px a side that cover the image."""
    h, w = image.shape[:2]
    rows, columns = max(1, round(h / _WINDOW)), max(1, round(w / _WINDOW))
    for i in range(rows):
        for j in range(columns):
            yield image[h * i // rows : h * (i + 1) // rows, w * j // columns : w * (j + 1) // columns]


def _frame(image: Image) -> Any:
    scaled_values = np.ascontiguousarray(image, dtype=np.float32) / 127.5 - 1.0
    return scaled_values.transpose(2, 0, 1)[None, :, None]


def _model() -> Any:
    """The package's class with both networks loaded, each on one thread."""
    import onnxruntime
    from imwatermark import rivaGan

    model = rivaGan.RivaWatermark
    if not (model.encoder and model.decoder):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        folder = Path(rivaGan.__file__).parent
        for part in ("encoder", "decoder"):
            file = folder / f"rivagan_{part}.onnx"
            setattr(model, part, onnxruntime.InferenceSession(file, options))
    return model
