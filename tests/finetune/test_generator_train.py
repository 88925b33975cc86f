"""Training of the generator: pairs are turned about together, stages resume, the loss falls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, pixel_shuffle

from pathagent_finetune import generator_card, generator_store
from pathagent_finetune.generator_batch import FieldBatches, draw_holes, turned, turned_angles
from pathagent_finetune.generator_recipe import FieldSets, GeneratorRecipe, load_recipe
from pathagent_finetune.generator_train import flow_loss, train_stage
from pathagent_finetune.loop import Budget
from pathagent_finetune.tilestore import TileSet
from pathagent_tools.core.errors import UserError
from pathagent_tools.encoders.registry import load_encoder
from pathagent_tools.generators.conditions import LABELS, REFERENCE_KINDS
from pathagent_tools.generators.network import FOLD, FOLDED, PICTURE, Generator, Shape, map_tensor
from pathagent_tools.generators.weights import load_network

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, generator_store.FieldStore]:
    folder = tmp_path_factory.mktemp("fields")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator_store, "SHARD", 16)
        generator_store._render_shard(0, folder=folder, first_seed=640, px=32, split="train")
    store = generator_store.open_store(folder)
    return {"train": store, "validation": store}


def tiny(steps: int) -> GeneratorRecipe:
    one = TileSet(count=16, first_seed=640)
    return GeneratorRecipe(
        id="tiny", version="0", seed=3, px=32,
        fields=FieldSets(train=one, validation=one, test=one, layouts=one),
        shape=Shape(channels=(16, 16, 32), layers=1, head=16), batch=4,
        stages=(Budget(steps=steps, lr=2e-3),), ema=0.9, threads=1,
    )  # fmt: skip


def test_the_shipped_recipe_loads_and_bad_ones_are_named(tmp_path: Path) -> None:
    assert load_recipe("generator").px == 128
    with pytest.raises(UserError, match="No recipe"):
        load_recipe("no such")
    (tmp_path / "bad.yaml").write_text("id: x\n")
    with pytest.raises(UserError, match="cannot be used"):
        load_recipe(tmp_path / "bad.yaml")


def test_a_stored_field_has_its_layers(stores: dict[str, generator_store.FieldStore]) -> None:
    store = stores["train"]
    assert len(store) == 16 and store.get("images", 3).shape == (32, 32, 3)
    layers = store.stack("layers", np.arange(16))
    assert set(np.unique(layers)) <= set(range(8))
    assert {t["partner"] for t in store.truth} <= {"stain", "artifact", "lesion"}
    assert len({t["mpp"] for t in store.truth[:8]}) == 1


def test_a_field_that_reads_as_something_else_lends_no_layout(tmp_path: Path) -> None:
    """The middle of a field is what a reader takes it for: a picture of other tissue is not kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator_store, "SHARD", 12)
        generator_store._render_shard(0, folder=tmp_path, first_seed=704, px=128, split="test")
    store, encoder = generator_store.open_store(tmp_path), load_encoder("embedded")
    kept = generator_card.library_of(store, encoder)
    store.arrays["images"] = [np.full((12, 128, 128, 3), 243, np.uint8)]  # empty glass, whatever is said
    bare = generator_card.library_of(store, encoder)
    glass = [row["findings"]["tissue"] == "background" for row in store.truth]
    assert len(kept.labels) >= 10 > sum(glass)
    assert len(bare.labels) == sum(glass)


