"""Tune a LoRA adapter on a user's own data, by a recipe that stops and resumes.

`train` reads and checks the data, loads the base, lets TRL's trainer work with evaluations and
checkpoints, and leaves the best adapter in peft's format with its card. The same call goes on from the
last whole checkpoint; under `accelerate launch` each process runs it and the first one writes.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from pathagent_finetune.lora_answers import answer_scores
from pathagent_finetune.lora_base import (
    BaseName,
    check_packages,
    has_gpu,
    in_bf16,
    load_model,
    load_processor,
)
from pathagent_finetune.lora_batch import Collator, dataset, too_long
from pathagent_finetune.lora_card import ADAPTER_FILES, card_of, curves_svg
from pathagent_finetune.lora_recipe import LoraRecipe, load_lora_recipe
from pathagent_finetune.lora_targets import target_pattern
from pathagent_finetune.splits import split
from pathagent_finetune.user_corpus import Corpus, read_corpus, settle
from pathagent_tools.core.card import CARD_NAME
from pathagent_tools.core.errors import UserError
from pathagent_tools.core.files import write_text_atomic

log = logging.getLogger(__name__)

ROOM = 64 << 20
"""Free bytes below which a failed write means that the disk is full."""


def train(recipe: str | Path, data: Path, out: Path) -> Path:
    """Tune by `recipe` on `data` into `out`; returns `out`, the folder of the adapter and its card.

    Raises UserError: bad data (see `user_corpus`), leaks, a base that cannot be loaded, an `out` that
    holds another tuning, a loss that is no number, a full disk or GPU.
    """
    return tune(load_lora_recipe(recipe), data, out)


def tune(plan: LoraRecipe, data: Path, out: Path) -> Path:
    """`train` by a recipe that is at hand."""
    check_packages(plan)
    processor = load_processor(plan)
    corpus = too_long(read_corpus(data, mpp=plan.mpp), processor, plan.max_length)
    corpus, skipped = settle(corpus, skip_bad=plan.skip_bad)
    corpus = split(corpus, share=plan.validation, seed=plan.seed)
    identity: dict[str, Any] = {
        "recipe": plan.model_dump(mode="json"),
        "data": corpus.digest,
        "number of processes": processes(),
    }
    _check_claim(out, identity)
    if (out / CARD_NAME).is_file():
        log.info("%s is finished already", out)
        return out
    model, base = load_model(plan)
    identity["base"] = base.as_dict()
    _check_claim(out, identity)
    trainer, watch = _trainer(plan, model, processor, corpus, out)
    if trainer.is_world_process_zero():
        write_text_atomic(out / "run.json", json.dumps(identity, indent=1) + "\n")
    before = _loss_before(trainer, out)
    try:
        _run(trainer, out)
    finally:
        watch.close()
    if trainer.is_world_process_zero():
        scores: dict[str, Any] = {"validation_loss": {"before": before}}
        if plan.answers:
            scores["answers"] = answer_scores(
                trainer.accelerator.unwrap_model(trainer.model),
                processor,
                corpus,
                limit=plan.answers,
                seed=plan.seed,
            )
        _finish(plan, trainer, corpus, base, skipped, scores, out)
    trainer.accelerator.wait_for_everyone()
    return out


def _check_claim(out: Path, identity: dict[str, Any]) -> None:
    """Refuse a folder in which another recipe, other data or another base was tuned.

    What an older tuning did not write down is not held against it.
    """
    path = out / "run.json"
    if not path.is_file():
        return
    held = json.loads(path.read_text(encoding="utf-8"))
    recipe = LoraRecipe.model_validate(held["recipe"]).model_dump(mode="json")
    other = [
        name for name, value in identity.items() if (held | {"recipe": recipe}).get(name, value) != value
    ]
    if other:
        raise UserError(f"{out} holds a tuning with another {' and '.join(other)}: choose another --out.")


def processes() -> int:
    """Processes that train together, as the launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Whether this process writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def _trainer(plan: LoraRecipe, model: Any, processor: Any, corpus: Corpus, out: Path) -> tuple[Any, Any]:
    from peft import LoraConfig

    from pathagent_finetune.lora_trainer import Trainer, Watch

    adapter = LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        lora_dropout=plan.dropout,
        target_modules=target_pattern(model, plan.targets),
        task_type="CAUSAL_LM",
    )
    watch = Watch(out / "checkpoints", patience=plan.patience)
    trainer = Trainer(
        model,
        args=_arguments(plan, out),
        data_collator=Collator(processor),
        train_dataset=dataset(corpus.of("train")),
        eval_dataset=dataset(corpus.of("validation")),
        processing_class=processor,
        peft_config=adapter,
        callbacks=[watch],
    )
    return trainer, watch


