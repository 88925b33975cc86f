"""The models of a reading room: loaded once, shared by all runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pathagent.reading_room.settings import RoomSettings
from pathagent_tools.core.protocols import SlideEncoder, VisionLanguageModel
from pathagent_tools.vlm.profile import Profile, load_profile

if TYPE_CHECKING:
    from pathagent.resources import Resources
    from pathagent.state import Case


class Models:
    """Profile, VLM and encoder. `vlm` and `encoder` may be given instead of the profile's."""

    def __init__(
        self,
        settings: RoomSettings,
        *,
        vlm: VisionLanguageModel | None = None,
        encoder: SlideEncoder | None = None,
    ) -> None:
        self.profile: Profile = load_profile(settings.profile)
        self._settings, self._vlm, self._encoder = settings, vlm, encoder
        self._given = vlm is not None or encoder is not None
        self._lock = threading.Lock()

    def load(self) -> tuple[VisionLanguageModel, SlideEncoder]:
        """The models, loaded where they are not. UserError where weights are missing, ModelUnavailableError
        where a server is absent."""
        from pathagent_tools.vlm.profile import open_vlm

        encoder = self.encoder()
        with self._lock:
            if self._vlm is None:
                url, model = self._settings.vlm_url, self._settings.vlm_model
                self._vlm = open_vlm(self.profile, vlm_url=url, vlm_model=model)
            return self._vlm, encoder

    def warm(self) -> None:
        """Load the models, and use the embedded ones and each tool of a look once on an empty field.

        First calls import and compile: two seconds that the first reader would wait. Raises as `load`.
        """
        vlm, encoder = self.load()
        if self._given or self._settings.vlm_url or self.profile.vlm.backend != "embedded":
            return
        import numpy as np

        import pathagent.graph  # noqa: F401
        from pathagent_tools.encoders.reading import hints
        from pathagent_tools.encoders.tissue_map import read_field
        from pathagent_tools.measure import estimate_stain, measure_region
        from pathagent_tools.vlm import roles
        from pathagent_tools.vlm.weights import cell_folders

        side, px = vlm.tile_px, max(2 * vlm.tile_px, encoder.tile_px)
        field = np.random.default_rng(0).integers(120, 250, (px, px, 3), np.uint8)
        measure_region(field, vlm.tile_mpp / 2, estimate_stain(field))
        tile = field[: encoder.tile_px, : encoder.tile_px]
        hints(encoder.encode_tiles(tile[None]), encoder)
        read_field(encoder, field[:side, :side])
        for kind, folder in cell_folders(self.profile):
            kind.shared(folder).logits(field[None])
        vlm.generate([roles.describe(field[:side, :side], field_um=side * vlm.tile_mpp)])

    def encoder(self) -> SlideEncoder:
        """The encoder alone, loaded where it is not. UserError where its weights are missing."""
        from pathagent_tools.encoders.registry import load_encoder

        with self._lock:
            if self._encoder is None:
                self._encoder = load_encoder(self.profile.encoder)
            return self._encoder

    def resources(self, case: Case) -> Resources:
        """What a run of that case needs."""
        from pathagent.resources import Resources
        from pathagent.runs import cache_dir

        vlm, encoder = self.load()
        store = cache_dir() / "features"
        return Resources(case=case, profile=self.profile, store=store, given_vlm=vlm, given_encoder=encoder)

    def described(self) -> list[tuple[str, str]]:
        """(role, what stands behind it), for the settings page. Loads nothing."""
        spec = self.profile.vlm
        behind = f"{spec.model or spec.backend} ({spec.backend})"
        if self._vlm is not None:
            behind = f"{self._vlm.id}, revision {self._vlm.revision[:12]}"
        adapters = [(str(role), f"adapter {path.name}") for role, path in sorted(spec.adapters.items())]
        encoder = self.profile.encoder
        if self._encoder is not None:
            encoder = f"{self._encoder.id}, revision {self._encoder.revision[:12]}"
        return [("looks and writes", behind), *adapters, ("scans", encoder)]
