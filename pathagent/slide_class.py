"""What a slide head says of a slide: calibrated probabilities of the user's own classes."""

from __future__ import annotations

from pathlib import Path


def classify_slide(
    slide: str | Path,
    head: str | Path,
    *,
    encoder: str | None = None,
    mpp: float | None = None,
    mpp_csv: str | Path | None = None,
) -> dict[str, float]:
    """Class → probability, likeliest first, by a head of `pathagent finetune slide-head`.

    encoder: its name where the head's own is not enough to find it (`local-dir:/path`).

    UserError: no such head, one for other weights of the encoder, a slide without tissue; SlideError.
    """
    from pathagent.runs import cache_dir
    from pathagent_tools.encoders.registry import load_encoder
    from pathagent_tools.encoders.scan import scan_slide
    from pathagent_tools.encoders.slide_head import SlideHead
    from pathagent_tools.slides import open_slide, tissue_mask

    trained = SlideHead.load(Path(head))
    model = load_encoder(encoder or trained.settings.encoder)
    trained = SlideHead.load(Path(head), encoder=model.id, revision=model.revision)
    with open_slide(slide, mpp=mpp, mpp_csv=mpp_csv) as opened:
        found = scan_slide(opened, tissue_mask(opened), model, store=cache_dir() / "features")
    return trained.probabilities(found.features)