def _arguments(plan: LoraRecipe, out: Path) -> Any:
    from trl import SFTConfig

    gpu = has_gpu()
    return SFTConfig(
        output_dir=str(out / "checkpoints"),
        num_train_epochs=plan.epochs or 1,
        max_steps=plan.steps or -1,
        per_device_train_batch_size=plan.batch,
        per_device_eval_batch_size=plan.batch,
        gradient_accumulation_steps=plan.accumulate,
        learning_rate=plan.lr,
        lr_scheduler_type="cosine",
        warmup_steps=plan.warmup,
        max_length=None,  # longer examples are refused before; cutting one would cut its images
        gradient_checkpointing=gpu if plan.gradient_checkpointing == "auto" else plan.gradient_checkpointing,
        bf16=in_bf16(plan),
        use_cpu=not gpu,
        eval_strategy="steps",
        eval_steps=plan.evaluate_steps,
        save_strategy="steps",
        save_steps=plan.evaluate_steps,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        dataloader_num_workers=4 if gpu else 0,
        dataloader_pin_memory=gpu,
        seed=plan.seed,
    )


def _loss_before(trainer: Any, out: Path) -> float:
    """Validation loss of the base alone, measured once (an adapter starts as no change)."""
    path = out / "before.json"
    if path.is_file():
        return float(json.loads(path.read_text(encoding="utf-8"))["loss"])
    loss = float(trainer.evaluate()["eval_loss"])
    if trainer.is_world_process_zero():
        write_text_atomic(path, json.dumps({"loss": loss}) + "\n")
    return loss


def _run(trainer: Any, out: Path) -> None:
    """Train to the end from the last whole checkpoint. UserError where disk or GPU memory is full."""
    import torch
    from safetensors import SafetensorError

    last = _last_checkpoint(out / "checkpoints")
    try:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    except torch.OutOfMemoryError:
        raise UserError(
            "The GPU's memory is full: lower batch (and raise accumulate) or max_length in the recipe, "
            "or set gradient_checkpointing: true or quantize: 4bit."
        ) from None
    except (OSError, RuntimeError, SafetensorError) as error:
        if shutil.disk_usage(out).free >= ROOM:
            raise
        raise UserError(
            f"The disk of {out} is full: free some and type the same command again; it goes on from "
            f"{_last_checkpoint(out / 'checkpoints') or 'the start'}."
        ) from error


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end: the trainer's state is its last file."""
    found = []
    for state in folder.glob("checkpoint-*/trainer_state.json"):
        try:
            found.append((int(json.loads(state.read_text())["global_step"]), state.parent))
        except json.JSONDecodeError:
            log.warning("%s was not written to its end and is left out", state.parent)
    return max(found)[1] if found else None


def _finish(
    plan: LoraRecipe,
    trainer: Any,
    corpus: Corpus,
    base: BaseName,
    skipped: dict[str, int],
    scores: dict[str, Any],
    out: Path,
) -> None:
    """Write the best adapter, the curves and, last, the card; the checkpoints are no longer needed."""
    import torch

    config = trainer.model.peft_config["default"]
    config.base_model_name_or_path, config.revision = base.id, base.revision
    with tempfile.TemporaryDirectory(dir=out, prefix=".adapter.") as part:
        trainer.model.save_pretrained(part, save_embedding_layers=False)
        for name in ADAPTER_FILES:
            (Path(part) / name).replace(out / name)
    history = trainer.state.log_history
    write_text_atomic(out / "curves.svg", curves_svg(history))
    write_text_atomic(out / "log.jsonl", "".join(json.dumps(row) + "\n" for row in history))
    before, after = scores["validation_loss"]["before"], float(trainer.state.best_metric)
    if after >= before:
        log.warning(
            "the loss did not fall (%.4g before, %.4g after): the adapter is no better", before, after
        )
    card = card_of(
        plan,
        out,
        corpus,
        base,
        skipped=skipped,
        scores=scores | {"validation_loss": {"before": before, "after": after}},
        run={
            "steps": trainer.state.global_step,
            "best_step": trainer.state.best_global_step,
            "seconds": round(history[-1]["seconds"], 1),
            "device": torch.cuda.get_device_name(0) if has_gpu() else "cpu",
            "processes": trainer.accelerator.num_processes,
        },
    )
    card.save(out)
    shutil.rmtree(out / "checkpoints")
