"""Marks of synthetic images: a band in the pixels, an invisible watermark, metadata, a signed manifest.

`writing.write_synthetic` and `writing.write_synthetic_slide` are the only functions of the project that
put a generated image on disk, and neither can leave a mark out.
"""
