"""Nothing leaves unmarked, marks survive what files go through, and tissue is never called synthetic."""

from __future__ import annotations

import ast
import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

import pathagent_tools.generators
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.protocols import Image
from pathagent_tools.core.synthetic import SyntheticImage
from pathagent_tools.generators.marking import watermark
from pathagent_tools.generators.marking.band import has_band, with_band
from pathagent_tools.generators.marking.provenance import manifest_of
from pathagent_tools.generators.marking.verify import verify
from pathagent_tools.generators.marking.writing import Origin, write_synthetic
from pathagent_tools.phantom.field import sample_field

ORIGIN = Origin(
    task="patches",
    title="a test",
    reason="a test",
    request={"words": {}},
    seed=7,
    generator="g",
    revision="r",
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SyntheticImage]:
    folder = tmp_path_factory.mktemp("marked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATHAGENT_CERTIFICATES", str(folder / "certificates"))
        tissue = sample_field(33, px=256, mpp=1.0, partner="stain").image
        record = write_synthetic(tissue, folder, "a test: 1", ORIGIN)
    return folder / "synthetic" / record.file, record


def test_a_written_image_has_every_mark(written: tuple[Path, SyntheticImage]) -> None:
    path, record = written
    assert path.name == "synthetic_a_test_1.png"
    marks = verify(path)
    assert marks.found == ("band", "watermark", "metadata", "manifest", "name") == record.marks
    assert marks.intact
    assert marks.record["seed"] == 7 and marks.record["task"] == "patches"
    assert b"trainedAlgorithmicMedia" in path.read_bytes()


def test_the_watermark_survives_jpeg_cropping_and_scaling(
    written: tuple[Path, SyntheticImage], tmp_path: Path
) -> None:
    with Pil.open(written[0]) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (280, 256, 3)
    for i, treated in enumerate(watermark.treatments(pixels)):
        assert not np.array_equal(treated.shape, pixels.shape) or (treated != pixels).any()
        file = tmp_path / f"renamed{i}.png"
        Pil.fromarray(treated).save(file)
        marks = verify(file)
        assert "watermark" in marks.found and marks.synthetic, i
        assert "manifest" not in marks.found and "metadata" not in marks.found


def test_an_altered_file_says_so(written: tuple[Path, SyntheticImage], tmp_path: Path) -> None:
    data = bytearray(written[0].read_bytes())
    end = data.rindex(b"IDAT")
    data[end + 200] ^= 1
    length = int.from_bytes(data[end - 4 : end], "big")
    data[end + 4 + length : end + 8 + length] = zlib.crc32(data[end : end + 4 + length]).to_bytes(4, "big")
    manifest = manifest_of(io.BytesIO(bytes(data)), "image/png")
    assert manifest is not None and not manifest["intact"]


def test_phantoms_carry_no_mark(tmp_path: Path) -> None:
    for seed in range(50, 54):
        file = tmp_path / f"{seed}.png"
        Pil.fromarray(sample_field(seed, px=256, mpp=1.0, partner="stain").image).save(file)
        marks = verify(file)
        assert not marks.synthetic and marks.found == ()
        assert marks.watermark_bits < watermark.FOUND - 2


def test_real_tissue_carries_no_mark(shared_data: Path) -> None:
    files = sorted((shared_data / "tiles_glas" / "img").glob("*.jpg"))[:3]
    if not files:
        pytest.skip("no GlaS images in the shared data")
    for file in files:
        with Pil.open(file) as picture:
            tile = np.asarray(picture.convert("RGB"))[:256, :256]
        assert watermark.matches(tile) < watermark.FOUND
        assert not has_band(tile)


def test_small_images_and_plain_ones_are_not_written(tmp_path: Path, tissue: Image) -> None:
    with pytest.raises(UserError, match="at least 256"):
        write_synthetic(tissue[:128], tmp_path, "small", ORIGIN)
    with pytest.raises(UserError, match="too plain"):
        write_synthetic(np.full((256, 256, 3), 245, np.uint8), tmp_path, "plain", ORIGIN)
    assert list(tmp_path.iterdir()) == []


def test_a_band_is_found_and_only_where_there_is_one(tissue: Image) -> None:
    assert has_band(with_band(tissue))
    assert has_band(watermark.scaled(watermark.jpeg(with_band(tissue), 60), 0.75))
    assert not has_band(tissue)


def test_only_the_marking_package_puts_pixels_on_disk() -> None:
    root = Path(pathagent_tools.generators.__file__).parent
    writers = {"save", "imwrite", "tofile", "imsave", "write_bytes", "write_bytes_atomic", "memmap"}
    allowed = {"marking", "weights.py"}
    found = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in root.rglob("*.py")
        if path.relative_to(root).parts[0] not in allowed
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
        in writers
    ]
    assert found == []
