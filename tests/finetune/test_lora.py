"""LoRA on a user's data: what is tuned, that it helps, and what happens when it is stopped or goes wrong."""

from __future__ import annotations

import errno
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_bases import model, save, write_recipe, write_tiles

from pathagent import cli
from pathagent_finetune import lora_base, lora_train
from pathagent_finetune.lora_batch import Collator, dataset, too_long
from pathagent_finetune.lora_card import curves_svg
from pathagent_finetune.lora_recipe import load_lora_recipe
from pathagent_finetune.lora_targets import target_pattern
from pathagent_finetune.lora_train import train
from pathagent_finetune.tuning_example import Message, TuningExample
from pathagent_finetune.user_corpus import Corpus, read_corpus
from pathagent_tools.core.card import ModelCard
from pathagent_tools.core.errors import UserError
from pathagent_tools.vlm import roles
from pathagent_tools.vlm.inprocess import TransformersVLM
from pathagent_tools.vlm.profile import EMBEDDED_WEIGHTS

ADAPTER = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("qwen3-vl", tmp_path_factory.mktemp("bases") / "qwen")


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiles(tmp_path_factory.mktemp("tiles"))


ARCHITECTURES = ("qwen3-vl", "gemma3", "llava", "idefics3")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_targets_are_all_linear_layers_of_the_language_model_and_no_others(architecture: str) -> None:
    made = model(architecture)
    pattern = target_pattern(made)
    hit = {name for name, _ in made.named_modules() if re.fullmatch(pattern, name)}
    linear = {name for name, m in made.named_modules() if isinstance(m, torch.nn.Linear)}
    language = {name for name in linear if ".language_model." in name or ".text_model." in name}
    assert hit == language
    assert len(hit) == 2 * 7  # q, k, v, o, gate, up, down in each layer
    assert len(linear - hit) > 6  # vision tower, projector, head
    narrow = target_pattern(made, ("q_proj", "v_proj"))
    assert sum(bool(re.fullmatch(narrow, name)) for name, _ in made.named_modules()) == 2 * 2
    with pytest.raises(UserError, match=r"no layer c_attn .* q_proj"):
        target_pattern(made, ("c_attn",))


def test_the_embedded_base_learns_from_a_table_and_answers_otherwise(tmp_path: Path, tiles: Path) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", "embedded", steps=8, evaluate_steps=4, lr=5e-3)
    out = tmp_path / "adapter"
    command = ["finetune", "vlm", "--recipe", str(recipe), "--data", str(tiles), "-o", str(out)]
    assert cli.run(command) == 0
    card = ModelCard.load(out)
    losses = card.scores["validation_loss"]
    assert losses["after"] < 0.6 * losses["before"]
    assert card.kind == "vlm-adapter" and set(card.files) == {"adapter_config.json", ADAPTER}
    assert card.trained_on["base"]["digest"] == ModelCard.load(EMBEDDED_WEIGHTS).digest
    assert sum(card.trained_on["examples"].values()) == 12
    assert card.trained_on["patients"] == 6
    assert card.trained_on["seconds"] > 0
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "embedded" and config["r"] == 4
    assert (out / "curves.svg").read_text().count("<polyline") == 2
    assert not (out / "checkpoints").exists()
    request = roles.describe(np.full((64, 64, 3), 180, np.uint8), field_um=64)
    (before,) = TransformersVLM(EMBEDDED_WEIGHTS).generate([request])
    (after,) = TransformersVLM(EMBEDDED_WEIGHTS, adapters={"describe": out}).generate([request])
    assert after.adapter == "describe"
    assert after.extra["slots"] != before.extra["slots"]


@pytest.mark.parametrize("architecture", ["gemma3", "llava", "idefics3"])
def test_other_architectures_learn_by_the_same_call(tmp_path: Path, tiles: Path, architecture: str) -> None:
    base = save(architecture, tmp_path / "base")
    recipe = write_recipe(tmp_path / "r.yaml", base, lr=0.05, max_length=1024)
    losses = ModelCard.load(train(recipe, tiles, tmp_path / "out")).scores["validation_loss"]
    assert losses["after"] < losses["before"]


