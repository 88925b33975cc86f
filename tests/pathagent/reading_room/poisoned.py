"""A report in which every text that a model or a person may have written is one of the given texts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from pathagent.reading_room import versions
from pathagent.reading_room.conversation import answer_view
from pathagent.reading_room.room import Room
from pathagent.reading_room.tables import CaseRow, RunRow
from pathagent_tools.core.compare import Compared, Passage, SimilarCase
from pathagent_tools.core.records import Claim, Hypothesis, Report, Sufficiency, SynopticField

SECTIONS = ("diagnosis", "microscopy", "answer", "quality", "measurements")


def poisoned(report: Report, texts: Sequence[str]) -> Report:
    """The report with `texts` for its words; each text is the text of one claim."""
    words, cites = cycle(texts), tuple(e.id for e in report.evidence[:2])
    claims = tuple(
        Claim(
            id=f"C{i + 1}", section=SECTIONS[i % 5] if i > 4 else "microscopy", text=text, evidence=cites,
            verdict="supported" if i % 3 else "unsupported", written_by="model", reason=text,
        )
        for i, text in enumerate(texts)
    )  # fmt: skip
    evidence = tuple(
        e.model_copy(update={"place": next(words), "sentence": next(words), "reason": next(words)})
        for e in report.evidence
    )
    slides = tuple(
        s.model_copy(update={"name": next(words), "quality": (next(words),)}) for s in report.slides
    )
    passages = tuple(
        Passage(
            id=f"P{i + 1}",
            file=next(words),
            line=1,
            heading=next(words),
            text=text,
            score=1,
            asked=(next(words),),
        )
        for i, text in enumerate(texts)
    )
    like = SimilarCase(
        id="N1", slide="S1", name=next(words), slide_digest="0", text=next(words), likeness=0.9
    )
    compare = Compared(note=next(words), passages=passages, cases=(like,), said=tuple(texts))
    fields = tuple(
        SynopticField(
            key=f"k{i}",
            label=next(words),
            need="core",
            value=next(words),
            status="filled",
            written_by="model",
        )
        for i in range(4)
    )
    return report.model_copy(
        update={
            "claims": claims, "evidence": evidence, "slides": slides, "synoptic": fields,
            "differential": tuple(Hypothesis(diagnosis=next(words), probability=0.5) for _ in range(4)),
            "sufficiency": Sufficiency(sufficient=False, missing=next(words)), "answer": next(words),
            "question": next(words), "notes": "\n".join(texts), "outcome_text": next(words),
            "limits": tuple(texts), "compare": compare, "provenance": {"profile": next(words)},
        }
    )  # fmt: skip


def put_in(room: Room, case: str, texts: Sequence[str]) -> int:
    """Make such a report the case's newest draft, and its newest run; the number of the version."""
    with room.writing() as session:
        row = session.get_one(CaseRow, case)
        run = session.query(RunRow).where(RunRow.case_id == case).order_by(RunRow.number).first()
        assert run is not None
        report = poisoned(Report.model_validate(run.report), texts)
        run.report, run.question = report.model_dump(mode="json"), " ".join(texts)
        run.answer = answer_view(report, run, set())
        row.notes, row.title = "\n".join(texts), " ".join(texts)
        return versions.add(room, session, run, report, author_id=None, edits={}, accepted=[]).number
