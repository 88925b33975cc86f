"""The shared words of the project: regions, findings, evidence, claims, errors, protocols.

Pure pydantic and the standard library: no torch, no openslide, no network.
"""
