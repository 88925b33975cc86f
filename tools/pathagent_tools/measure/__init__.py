"""Measurements without weights: stain, nuclei, tissue. Real on any H&E slide."""

from pathagent_tools.measure.nuclei import Nuclei, detect_nuclei
from pathagent_tools.measure.stain import StainMatrix, estimate_stain, separate
from pathagent_tools.measure.summary import measure_region, measure_slide, tissue_fraction

__all__ = [
    "Nuclei",
    "StainMatrix",
    "detect_nuclei",
    "estimate_stain",
    "measure_region",
    "measure_slide",
    "separate",
    "tissue_fraction",
]
