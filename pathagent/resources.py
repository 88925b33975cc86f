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
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pathagent.events import EventLog, ModelAsked, ToolCalled, digest_of
from pathagent.open_slide import OpenSlide
from pathagent.state import Case, ModelCall
from pathagent_tools.core.errors import ModelError, UserError
from pathagent_tools.core.protocols import Completion, ModelRequest, SlideEncoder, VisionLanguageModel

if TYPE_CHECKING:
    from pathagent_tools.generators.protocol import ImageGenerator
    from pathagent_tools.generators.studio import Studio
    from pathagent_tools.measure.lymphocytes import LymphocyteCounter
    from pathagent_tools.measure.mitoses import MitosisDetector
    from pathagent_tools.slides import Slide
    from pathagent_tools.vlm.profile import Profile

T = TypeVar("T")


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
        self.first_look = threading.Lock()
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
        from pathagent_tools.measure.mitoses import MitosisDetector

        return MitosisDetector.shared(MitosisDetector.folder_of(self.profile.mitoses))

    @cached_property
    def lymphocyte_counter(self) -> LymphocyteCounter | None:
        """What counts lymphocytes; None where the profile names nothing. UserError on bad weights."""
        if self.profile.lymphocytes is None:
            return None
        from pathagent_tools.measure.lymphocytes import LymphocyteCounter

        return LymphocyteCounter.shared(LymphocyteCounter.folder_of(self.profile.lymphocytes))

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
