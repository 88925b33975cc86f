"""Sampling over the protocol: seeds, known pixels, guidance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pathagent_tools.core.errors import UserError
from pathagent_tools.generators.conditions import Conditions, Layout, Reference
from pathagent_tools.generators.embedded_generator import EmbeddedGenerator
from pathagent_tools.generators.protocol import ImageGenerator
from pathagent_tools.generators.registry import load_generator
from pathagent_tools.generators.sampling import Sampling, guided, integrate, sample
from pathagent_tools.phantom.field import FieldSample

TWO = Sampling(steps=2, guidance=2.0)
TUMOUR = Conditions(words={"tissue": "invasive tumour"})


def test_the_embedded_generator_is_of_the_protocol(generator: EmbeddedGenerator) -> None:
    assert isinstance(generator, ImageGenerator)


def test_a_seed_gives_the_same_image_in_any_company(generator: EmbeddedGenerator) -> None:
    alone = sample(generator, [TUMOUR], [5], sampling=TWO)
    together = sample(generator, [Conditions(), TUMOUR], [4, 5], sampling=TWO)
    assert alone.shape == (1, 128, 128, 3)
    assert np.abs(alone[0].astype(int) - together[1]).max() <= 1
    stained = Conditions(stain=(0.5,) * 9)
    told = sample(generator, [stained, TUMOUR], [5, 4], sampling=TWO)[0]
    assert np.abs(sample(generator, [stained], [5], sampling=TWO)[0].astype(int) - told).max() <= 1
    other = sample(generator, [TUMOUR], [6], sampling=TWO)
    assert np.abs(alone.astype(int) - other).mean() > 2


def test_known_pixels_come_out_unchanged(generator: EmbeddedGenerator, field: FieldSample) -> None:
    known = np.ones((128, 128), bool)
    known[40:80, 40:80] = False
    told = Conditions(reference=Reference(field.image, known, "holes"))
    out = sample(generator, [told], [0], sampling=TWO)[0]
    assert np.array_equal(out[known], field.image[known])
    assert not np.array_equal(out[~known], field.image[~known])


def test_every_condition_reaches_the_network(generator: EmbeddedGenerator, field: FieldSample) -> None:
    x = generator.noise([0], 128)
    plain = generator.denoise(x, 0.3, [Conditions()])
    layout = Layout(field.labels, field.nuclei, field.membranes, field.fibre)
    everything = [
        TUMOUR,
        Conditions(dials={"density": 6000.0}),
        Conditions(stain=(0.5,) * 9),
        Conditions(mpp=0.5),
        Conditions(layout=layout),
        Conditions(reference=Reference(field.image, np.ones((128, 128), bool), "stain")),
    ]
    for condition in everything:
        assert float((generator.denoise(x, 0.3, [condition]) - plain).abs().max()) > 1e-4, condition.given
    no_nuclei = generator.denoise(x, 0.3, [Conditions(layout=Layout(field.labels))])
    assert float((no_nuclei - generator.denoise(x, 0.3, [Conditions(layout=layout)])).abs().max()) > 1e-4


def test_guidance_pushes_away_from_another_stain_too_and_keeps_the_reference(
    generator: EmbeddedGenerator, field: FieldSample
) -> None:
    seen: list[list[Conditions]] = []

    class Watched:
        def denoise(self, x: torch.Tensor, t: float, conditions: list[Conditions]) -> torch.Tensor:
            seen.append(list(conditions))
            return generator.denoise(x, t, conditions)

    reference = Reference(field.image, np.ones((128, 128), bool), "stain")
    stain = (0.5,) * 9
    told = [Conditions(stain=stain), TUMOUR.but(stain=stain, reference=reference)]
    estimate = guided(Watched(), generator.noise([0, 1], 128), 0.3, told, 2.0)  # type: ignore[arg-type]
    assert estimate.shape == (2, 3, 128, 128)
    assert seen == [told, [Conditions(reference=reference)]]


def test_steps_are_shorter_where_noise_is_much_and_end_at_the_image() -> None:
    lengths = np.diff(Sampling(steps=8).times)
    assert (np.diff(lengths) > 0).all() and lengths.sum() == pytest.approx(1)


def test_a_perfect_estimate_is_reached_in_one_step(generator: EmbeddedGenerator) -> None:
    wanted = torch.full((1, 3, 8, 8), 0.7)

    class Oracle:
        def denoise(self, x: torch.Tensor, t: float, conditions: object) -> torch.Tensor:
            return wanted

    for steps in (1, 3):
        told = Sampling(steps=steps)
        out = integrate(Oracle(), lambda _: torch.randn(1, 3, 8, 8), [Conditions()], told)  # type: ignore[arg-type]
        assert torch.allclose(out, wanted, atol=1e-5)


def test_each_step_draws_as_much_of_its_noise_anew_as_was_asked(generator: EmbeddedGenerator) -> None:
    """A network that says "black" leaves the noise alone: what is there at the last step shows its parts."""
    drawn = [torch.full((1, 3, 8, 8), float(n)) for n in (3, 5, 7)]
    seen: list[float] = []

    class Black:
        def denoise(self, x: torch.Tensor, t: float, conditions: object) -> torch.Tensor:
            seen.append(float(x.mean()) / (1 - t))
            return torch.zeros_like(x)

    for fresh, wanted in ((0.0, [3, 3, 3]), (1.0, [3, 5, 7]), (0.6, [3, 5.4, 8.52])):
        seen.clear()
        integrate(Black(), lambda step: drawn[step], [Conditions()], Sampling(steps=3, fresh=fresh))  # type: ignore[arg-type]
        assert seen == pytest.approx(wanted)


@pytest.mark.parametrize(
    "wrong", [Sampling(steps=0), Sampling(steps=1000), Sampling(guidance=0.2), Sampling(fresh=1.5)]
)
def test_steps_and_guidance_out_of_range_are_refused(generator: EmbeddedGenerator, wrong: Sampling) -> None:
    with pytest.raises(UserError, match=r"use \d to"):
        sample(generator, [TUMOUR], [0], sampling=wrong)


def test_an_unknown_generator_and_an_empty_folder_are_named(tmp_path: object) -> None:
    with pytest.raises(UserError, match="Did you mean 'embedded'"):
        load_generator("embeded")
    with pytest.raises(UserError, match="holds no generator"):
        load_generator(f"local-dir:{tmp_path}")
