"""A real generator, tiny and untrained, and fields of phantoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pathagent_tools.core.protocols import Image
from pathagent_tools.generators.embedded_generator import EmbeddedGenerator
from pathagent_tools.generators.network import Generator, Shape
from pathagent_tools.generators.sampling import Sampling
from pathagent_tools.generators.studio import Studio
from pathagent_tools.generators.weights import save_network
from pathagent_tools.phantom.field import FieldSample, sample_field


@pytest.fixture(autouse=True)
def own_certificates(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATHAGENT_CERTIFICATES", str(tmp_path_factory.getbasetemp() / "certificates"))


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network of 0.2 M parameters that was never trained."""
    folder = tmp_path_factory.mktemp("generator")
    torch.manual_seed(0)
    save_network(Generator(Shape(channels=(16, 16, 32), layers=1, head=16)), folder)
    return folder


@pytest.fixture(scope="session")
def generator(weights: Path) -> EmbeddedGenerator:
    return EmbeddedGenerator(weights)


@pytest.fixture(scope="session")
def studio(generator: EmbeddedGenerator) -> Studio:
    return Studio(generator, sampling=Sampling(steps=2, guidance=1.5))


@pytest.fixture(scope="session")
def field() -> FieldSample:
    """Tumour with a partner that carries an artifact, 128 px at 1 um per px."""
    return sample_field(1, px=128, mpp=1.0, partner="artifact")


@pytest.fixture(scope="session")
def tissue() -> Image:
    """A field of 256 px full of tissue."""
    return np.ascontiguousarray(sample_field(33, px=256, mpp=1.0, partner="stain").image)
