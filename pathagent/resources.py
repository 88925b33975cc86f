"""Everything heavy that a run needs: open slides, tissue, tile features, models.

None of it is in the graph's state. It is built when first asked for, keyed by slide id, and built again
after a crash; features come back from their store on disk.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from pathagent.events import EventLog, ModelAsked, ToolCalled, digest_of
from pathagent.state import Case, ModelCall
from pathagent_tools.core.errors import ModelError, UserError
from pathagent_tools.core.protocols import Completion, Image, ModelRequest, SlideEncoder, VisionLanguageModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pathagent_tools.core.geometry import Region
    from pathagent_tools.core.records import Measurement
    from pathagent_tools.encoders.closer import ClosePlaces
    from pathagent_tools.encoders.domain import DomainVerdict
    from pathagent_tools.encoders.scan import TileFeatures
    from pathagent_tools.generators.protocol import ImageGenerator
    from pathagent_tools.generators.studio import Studio
    from pathagent_tools.measure import StainMatrix
    from pathagent_tools.measure.extent import Extent
    from pathagent_tools.measure.mitoses import MitosisDetector
    from pathagent_tools.slides import Quality, Slide, Tissue
    from pathagent_tools.vlm.profile import Profile

T = TypeVar("T")
MEASURE_MPP = 0.5
"""Nuclei are measured at this resolution, or at the slide's own where it is coarser."""


