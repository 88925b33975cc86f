"""Where images are drawn: generator, encoder and sampling of one call, and what a task hands back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pathagent_tools.core.protocols import Image, SlideEncoder
from pathagent_tools.core.synthetic import ReadBack
from pathagent_tools.generators.conditions import Conditions, Layout
from pathagent_tools.generators.protocol import ImageGenerator, Images
from pathagent_tools.generators.sampling import Sampling, check_sampling, sample


@dataclass(frozen=True)
class Drawn:
    """The images of one task, in memory only: `publishing.publish` is what writes them, marked.

    images and captions go together; `words` what each claims to show, empty where it claims nothing.
    numbers: what was measured on the way (scores before and after, similarity), for the record. columns: of
    the sheet. classical: the method, where no generator was asked. layouts: what each was drawn on.
    """

    task: str
    title: str
    images: tuple[Image, ...]
    captions: tuple[str, ...]
    words: tuple[dict[str, str], ...]
    request: dict[str, Any]
    seed: int
    mpp: float
    synthetic: tuple[bool, ...] = ()
    read_back: tuple[tuple[ReadBack, ...], ...] = ()
    numbers: dict[str, Any] = field(default_factory=dict)
    columns: int | None = None
    classical: str = ""
    layouts: tuple[Layout | None, ...] = ()


class Studio:
    """A generator with the encoder that reads its images back. Both are loaded when first needed."""

    def __init__(
        self,
        generator: ImageGenerator | None = None,
        encoder: SlideEncoder | None = None,
        *,
        sampling: Sampling | None = None,
        name: str = "embedded",
    ) -> None:
        self._generator, self._encoder, self._name = generator, encoder, name
        self.sampling = check_sampling(sampling or Sampling())

    @cached_property
    def generator(self) -> ImageGenerator:
        """The generator. UserError where weights or packages are missing."""
        if self._generator is not None:
            return self._generator
        from pathagent_tools.generators.registry import load_generator

        return load_generator(self._name)

    @cached_property
    def encoder(self) -> SlideEncoder:
        """The encoder. UserError where weights are missing."""
        if self._encoder is not None:
            return self._encoder
        from pathagent_tools.encoders.registry import load_encoder

        return load_encoder("embedded")

    def laid_out(self, conditions: Sequence[Conditions], seeds: Sequence[int]) -> list[Conditions]:
        """The requests, those without layout and reference on one of the generator's library.

        They stay as they are where the generator has no library, or none of its layouts shows what is asked.
        """
        library = getattr(self.generator, "library", None)
        if library is None:
            return list(conditions)
        return [
            c if c.layout or c.reference else c.but(layout=library.choose(c, seed))
            for c, seed in zip(conditions, seeds, strict=True)
        ]

    def draw(
        self, conditions: Sequence[Conditions], seeds: Sequence[int], *, size: int | None = None
    ) -> Images:
        """[n, size, size, 3] by this studio's sampling; fields of the generator's own size `laid_out`."""
        if size in (None, self.generator.px):
            conditions = self.laid_out(conditions, seeds)
        return sample(self.generator, conditions, seeds, size=size, sampling=self.sampling)


Task = Callable[[Studio, Any], Drawn]
"""A task: draws what a request (a pydantic model) asks for."""
