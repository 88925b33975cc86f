"""Tile and text encoders: load one by name, scan a slide, read what the features say."""

from pathagent_tools.encoders.registry import encoder_names, load_encoder
from pathagent_tools.encoders.scan import TileFeatures, scan_slide

__all__ = ["TileFeatures", "encoder_names", "load_encoder", "scan_slide"]