class OpenSlide:
    """One slide of the case with what was worked out from it. Thread-safe; nothing is computed twice."""

    def __init__(self, slide: Slide, resources: Resources) -> None:
        self.slide, self._resources = slide, resources
        self._lock = threading.RLock()
        self._made: dict[str, Any] = {}

    @property
    def tissue(self) -> Tissue:
        """Where the tissue is."""
        from pathagent_tools.slides import tissue_mask

        return self._once("tissue_mask", lambda: tissue_mask(self.slide))

    @property
    def quality(self) -> Quality:
        """Fit to be read as H&E, or why not."""
        from pathagent_tools.slides import check_quality

        return self._once("check_quality", lambda: check_quality(self.slide, self.tissue))

    @property
    def stain(self) -> StainMatrix:
        """Stain vectors of the slide."""
        from pathagent_tools.measure import estimate_stain

        return self._once("estimate_stain", lambda: estimate_stain(self.slide))

    @property
    def features(self) -> TileFeatures:
        """Embeddings of the tissue's tiles: the question-free first scan."""
        from pathagent_tools.encoders.scan import scan_slide

        encoder, store = self._resources.encoder, self._resources.store
        return self._once("scan_slide", lambda: scan_slide(self.slide, self.tissue, encoder, store=store))

    @property
    def anomaly(self) -> NDArray[np.float32]:
        """[N] in 0..1 per tile, without a question."""
        from pathagent_tools.encoders.reading import anomaly

        return self._once("anomaly", lambda: anomaly(self.features.features, self._resources.encoder))

    @property
    def hints(self) -> list[str]:
        """[N] the encoder's best class of each tile, in words."""
        from pathagent_tools.encoders.reading import hints

        return self._once("hints", lambda: hints(self.features.features, self._resources.encoder))

    @property
    def domain(self) -> DomainVerdict:
        """Whether the encoder was made for such tissue. UserError where it cannot tell."""
        from pathagent_tools.encoders.domain import slide_in_domain

        encoder = self._resources.encoder
        return self._once(
            "slide_in_domain", lambda: slide_in_domain(self.slide, self.tissue, self.features, encoder)
        )

    @property
    def scanned(self) -> bool:
        """Whether the scan has been done; asking does not start it."""
        return "scan_slide" in self._made

    @property
    def close(self) -> ClosePlaces:
        """The scan together with a closer one around its best places."""
        from pathagent_tools.encoders.closer import scan_closer

        return self._once(
            "scan_closer", lambda: scan_closer(self.slide, self.features, self._resources.encoder)
        )

    def relevance(self, goal: str, *, close: bool = False) -> NDArray[np.float32]:
        """[N] in 0..1 per tile: likeness to the words of a question. close: of both scans' tiles."""
        from pathagent_tools.encoders.reading import relevance

        features = self.close.features if close else self.features.features
        return self._tool("relevance", lambda: relevance(features, self._resources.encoder, goal), goal=goal)

    def lesion_extent(self, tissues: Sequence[str], looks: Sequence[Region]) -> Extent | None:
        """How large the lesion of these tissues under the looks is; None where the map shows none there."""
        from pathagent_tools.measure.extent import lesion_extent

        scanned, encoder = self.features, self._resources.encoder
        return self._tool(
            "lesion_extent",
            lambda: lesion_extent(self.slide, scanned, encoder, tissues, looks),
            tissues=list(tissues),
            looks=[r.model_dump() for r in looks],
        )

    def read(self, region: Region) -> Image:
        """Pixels of a region at its mpp, the caller's own to write to."""
        return self._tool("read_region", lambda: self.slide.read(region).copy(), region=region.model_dump())

    def measure(self, region: Region, *, known: bool = False) -> tuple[Measurement, ...]:
        """Nuclei and tissue of one region, at 0.5 µm per px or the slide's own coarser resolution.

        known: the models of the profile know such tissue, so its mitotic figures are counted too.
        """
        from pathagent_tools.measure import measure_region

        mpp = max(MEASURE_MPP, self.slide.mpp)
        pixels = self.slide.read(region.model_copy(update={"mpp": mpp}))
        measured = self._tool(
            "measure_region", lambda: measure_region(pixels, mpp, self.stain), region=region.model_dump()
        )
        detector = self._resources.mitosis_detector if known else None
        if detector is None or not detector.reads(mpp):
            return measured
        count = self._tool("count_mitoses", lambda: detector.measure(pixels, mpp), region=region.model_dump())
        return (*measured, count)

    def mitoses(self, regions: Sequence[Region]) -> list[int] | None:
        """Mitotic figures in each region; None where nothing counts them at this slide's resolution."""
        detector = self._resources.mitosis_detector
        mpp = max(MEASURE_MPP, self.slide.mpp)
        if detector is None or not detector.reads(mpp):
            return None
        fields = (self.slide.read(r.model_copy(update={"mpp": mpp})) for r in regions)
        return self._tool(
            "count_mitoses",
            lambda: [len(detector.find(pixels, mpp)) for pixels in fields],
            regions=len(regions),
        )

    def _once(self, name: str, function: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._made:
                self._made[name] = self._tool(name, function)
            return cast("T", self._made[name])

    def _tool(self, name: str, function: Callable[[], T], **arguments: Any) -> T:
        return self._resources.tool(name, function, slide=self.slide.id, **arguments)


@dataclass
class Resources:
    """Models, profile and open slides of one run. Use as a context manager: leaving closes what it opened."""

    case: Case
    profile: Profile
    events: EventLog = field(default_factory=EventLog)
    store: Path | None = None
    given_vlm: VisionLanguageModel | None = None
    given_encoder: SlideEncoder | None = None
    vlm_url: str | None = None
    vlm_model: str | None = None
    run: str = ""
    work: Path | None = None
    given_generator: ImageGenerator | None = None

    def __post_init__(self) -> None:
        self._open: dict[str, OpenSlide] = {}
        self._lock = threading.RLock()
        self._started, self._seconds_before = time.monotonic(), 0.0

    @cached_property
    def vlm(self) -> VisionLanguageModel:
        """The model that looks. UserError where weights are missing."""
        if self.given_vlm is not None:
            return self.given_vlm
        from pathagent_tools.vlm.profile import open_vlm

        return open_vlm(self.profile, vlm_url=self.vlm_url, vlm_model=self.vlm_model)

    @cached_property
    def encoder(self) -> SlideEncoder:
        """The model that scans. UserError where weights are missing."""
        if self.given_encoder is not None:
            return self.given_encoder
        from pathagent_tools.encoders.registry import load_encoder

        return load_encoder(self.profile.encoder)

    @cached_property
    def mitosis_detector(self) -> MitosisDetector | None:
        """What counts mitotic figures; None where the profile names nothing. UserError on bad weights."""
        if self.profile.mitoses is None:
            return None
        from pathagent_tools.measure.mitoses import MitosisDetector, detector_folder

        return MitosisDetector.load(detector_folder(self.profile.mitoses))

    @cached_property
    def studio(self) -> Studio:
        """What draws illustrations. UserError where its weights or packages are missing."""
        from pathagent_tools.generators.registry import require_extra
        from pathagent_tools.generators.studio import Studio

        require_extra()
        return Studio(self.given_generator, self.encoder)

    def slide(self, slide_id: str) -> OpenSlide:
        """The open slide of that id. SlideError where it cannot be opened, UserError where it changed."""
        with self._lock:
            if slide_id not in self._open:
                self._open[slide_id] = OpenSlide(self._open_slide(slide_id), self)
            return self._open[slide_id]

    def _open_slide(self, slide_id: str) -> Slide:
        from pathagent_tools.slides import open_slide

        given = next(s for s in self.case.slides if s.id == slide_id)
        slide = open_slide(given.path, slide_id=slide_id, mpp=self.case.mpp, mpp_csv=self.case.mpp_csv)
        if given.digest and slide.digest != given.digest:
            slide.close()
            raise UserError(f"{given.path} has changed since this run began. Start the run again.")
        return slide

    def in_domain(self, slide_id: str) -> tuple[float | None, bool]:
        """(out-of-domain score, whether the models of this profile know such tissue).

        Models that are not bound to phantoms are not asked: (None, True). UserError where the profile is
        bound to phantoms and its encoder cannot tell.
        """
        if self.profile.domain != "phantom":
            return None, True
        verdict = self.slide(slide_id).domain
        return float(verdict.score), bool(verdict.in_domain)

    def encoder_knows(self, slide_id: str) -> bool:
        """Whether the encoder's class names mean anything on such tissue.

        A profile of hub models may scan with the embedded encoder, which then ranks but must not name.
        """
        from pathagent_tools.encoders.domain import reference_of

        try:
            reference_of(self.encoder)
        except UserError:
            return True
        return bool(self.slide(slide_id).domain.in_domain)

    def tool(self, name: str, function: Callable[[], T], **arguments: Any) -> T:
        """Run a tool and log the call: name, arguments, seconds, digest of the result."""
        started = time.monotonic()
        result = function()
        self.events.emit(
            ToolCalled(
                tool=name,
                arguments=arguments,
                seconds=round(time.monotonic() - started, 4),
                result_sha256=digest_of(result),
            )
        )
        return result

    def ask(self, key: str, request: ModelRequest) -> ModelCall:
        """Ask the model one question. An unusable answer comes back with `data=None`, never as a guess.

        Raises ModelUnavailableError (the run pauses) and UserError (unknown model).
        """
        return self.ask_all([(key, request)])[0]

    def ask_all(self, asked: Sequence[tuple[str, ModelRequest]]) -> list[ModelCall]:
        """Ask questions that do not depend on each other, together. Keys, answers and errors as in `ask`."""
        requests = [request for _, request in asked]
        answers: list[Completion | ModelError]
        try:
            answers = [*self.vlm.generate(requests)] if requests else []
        except ModelError as error:
            answers = [self._alone(r) for r in requests] if len(requests) > 1 else [error]
        return [self._call(key, request, done) for (key, request), done in zip(asked, answers, strict=True)]

    def _alone(self, request: ModelRequest) -> Completion | ModelError:
        try:
            return self.vlm.generate([request])[0]
        except ModelError as error:
            return error

    def _call(self, key: str, request: ModelRequest, done: Completion | ModelError) -> ModelCall:
        common: dict[str, Any] = {
            "key": key,
            "role": request.role,
            "prompt_sha256": request.prompt_sha256,
            "system": request.system,
            "user": request.user,
            "images": len(request.images),
        }
        if isinstance(done, ModelError):
            call = ModelCall(
                **common, text="", data=None, error=str(done), model=self.vlm.id, revision=self.vlm.revision
            )
        else:
            call = ModelCall(
                **common,
                text=done.text,
                data=done.data,
                tokens=done.prompt_tokens + done.completion_tokens,
                seconds=round(done.seconds, 4),
                confidence=done.confidence,
                model=done.model or self.vlm.id,
                revision=done.revision or self.vlm.revision,
                adapter=done.adapter,
            )
        self.events.emit(
            ModelAsked(
                key=key,
                role=call.role,
                images=call.images,
                prompt_sha256=call.prompt_sha256,
                seconds=call.seconds,
                tokens=call.tokens,
                text=call.text,
                error=call.error,
            )
        )
        return call

    def resume_clock(self, seconds: float) -> None:
        """Start this run's clock, with the seconds that an earlier, interrupted part of it has spent."""
        self._started, self._seconds_before = time.monotonic(), seconds

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of this run so far, earlier parts included."""
        return round(self._seconds_before + time.monotonic() - self._started, 3)

    def close(self) -> None:
        """Close the slides (each has a decoding process of its own) and the connections to a server."""
        with self._lock:
            for opened in self._open.values():
                opened.slide.close()
            self._open.clear()
            opened_vlm = self.__dict__.pop("vlm", None)
        if opened_vlm is not self.given_vlm and hasattr(opened_vlm, "close"):
            opened_vlm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
