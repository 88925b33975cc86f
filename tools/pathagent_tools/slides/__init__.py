"""Whole-slide images: open them safely, read regions in µm, find the tissue, judge the quality."""

from pathagent_tools.slides.grid import tile_grid
from pathagent_tools.slides.quality import Quality, check_quality
from pathagent_tools.slides.reader import Limits
from pathagent_tools.slides.slide import Slide, open_slide, overview
from pathagent_tools.slides.tissue import Tissue, tissue_mask

__all__ = [
    "Limits",
    "Quality",
    "Slide",
    "Tissue",
    "check_quality",
    "open_slide",
    "overview",
    "tile_grid",
    "tissue_mask",
]