def test_a_run_that_stops_goes_on_to_the_same_weights(
    stores: dict[str, generator_store.FieldStore], tmp_path: Path
) -> None:
    assert train_stage(tiny(4), 0, tmp_path / "whole", stores, CPU)
    assert not train_stage(tiny(4), 0, tmp_path / "parts", stores, CPU, until=0.0)
    assert train_stage(tiny(4), 0, tmp_path / "parts", stores, CPU)
    whole, parts = (load_network(tmp_path / name / "model").state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_the_loss_falls_on_what_is_seen_again(stores: dict[str, generator_store.FieldStore]) -> None:
    torch.manual_seed(0)
    net = Generator(Shape(channels=(16, 16, 32), layers=1, head=16))
    clean, told = FieldBatches(stores["train"]).draw(np.arange(4), np.random.default_rng(0)).tensors(net)
    t, noise = torch.full((4,), 0.5), torch.randn(clean.shape)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    losses = []
    for _ in range(12):
        loss = flow_loss(net, clean, told, t, noise).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_conditions_are_given_and_left_out(stores: dict[str, generator_store.FieldStore]) -> None:
    net = Generator(Shape(channels=(16, 16, 32), layers=1, head=16))
    drawn = FieldBatches(stores["train"]).draw(np.repeat(np.arange(16), 8), np.random.default_rng(1))
    _, told = drawn.tensors(net)
    assert 0.2 < float((told.words > 0).float().mean()) < 0.8
    assert len(set(told.kind.tolist())) >= 4
    given = told.maps.abs().sum((1, 2, 3)) > 0
    assert 0.1 < float(given.float().mean()) < 0.9
    assert bool((told.reference[told.kind == 0] == 0).all())


def test_a_reference_shows_what_its_kind_says(stores: dict[str, generator_store.FieldStore]) -> None:
    net = Generator(Shape(channels=(16, 16, 32), layers=1, head=16))
    drawn = FieldBatches(stores["train"]).draw(np.repeat(np.arange(16), 12), np.random.default_rng(2))
    clean, told = drawn.tensors(net)
    other = net.normalise(drawn.partner.permute(0, 3, 1, 2))
    seen = pixel_shuffle(told.reference[:, :PICTURE], FOLD)
    known = pixel_shuffle(told.reference[:, PICTURE : PICTURE + FOLDED], FOLD) > 0
    for i, number in enumerate(told.kind.tolist()):
        kind = REFERENCE_KINDS[number]
        if kind == "none":
            assert not known[i].any()
            continue
        assert torch.equal(known[i, 0], drawn.known[i])
        if kind == "holes":
            assert torch.equal(seen[i], torch.where(known[i], clean[i], 0.0)) and not known[i].all()
        elif kind == "low resolution":
            small = avg_pool2d(clean[i : i + 1], 8)
            assert torch.allclose(avg_pool2d(seen[i : i + 1], 8), small, atol=0.6)
            assert not torch.equal(seen[i], clean[i])
        else:
            assert torch.equal(seen[i], other[i])
            apart = (drawn.image[i].int() - drawn.partner[i].int()).abs().amax(-1)
            assert kind == "stain" or not (apart[drawn.known[i]] > 14).any()


def test_what_is_not_told_of_a_layout_is_not_seen(stores: dict[str, generator_store.FieldStore]) -> None:
    labels = torch.from_numpy(stores["train"].stack("labels", np.arange(4))).long()
    masks, fibres = torch.ones_like(labels).bool(), torch.full((4, 8, 8), 0.7)
    given = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0], [0, 1, 1, 1]]).bool()
    told = map_tensor(labels, masks, masks, fibres, given)
    nuclei, membranes = told[:, :FOLDED], told[:, FOLDED : 2 * FOLDED]
    shares = told[:, 2 * FOLDED : 2 * FOLDED + len(LABELS)]
    directions = told[:, 2 * FOLDED + len(LABELS) : -2]
    assert nuclei.amax((1, 2, 3)).tolist() == [1, 0, 1, 0] == told[:, -1].amax((1, 2)).tolist()
    assert membranes.amax((1, 2, 3)).tolist() == [1, 1, 0, 0]
    assert directions.abs().amax((1, 2, 3)).tolist() == [1, 1, 0, 0]
    assert torch.allclose(shares.sum(1), given[:, 0].float()[:, None, None].expand(4, 8, 8))


def test_a_direction_turns_with_its_picture() -> None:
    """A line of known direction, drawn, turned about, and measured again."""
    ys, xs = np.mgrid[0:33, 0:33] - 16
    angle = 0.4
    line = (np.abs(np.cos(angle) * ys - np.sin(angle) * xs) < 1).astype(np.uint8)
    for bits in range(8):
        turn = np.array([bits & 1, bits & 2, bits & 4], bool)
        rows, columns = np.nonzero(turned(line, turn))
        spread = np.cov(np.stack([columns, rows]))
        main = np.linalg.eigh(spread)[1][:, 1]
        measured = np.arctan2(main[1], main[0]) % np.pi
        said = float(turned_angles(np.full((2, 2), angle), turn)[0, 0])
        assert abs(np.sin(measured - said)) < 0.05, turn


def test_holes_leave_something() -> None:
    shares = [draw_holes(64, np.random.default_rng(s)).mean() for s in range(30)]
    assert min(shares) > 0 and max(shares) < 1 and 0.1 < np.mean(shares) < 0.7
