"""The metrics as modules of Hugging Face evaluate: loaded by path, offline, same numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(folder.name for folder in (ROOT / "eval/metrics").glob("pathagent_*"))
SCRIPT = """
import json, socket, sys
def refuse(*_, **__):
    raise OSError("no network in this test")
socket.socket.connect = socket.create_connection = refuse
import evaluate
from pathagent_tools.core.scoring import classes, ngrams, vqa
from pathagent_tools.core.scoring.report.score import fact_f1
others = {
    "fact_f1": fact_f1,
    "balanced_accuracy": lambda said, wanted: classes.balanced_accuracy(wanted, [s or None for s in said]),
    "vqa_strict": lambda said, wanted: vqa.vqa_strict(said, wanted, [()] * 3),
}
name, said, wanted = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
metric = evaluate.load(f"eval/metrics/pathagent_{name}")
metric.add_batch(predictions=said[:1], references=wanted[:1])
metric.add_batch(predictions=said[1:], references=wanted[1:])
got = metric.compute()
score = (getattr(ngrams, name, None) or others[name])(said, wanted)
assert (got[score.name], got["items"], got["signature"], got["missing"]) == (
    score.value, list(score.items), score.signature, 1), got
print("same")
"""


def test_every_score_has_its_module() -> None:
    assert MODULES == [
        "pathagent_balanced_accuracy",
        "pathagent_bleu",
        "pathagent_cider",
        "pathagent_fact_f1",
        "pathagent_meteor",
        "pathagent_meteor_nltk",
        "pathagent_rouge_l",
        "pathagent_vqa_strict",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "bleu",
        "fact_f1",
        "cider",
        "rouge_l",
        "meteor_nltk",
        "vqa_strict",
        "balanced_accuracy",
        pytest.param("meteor", marks=pytest.mark.slow),
    ],
)
def test_a_module_loads_by_path_and_gives_the_same_score(name: str, tmp_path: Path) -> None:
    import json

    said = json.dumps(["Carcinoma of the left breast", "", "Chronic gastritis is seen"])
    wanted = json.dumps(["Carcinoma of the right breast", "No tumour", "Chronic active gastritis"])
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name, said, wanted],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.strip().endswith("same"), done.stderr
