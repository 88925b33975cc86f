"""One slide of a case, open, with what was worked out from it: tissue, quality, scans, measurements."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pathagent_tools.core.protocols import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pathagent.resources import Resources
    from pathagent_tools.core.geometry import Region
    from pathagent_tools.core.records import Measurement
    from pathagent_tools.encoders.closer import ClosePlaces
    from pathagent_tools.encoders.domain import DomainVerdict
    from pathagent_tools.encoders.scan import TileFeatures
    from pathagent_tools.measure import StainMatrix
    from pathagent_tools.measure.extent import Extent
    from pathagent_tools.measure.lymphocytes import Density
    from pathagent_tools.slides import Quality, Slide, Tissue

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

        return self._once("estimate_stain", lambda: estimate_stain(self.slide, tissue=self.tissue))

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

    def lymphocytes(self, cells: Mapping[int, NDArray[np.float32]] | None = None) -> Density | None:
        """Lymphocytes per mm² in cells of scanned tiles (`Extent.cells`), by default in all tissue.

        None where nothing counts them at this resolution.
        """
        import numpy as np

        from pathagent_tools.measure.lymphocytes import density_in

        counter, scanned = self._resources.lymphocyte_counter, self.features
        if counter is None:
            return None
        if cells is not None:
            return self._tool(
                "count_lymphocytes", lambda: density_in(self.slide, scanned, counter, cells), tiles=len(cells)
            )
        side = np.full((len(scanned), 2), scanned.size_level0)
        shares = self.tissue.fractions(np.hstack([scanned.coords, side]))
        whole = {i: np.full((1, 1), share, np.float32) for i, share in enumerate(shares)}
        return self._once("count_lymphocytes", lambda: density_in(self.slide, scanned, counter, whole))

    def read(self, region: Region) -> Image:
        """Pixels of a region at its mpp, the caller's own to write to."""
        return self._tool("read_region", lambda: self.slide.read(region).copy(), region=region.model_dump())

    def measure(self, region: Region, *, known: bool = False) -> tuple[Measurement, ...]:
        """Nuclei and tissue of one region, at 0.5 µm per px or the slide's own coarser resolution.

        known: the models of the profile know such tissue, so its mitotic figures are counted and the encoder
        says what it takes it for.
        """
        from pathagent_tools.measure import measure_region

        mpp = max(MEASURE_MPP, self.slide.mpp)
        pixels = self.slide.read(region.model_copy(update={"mpp": mpp}))
        where = region.model_dump()
        measured = self._tool("measure_region", lambda: measure_region(pixels, mpp, self.stain), region=where)
        if not known:
            return measured
        tissue = next(m.value for m in measured if m.name == "tissue_fraction") / 100
        detector, counter = self._resources.mitosis_detector, self._resources.lymphocyte_counter
        if detector is not None and detector.reads(mpp):
            count = self._tool("count_mitoses", lambda: detector.measure(pixels, mpp), region=where)
            measured = (*measured, count)
        if counter is not None and counter.reads(mpp):
            density = self._tool(
                "count_lymphocytes", lambda: counter.measure(pixels, mpp, tissue), region=where
            )
            measured = (*measured, density)
        return (*measured, *self._read_again(region))

    def _read_again(self, region: Region) -> tuple[Measurement, ...]:
        """The encoder's own reading of a look; nothing where it does not know such tissue, or the slide is
        coarser than its tiles."""
        from pathagent_tools.encoders.tissue_map import head_of, read_field

        encoder = self._resources.encoder
        if head_of(encoder) is None or not self._mappable():
            return ()
        pixels, margin = self._as_the_encoder_reads(region)
        return self._tool(
            "read_field", lambda: read_field(encoder, pixels, margin=margin), region=region.model_dump()
        )

    def disease_map(self, region: Region) -> NDArray[np.float32] | None:
        """[rows, columns] 0..1: how surely each cell of a region is tumour, dysplasia or mucin, NaN where the
        map has none. None where the encoder has no tissue map or does not know such tissue."""
        from pathagent_tools.encoders.tissue_map import diseased, field_cells, head_of

        encoder = self._resources.encoder
        if head_of(encoder) is None or not self._mappable():
            return None

        def mapped() -> NDArray[np.float32]:
            pixels, margin = self._as_the_encoder_reads(region)
            return diseased(*field_cells(encoder, pixels, margin=margin))

        return self._once("tissue_map", mapped, region=region.model_dump())

    def _mappable(self) -> bool:
        encoder = self._resources.encoder
        return self.slide.mpp <= 1.02 * encoder.tile_mpp and self._resources.encoder_knows(self.slide.id)

    def _as_the_encoder_reads(self, region: Region) -> tuple[Image, int]:
        """(pixels at the encoder's mpp, px of surroundings on each side) of a region.

        One that is smaller than a tile of the encoder comes in as much of its surroundings as a tile shows.
        """
        encoder = self._resources.encoder
        scale = encoder.tile_mpp / self.slide.mpp
        lacking = encoder.tile_px - round(min(region.width, region.height) / scale)
        margin = max(0, -(-lacking // 2))
        around = round(margin * scale)
        read = region.model_copy(
            update={
                "x": region.x - around,
                "y": region.y - around,
                "width": region.width + 2 * around,
                "height": region.height + 2 * around,
                "mpp": encoder.tile_mpp,
            }
        )
        return self.slide.read(read), margin

    def mitoses(self, regions: Sequence[Region]) -> NDArray[np.float32] | None:
        """[k, 3] mitotic figures in the regions, each once: level-0 (x, y), and 1 where certain, else 0.5.

        None where nothing counts at this resolution.
        """
        import numpy as np

        from pathagent_tools.measure.mitoses import APART_UM, distinct

        detector = self._resources.mitosis_detector
        mpp = max(MEASURE_MPP, self.slide.mpp)
        if detector is None or not detector.reads(mpp):
            return None

        def find() -> NDArray[np.float32]:
            found = [np.empty((0, 3), np.float32)]
            for region in regions:
                figures = detector.find(self.slide.read(region.model_copy(update={"mpp": mpp})), mpp)
                places = figures[:, :2] * (mpp / self.slide.mpp) + (region.x, region.y)
                found.append(np.column_stack([places, figures[:, 2]]))
            figures = distinct(np.concatenate(found), APART_UM / self.slide.mpp)
            figures[:, 2] = np.where(figures[:, 2] >= detector.config.certain, 1.0, 0.5)
            return figures

        return self._tool("find_mitoses", find, regions=len(regions))

    def _once(self, name: str, function: Callable[[], T], **arguments: Any) -> T:
        key = f"{name} {arguments}" if arguments else name
        with self._lock:
            if key not in self._made:
                self._made[key] = self._tool(name, function, **arguments)
            return cast("T", self._made[key])

    def _tool(self, name: str, function: Callable[[], T], **arguments: Any) -> T:
        return self._resources.tool(name, function, slide=self.slide.id, **arguments)
