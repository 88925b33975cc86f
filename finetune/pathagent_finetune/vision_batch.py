"""The visual tower of Qwen3-VL on a batch of tiles of one size: the same numbers, computed faster.

The stock forward takes a packed list of images of any size and attends image by image; training sees
tiles of one size only, so attention is one batched product, and the two equal frames of an image need
one product with the summed patch kernel. A test holds the two forwards equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Scalar = TypeVar("Scalar", bound=np.generic)


def to_patches(images: NDArray[np.uint8], patch_px: int = 16) -> Tensor:
    """[N, px, px, 3] uint8 → [N, patches, 3 · patch_px²] float32 in −1..1, in 2 × 2 merge order."""
    import torch

    n, px = images.shape[0], images.shape[1]
    side = px // (2 * patch_px)
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    x = x.reshape(n, 3, side, 2, patch_px, side, 2, patch_px)
    return x.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(n, 4 * side * side, 3 * patch_px * patch_px)


def _positions(visual: Any, patches: int) -> tuple[Tensor, Tensor, Tensor]:
    """(position rows [P], cos [P, d], sin [P, d]) in merge order; the grid must be the learned one."""
    import torch

    side = int(patches**0.5)
    index = torch.arange(patches).reshape(side // 2, 2, side // 2, 2).permute(0, 2, 1, 3).reshape(-1)
    index = index.to(visual.pos_embed.weight.device)
    where = torch.stack([index // side, index % side])
    cos, sin = visual.rotary_pos_emb(visual.pos_embed.weight, where.T)
    return index, cos, sin


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    import torch

    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), dim=-1) * sin


def _attend(block: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    import torch

    n, p, width = x.shape
    heads = block.attn.num_heads
    q, k, v = block.attn.qkv(x).view(n, p, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    cos, sin = cos.to(q.dtype), sin.to(q.dtype)
    q, k = _rotate(q, cos, sin) * block.attn.scaling, _rotate(k, cos, sin)
    if x.is_cuda:
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=1.0)
    else:
        mixed = torch.softmax(q @ k.transpose(-1, -2), dim=-1).to(v.dtype) @ v
    return block.attn.proj(mixed.transpose(1, 2).reshape(n, p, width))  # type: ignore[no-any-return]


def encode(visual: Any, patches: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Image tokens of a batch of tiles, as the language model gets them.

    `visual` is a `Qwen3VLVisionModel` whose position table has exactly `P` rows; `patches` [N, P, C·p²]
    from `to_patches`. Returns merged tokens [N, P/4, D] and one such tensor per deepstack layer.
    """
    kernel = visual.patch_embed.proj
    weight = kernel.weight.sum(dim=2).flatten(1)
    n, p, _ = patches.shape
    index, cos, sin = _positions(visual, p)
    x = patches.to(weight.device) @ weight.T + kernel.bias + visual.pos_embed.weight[index]
    deep = []
    for i, block in enumerate(visual.blocks):
        x = x + _attend(block, block.norm1(x), cos, sin)
        x = x + block.mlp(block.norm2(x))
        if i in visual.deepstack_visual_indexes:
            merger = visual.deepstack_merger_list[visual.deepstack_visual_indexes.index(i)]
            deep.append(merger(x).view(n, p // 4, -1))
    return visual.merger(x).view(n, p // 4, -1), deep


def augment(images: NDArray[np.uint8], rng: np.random.Generator, *, colour: float) -> tuple[Any, Any]:
    """Turned, mirrored and slightly recoloured copies, and the turns (k, mirror) that were used.

    `colour` is the standard deviation of the gain of each colour channel's absorbance (0.03: hardly
    visible); stain strength stays what it is.
    """
    turns = [(int(rng.integers(4)), bool(rng.integers(2))) for _ in range(len(images))]
    out = np.stack([turn(image, *t) for image, t in zip(images, turns, strict=True)])
    if colour > 0:
        gain = rng.normal(1, colour, (len(images), 1, 1, 3)).astype(np.float32)
        gain /= gain.mean(axis=-1, keepdims=True)
        out = (255.5 - (255 - out.astype(np.float32)) * gain).clip(0, 255).astype(np.uint8)
    return out, turns


def turn(image: NDArray[Scalar], quarter_turns: int, mirror: bool) -> NDArray[Scalar]:
    """The image or label map rotated by quarter turns, then mirrored left to right."""
    out = np.rot90(image, quarter_turns)
    return out[:, ::-1] if mirror else out
