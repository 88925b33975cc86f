"""Scored runs: benchmarks with their controls, metrics with intervals, comparison tables."""