def at_each_step(patch: pytest.MonkeyPatch, act: Callable[[Any, Any], None]) -> None:
    """Call `act(step, model)` when a step begins."""
    from pathagent_finetune.lora_trainer import Watch

    def begin(self: Any, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        act(state.global_step, model)

    patch.setattr(Watch, "on_step_begin", begin, raising=False)


def steps_of(training: Callable[[], object]) -> list[int]:
    """The steps that a call trains."""
    found: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        at_each_step(patch, lambda step, _: found.append(step))
        training()
    return found


def spoil(value: float) -> Callable[[int, Any], None]:
    """Multiply what the adapter has learned before the fourth step."""

    def act(step: int, model: Any) -> None:
        for name, weights in model.named_parameters():
            if step == 3 and "lora_B" in name:
                weights.data.mul_(value)

    return act


def stop_after_first_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    from pathagent_finetune.lora_trainer import Watch

    def on_save(self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "on_save", on_save, raising=False)


def keep_checkpoints(patch: pytest.MonkeyPatch, folder: Path) -> tuple[Path, Path]:
    """Copies of the adapters of the checkpoints of steps 2 and 4, made when they are saved."""
    from pathagent_finetune.lora_trainer import Watch

    def on_save(self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder.mkdir(exist_ok=True)
        held = Path(args.output_dir) / f"checkpoint-{state.global_step}" / ADAPTER
        (folder / f"{state.global_step}").write_bytes(held.read_bytes())

    patch.setattr(Watch, "on_save", on_save, raising=False)
    return folder / "2", folder / "4"


def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path: Path, tiles: Path, qwen: Path) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", qwen, dropout=0.2, accumulate=2)
    whole = train(recipe, tiles, tmp_path / "whole")
    part = tmp_path / "part"
    with pytest.MonkeyPatch.context() as patch:
        stop_after_first_checkpoint(patch)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tiles, part)
    assert not (part / "card.json").exists()
    torn = part / "checkpoints/checkpoint-3"
    torn.mkdir()
    (torn / "trainer_state.json").write_text("{")  # killed again while it wrote
    assert steps_of(lambda: train(recipe, tiles, part)) == [2, 3]
    first, second = load_file(whole / ADAPTER), load_file(part / ADAPTER)
    for name, weights in first.items():
        torch.testing.assert_close(second[name], weights, atol=1e-5, rtol=1e-4)
    steps = [[row["step"] for row in rows(folder) if "loss" in row] for folder in (whole, part)]
    assert steps[0] == steps[1] == [1, 2, 3, 4]
    scores = [ModelCard.load(folder).scores["validation_loss"] for folder in (whole, part)]
    assert scores[0] == pytest.approx(scores[1])
    written = (part / ADAPTER).stat().st_mtime_ns
    train(recipe, tiles, part)  # finished: nothing is done again
    assert (part / ADAPTER).stat().st_mtime_ns == written
    with pytest.raises(UserError, match="another recipe"):
        train(write_recipe(tmp_path / "r.yaml", qwen, lr=1e-3), tiles, part)
    with pytest.raises(UserError, match="another data"):
        train(write_recipe(tmp_path / "r.yaml", qwen, dropout=0.2, accumulate=2), more(tmp_path), part)


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def more(tmp_path: Path) -> Path:
    return write_tiles(tmp_path / "more", 7)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_adapter(
    tmp_path: Path, tiles: Path, qwen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_each_step(monkeypatch, spoil(float("nan")))
    with pytest.raises(UserError, match=r"became nan at step 4: lower `lr`.*checkpoint-2\."):
        train(write_recipe(tmp_path / "r.yaml", qwen), tiles, tmp_path / "out")
    kept = load_file(tmp_path / "out/checkpoints/checkpoint-2" / ADAPTER)
    assert all(torch.isfinite(weights).all() for weights in kept.values())
    assert not (tmp_path / "out/card.json").exists()


def test_the_best_checkpoint_is_kept_not_the_last_and_nobody_is_told(
    tmp_path: Path, tiles: Path, qwen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda **said: sent.append(said))
    at_each_step(monkeypatch, spoil(-50.0))
    saved = keep_checkpoints(monkeypatch, tmp_path / "kept")
    out = train(write_recipe(tmp_path / "r.yaml", qwen), tiles, tmp_path / "out")
    card = ModelCard.load(out)
    losses = [row["eval_loss"] for row in rows(out) if "eval_loss" in row]
    assert losses[1] > losses[0] == card.scores["validation_loss"]["after"]
    assert (card.trained_on["best_step"], card.trained_on["steps"]) == (2, 4)
    best, last, kept = (load_file(f) for f in (*saved, out / ADAPTER))
    assert all(torch.equal(weights, best[name]) for name, weights in kept.items())
    assert not all(torch.equal(weights, last[name]) for name, weights in kept.items())
    assert sent == []


def test_a_full_disk_says_so_and_the_same_command_goes_on(
    tmp_path: Path, tiles: Path, qwen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathagent_finetune.lora_trainer import Trainer

    recipe, out = write_recipe(tmp_path / "r.yaml", qwen), tmp_path / "out"
    whole = Trainer._save_rng_state

    def full(self: Any, folder: str) -> None:
        if self.state.global_step == 4:
            raise OSError(errno.ENOSPC, "No space left on device", folder)
        whole(self, folder)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_rng_state", full)
        with pytest.raises(OSError, match="No space left"):  # another failure of writing stays what it is
            train(recipe, tiles, out)
        used = lora_train.shutil.disk_usage(tmp_path)
        patch.setattr(lora_train.shutil, "disk_usage", lambda _: used._replace(free=1000))
        with pytest.raises(UserError, match=r"disk .* is full: .*goes on from .*checkpoint-2\."):
            train(recipe, tiles, out)
    assert ModelCard.load(train(recipe, tiles, out)).trained_on["steps"] == 4


def test_training_stops_where_the_validation_loss_no_longer_falls(
    tmp_path: Path, tiles: Path, qwen: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", qwen, steps=30, evaluate_steps=1, patience=2, lr=1e-12)
    with caplog.at_level(logging.WARNING):
        card = ModelCard.load(train(recipe, tiles, tmp_path / "out"))
    assert card.trained_on["steps"] < 30
    assert "the loss did not fall" in caplog.text


def test_skipped_examples_are_counted_in_the_card(tmp_path: Path, qwen: Path) -> None:
    data = write_tiles(tmp_path / "data")
    (tmp_path / "data/0.png").unlink()
    (tmp_path / "data/5.png").write_bytes(b"no image")
    recipe = write_recipe(tmp_path / "r.yaml", qwen, steps=1)
    with pytest.raises(UserError, match=r"2 of 12 .*1 missing image, 1 unreadable image"):
        train(recipe, data, tmp_path / "out")
    card = ModelCard.load(train(write_recipe(recipe, qwen, steps=1, skip_bad=True), data, tmp_path / "out"))
    assert card.trained_on["skipped"] == {"missing image": 1, "unreadable image": 1}
    assert sum(card.trained_on["examples"].values()) == 10


def test_the_card_says_what_base_and_adapter_answer_beside_the_floor(tmp_path: Path) -> None:
    """One question with one answer is learned in a few steps; the base has never given it."""
    rows = [
        {"patient": f"P{i}", "split": "train" if i < 6 else "val", "messages": [
            {"role": "user", "content": f"Case {i}. Which lesion?"},
            {"role": "assistant", "content": "Solid nests." if i != 6 else "Mucin pools."},
        ]} for i in range(9)
    ]  # fmt: skip
    data = tmp_path / "chat.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = write_recipe(
        tmp_path / "r.yaml", "embedded", steps=16, evaluate_steps=8, lr=1e-2, batch=6, answers=10
    )
    said = ModelCard.load(train(recipe, data, tmp_path / "out")).scores["answers"]
    assert (said["n"], said["patients"]) == (3, 3)
    assert (said["before"], said["after"], said["majority"]) == (0.0, 0.6667, 0.6667)


def test_the_examples_of_a_step_are_drawn_as_ever_and_stand_by_length() -> None:
    from accelerate.data_loader import SeedableRandomSampler

    from pathagent_finetune.lora_trainer import StepSampler

    lengths = np.random.default_rng(0).integers(10, 400, 50).tolist()
    plain, sampler = SeedableRandomSampler(lengths, data_seed=3), StepSampler(lengths, step=8, seed=3)
    epochs = []
    for epoch in (0, 1):
        plain.set_epoch(epoch)
        sampler.set_epoch(epoch)
        drawn, order = list(plain), list(sampler)
        for first in range(0, 50, 8):
            step = order[first : first + 8]
            assert sorted(step) == sorted(drawn[first : first + 8])
            assert [lengths[i] for i in step] == sorted(lengths[i] for i in step)
        epochs.append(order)
    assert epochs[0] != epochs[1]


def test_a_step_cut_into_batches_learns_what_the_whole_step_does(tmp_path: Path) -> None:
    """Answers of very different lengths: a mean of the batches' means would weigh them otherwise."""
    rows = [
        {"patient": f"P{i}", "split": "train" if i < 6 else "val", "messages": [
            {"role": "user", "content": f"Case {i}. Which lesion?"},
            {"role": "assistant", "content": "Solid nests. " * (1 + 5 * (i % 3))},
        ]} for i in range(8)
    ]  # fmt: skip
    data = tmp_path / "chat.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    losses = []
    for batch, accumulate in ((6, 1), (2, 3)):
        recipe = write_recipe(
            tmp_path / "r.yaml", "embedded", steps=3, evaluate_steps=3, batch=batch, accumulate=accumulate
        )
        card = ModelCard.load(train(recipe, data, tmp_path / f"{batch}"))
        losses.append(card.scores["validation_loss"]["after"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0] < 0.9 * card.scores["validation_loss"]["before"]


def processor(folder: Path) -> Any:
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(folder)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_lengths_are_those_of_training_and_too_long_is_a_fault(
    tmp_path: Path, tiles: Path, architecture: str
) -> None:
    read, corpus = processor(save(architecture, tmp_path / "base")), read_corpus(tiles, mpp=1)
    wide = read_corpus(write_tiles(tmp_path / "wide", 1, px=96), mpp=1)
    for example in (corpus.examples[0], wide.examples[0]):
        tokens = Collator(read)(list(dataset([example])))["input_ids"].shape[1]
        one = Corpus((example,), {**corpus.pictures, **wide.pictures})
        assert too_long(one, read, tokens) == one
        (fault,) = too_long(one, read, tokens - 1).faults
        assert (fault.kind, fault.place) == ("too long", example.id)
        assert f"{tokens} tokens" in fault.detail


def test_the_loss_is_on_completions_alone_also_where_some_examples_have_no_image(
    tiles: Path, qwen: Path
) -> None:
    read, shown = processor(qwen), read_corpus(tiles, mpp=1).examples[0]
    text = TuningExample(
        id="t", role="chat", prompt=(Message(role="user", content="Why?"),), completion="So."
    )
    batch = Collator(read)(list(dataset([shown, text])))
    labels, tokenizer = batch["labels"], read.tokenizer
    said = [tokenizer.decode(row[row != -100]) for row in labels]
    assert said == [f"{shown.completion}<|im_end|>\n", "So.<|im_end|>\n"]
    assert (batch["input_ids"][0] == tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum() == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lr": -1}, "lr Input should be greater than 0"),
        ({"rnk": 8}, "rnk Extra inputs are not permitted"),
        ({"epochs": 3}, "give either `epochs` or `steps`"),
        ({"lr": None}, "lr Field required"),
        ({"quantize": "8bit"}, "quantize Input should be 'none' or '4bit'"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        load_lora_recipe(write_recipe(tmp_path / "r.yaml", "embedded", **changes))
    assert "\n" not in str(caught.value)


def test_the_shipped_recipe_is_one() -> None:
    assert load_lora_recipe("lora").targets == "auto"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quantize": "4bit"}, "quantize: 4bit needs an NVIDIA GPU"),
        ({"base": "no/such-model"}, "base 'no/such-model' cannot be loaded"),
        ({"max_length": 4096}, "beyond the 2048 tokens"),
        ({"max_length": 20}, "12 of 12 examples cannot be used .12 too long"),
        ({"targets": ["c_attn"]}, "no layer c_attn"),
    ],
)
def test_what_cannot_be_tuned_is_said_before_it_starts(
    tmp_path: Path,
    tiles: Path,
    qwen: Path,
    changes: dict[str, Any],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lora_base, "has_gpu", lambda: False)
    with pytest.raises(UserError, match=said):
        train(write_recipe(tmp_path / "r.yaml", qwen, **changes), tiles, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_named(tmp_path: Path, tiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora_base, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'pathagent\[finetune\]'"):
        train(write_recipe(tmp_path / "r.yaml", "embedded"), tiles, tmp_path / "out")


def test_options_of_the_other_training_are_refused_with_data(
    tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["finetune", "vlm", "--data", str(tiles), "--minutes", "1", "-o", str(tmp_path / "out")]
    assert cli.run(command) == 2
    assert "--minutes and --tiles belong to a training without --data" in capsys.readouterr().err


def test_the_line_of_progress_says_step_loss_and_time_left() -> None:
    from pathagent_finetune.lora_trainer import progress_line

    state = SimpleNamespace(global_step=40, max_steps=200)
    assert progress_line(state, {"loss": 0.81234}, 300.0) == "step 40/200  loss 0.8123  5 min left"
    assert progress_line(state, {"eval_loss": 2}, 8.2) == "step 40/200  validation loss 2  8 s left"


def test_curves_show_both_losses() -> None:
    drawn = curves_svg([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 2, "eval_loss": 1.5}])
    assert 'points="320.0,48.0 592.0,180.0"' in drawn
    assert "validation loss" in drawn and "step 2" in drawn
