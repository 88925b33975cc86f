"""Hashes and value noise in world coordinates (µm): the same place always gets the same value.

Nothing here keeps state. A tile, a chunk of a slide and a thumbnail that show the same place call the
same functions with the same numbers, so they agree to the last bit. One lattice alone shows its axes;
`smooth` averages two lattices turned against each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

_U64 = np.uint64
_A = _U64(0x9E3779B97F4A7C15)
_B = _U64(0xC2B2AE3D27D4EB4F)
_C = _U64(0xBF58476D1CE4E5B9)
_D = _U64(0x94D049BB133111EB)
_S32, _S29 = _U64(32), _U64(29)
_MASK16 = _U64(0xFFFF)
_UNIT16 = 1.0 / 65536.0


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile with numba: cached on disk, one thread, no fast-math (the same bytes every time)."""
    compiled: Callable[P, R] = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return compiled


@kernel
def hash_cell(ix: int, iy: int, key: int) -> int:
    """64 random bits of a lattice cell."""
    z = (_U64(ix) * _A + _U64(key) * _D) ^ (_U64(iy) * _B)
    z = (z ^ (z >> _S32)) * _C
    return z ^ (z >> _S29)  # type: ignore[return-value]  # numba: stays unsigned, 64 bits


@kernel
def part(bits: int, index: int) -> float:
    """One of the four 16-bit parts of a hash as a number in [0, 1)."""
    return float((_U64(bits) >> _U64(16 * index)) & _MASK16) * _UNIT16


@kernel
def value(x: float, y: float, key: int) -> float:
    """Value noise on the unit lattice, 0..1."""
    fx, fy = math.floor(x), math.floor(y)
    ix, iy = int(fx), int(fy)
    u, v = x - fx, y - fy
    u = u * u * u * (u * (u * 6.0 - 15.0) + 10.0)
    v = v * v * v * (v * (v * 6.0 - 15.0) + 10.0)
    a = part(hash_cell(ix, iy, key), 0)
    b = part(hash_cell(ix + 1, iy, key), 0)
    c = part(hash_cell(ix, iy + 1, key), 0)
    d = part(hash_cell(ix + 1, iy + 1, key), 0)
    top = a + (b - a) * u
    return top + (c + (d - c) * u - top) * v


@kernel
def smooth(x: float, y: float, key: int) -> float:
    """Two turned lattices averaged: 0..1 without visible axes, feature size about one unit."""
    first = value(0.8 * x - 0.6 * y, 0.6 * x + 0.8 * y, key)
    second = value(0.43 * x + 0.902 * y + 31.7, -0.902 * x + 0.43 * y + 7.3, key + 101)
    return 0.5 * (first + second)


@kernel
def turned(x: float, y: float, key: int) -> float:
    """One lattice turned off the axes: half the cost of `smooth`, for warps and fibre waves."""
    return value(0.8 * x - 0.6 * y, 0.6 * x + 0.8 * y, key)


@kernel
def ramp(low: float, high: float, x: float) -> float:
    """Smooth step: 0 below `low`, 1 above `high`."""
    t = (x - low) / (high - low)
    t = min(1.0, max(0.0, t))
    return t * t * (3.0 - 2.0 * t)
