"""What a user sees when a file is no slide, is damaged, or hides its resolution."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from pathagent_tools.core.errors import SlideError
from pathagent_tools.slides import Limits, open_slide
from pathagent_tools.slides.source import find_source


def refusal(path: Path, **settings: object) -> str:
    with pytest.raises(SlideError) as caught:
        open_slide(path, **settings)  # type: ignore[arg-type]
    return str(caught.value)


def test_missing_file_suggests_the_nearest_slide(write_slide, ramp):
    path = write_slide(ramp, name="case-17.tiff")
    assert f"Did you mean {path}?" in refusal(path.with_name("case17.tiff"))


def test_folder_text_file_and_empty_file_are_named_as_such(tmp_path):
    assert "pathagent batch" in refusal(tmp_path)
    text = tmp_path / "notes.svs"
    text.write_text("This is not a slide.\n" * 20)
    assert "is a text file" in refusal(text)
    empty = tmp_path / "empty.svs"
    empty.touch()
    assert "empty file" in refusal(empty)


def test_truncated_tiff_is_refused_before_decoding(write_slide):
    rgb = np.random.default_rng(0).integers(0, 255, (600, 900, 3), np.uint8)
    whole = write_slide(rgb)
    cut = whole.with_name("cut.tiff")
    for share in (0.02, 0.5, 0.95):
        cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
        assert "damaged or truncated" in refusal(cut)


@pytest.mark.parametrize("tag", [256, 257, 322, 323])
def test_impossible_sizes_are_refused(write_slide, ramp, tag):
    path = write_slide(ramp)
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages[0].tags[tag].offset
    data = bytearray(path.read_bytes())
    struct.pack_into("<HHII", data, at, tag, 4, 1, 0x7FFFFF00)
    path.write_bytes(data)
    assert "claimed" in refusal(path)


@pytest.mark.parametrize(("side", "refused"), [(65500, True), (320, False)])
def test_ndpi_level_without_tiles_is_refused_where_it_would_be_huge(tmp_path, ramp, side, refused):
    path = tmp_path / "slide.ndpi"
    ndpi = [(65420, "I", 1, 1, True)]
    options = {"photometric": "rgb", "compression": "jpeg", "rowsperstrip": 320, "metadata": None}
    tifffile.imwrite(path, ramp[:320, :320], extratags=ndpi, **options)
    with tifffile.TiffFile(path, is_ndpi=False) as tiff:
        places = [tiff.pages[0].tags[tag].offset for tag in (256, 257)]
    data = bytearray(path.read_bytes())
    for at, tag in zip(places, (256, 257), strict=True):
        struct.pack_into("<HHII", data, at, tag, 4, 1, side)
    path.write_bytes(data)
    if refused:
        assert "65,500 × 65,500 px without tiles is claimed" in refusal(path)
    else:
        assert find_source(path).files == (path,)


def dicom_header(*elements: tuple[int, int, str, int]) -> bytes:
    """A DICOM header of unsigned numbers (group, element, type, value)."""
    parts = [
        struct.pack("<HH2sH", group, element, kind.encode(), 2 if kind == "US" else 4)
        + struct.pack("<H" if kind == "US" else "<I", value)
        for group, element, kind, value in elements
    ]
    return bytes(128) + b"DICM" + b"".join(parts)


@pytest.mark.parametrize(
    ("frame", "slide", "said"),
    [
        (65535, 100_000, "frames of 65,535 × 65,535 px are claimed"),
        (256, 4_000_000_000, "an image of 4,000,000,000 × 4,000,000,000 px is claimed"),
        (256, 100_000, None),
    ],
)
def test_dicom_of_impossible_size_is_refused_before_decoding(tmp_path, frame, slide, said):
    path = tmp_path / "level-0.dcm"
    sizes = [(0x28, 0x02, "US", 3), (0x28, 0x10, "US", frame), (0x28, 0x11, "US", frame)]
    path.write_bytes(dicom_header(*sizes, (0x48, 6, "UL", slide), (0x48, 7, "UL", slide)))
    for given in (path, tmp_path):
        if said:
            assert said in refusal(given)
        else:
            assert find_source(given).files == (path,)


def test_every_damaged_header_byte_ends_in_a_slide_or_one_sentence(write_slide, ramp):
    path = write_slide(ramp[:300, :300])
    good = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].offset
    random = np.random.default_rng(1)
    for at in [0, 2, 4, 7, *(start + random.integers(0, 200, 8))]:
        data = bytearray(good)
        data[at] ^= int(random.integers(1, 256))
        path.write_bytes(data)
        try:
            open_slide(path, mpp=0.5, limits=Limits(seconds=10)).close()
        except SlideError as error:
            assert "\n" not in str(error)


def test_tiny_picture_is_no_slide(write_slide, ramp):
    assert "too small" in refusal(write_slide(ramp[:16, :16]))


def test_ome_tiff_is_named(tmp_path, ramp):
    path = tmp_path / "crop.ome.tif"
    tifffile.imwrite(path, ramp, ome=True)
    assert "OME-TIFF" in refusal(path)


def test_missing_mpp_names_the_keys_and_the_way_out(write_slide, ramp):
    said = refusal(write_slide(ramp, mpp=None))
    for words in ("openslide.mpp-x", "aperio.MPP", "tiff.XResolution", "--mpp 0.5", "wsi,mpp"):
        assert words in said


def test_user_mpp_wins_and_both_are_recorded(write_slide, ramp):
    with open_slide(write_slide(ramp, mpp=0.25), mpp=0.5) as slide:
        assert (slide.mpp, slide.mpp_source, slide.resolution_assumed) == (0.5, "user", True)
        assert slide.mpp_header == pytest.approx(0.25, rel=1e-3)


def test_csv_gives_the_mpp_of_its_slide(write_slide, ramp, tmp_path):
    table = tmp_path / "mpp.csv"
    table.write_text("wsi,mpp\nother.tiff,0.9\nfolder/a.tiff,0.4\n")
    with open_slide(write_slide(ramp, mpp=None, name="a.tiff"), mpp_csv=table) as slide:
        assert (slide.mpp, slide.mpp_source) == (0.4, "csv")
    table.write_text("slide,resolution\na.tiff,0.4\n")
    assert "columns wsi,mpp" in refusal(write_slide(ramp, mpp=None), mpp_csv=table)


def test_implausible_and_unequal_resolutions_are_refused(write_slide, ramp):
    assert "1000 µm per pixel" in refusal(write_slide(ramp, mpp=1000.0))
    assert "from square" in refusal(write_slide(ramp, mpp=0.5, mpp_y=0.53))
    assert "outside" in refusal(write_slide(ramp), mpp=50.0)


def test_dead_decoder_is_reported_once_and_replaced(write_slide, ramp):
    with open_slide(write_slide(ramp)) as slide:
        child = slide._reader._child
        assert child is not None
        child.kill()
        child.wait()
        with pytest.raises(SlideError, match="SIGKILL"):
            slide.thumbnail(64)
        assert slide.thumbnail(64)[0].shape == (43, 64, 3)


def test_late_decoder_is_stopped(write_slide, ramp):
    assert "took longer than" in refusal(write_slide(ramp), limits=Limits(seconds=1e-4))


def test_digest_is_of_the_bytes(write_slide, ramp):
    first, second = write_slide(ramp, name="a.tiff"), write_slide(ramp, name="b.tiff")
    with open_slide(first) as a, open_slide(second) as b:
        assert a.digest == b.digest
        assert (a.name, b.name) == ("a.tiff", "b.tiff")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("not_an_image.svs", "text file"),
        ("unreadable_tile.svs", "damaged"),
        ("tiny_16px.svs", "too small"),
        ("synthetic_boxes_wrong_mpp.tiff", "352.78 µm per pixel"),
    ],
)
def test_public_defective_files(shared_data, name, words):
    assert words in refusal(shared_data / "wsi_small/defect" / name)


def test_public_dicom_series_opens_by_folder_and_by_file(shared_data):
    folder = shared_data / "wsi_small/cmu-1-small-region_dicom"
    with open_slide(folder) as a, open_slide(folder / "level-7-frames-0-1.dcm") as b:
        assert (a.width, a.height, a.vendor) == (2220, 2967, "dicom")
        assert a.digest == b.digest
