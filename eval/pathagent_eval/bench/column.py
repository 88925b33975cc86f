"""One column of a table: a score of each item as a ratio, or a statistic of them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pathagent_tools.core.scoring.resampling import Estimate, Gain, Index, Resampling
from pathagent_tools.core.scoring.score import Score


@dataclass(frozen=True)
class Column:
    """A score of one system.

    top, bottom: of each item; the score is the ratio of their sums (a mean where `bottom` is 1). again: for
    what is no ratio (AUROC, kappa, calibration), the score of a choice of items. value: what a corpus score
    prints where that is not the ratio of the items (BLEU); its interval is that of the mean over items.
    """

    signature: str
    top: Sequence[float] = ()
    bottom: Sequence[float] = ()
    again: Callable[[Index], float] | None = None
    corpus: float | None = None
    higher_is_better: bool = True
    unparsed: int = 0
    note: str = ""
    points: list[tuple[float, float]] = field(default_factory=list)

    @property
    def speaks(self) -> bool:
        """Whether any item counts: the first look on a lesion says nothing of slides without one."""
        return self.again is not None or sum(self.bottom) > 0

    def estimate(self, draws: Resampling) -> Estimate:
        """The score with its interval."""
        if self.again is not None:
            return draws.statistic(self.again)
        return draws.ratio(self.top, self.bottom)

    def gain(self, other: Column, draws: Resampling) -> Gain:
        """This column less another over the same items. ValueError for what is no ratio."""
        if self.again is not None or other.again is not None:
            raise ValueError("only ratios over items are tested in pairs")
        return draws.gain((self.top, self.bottom), (other.top, other.bottom))


def of_items(score: Score, *, higher_is_better: bool = True) -> Column:
    """A score that is a mean over items; a corpus score keeps its own value beside that mean."""
    mean = sum(score.items) / len(score.items)
    return Column(
        signature=score.signature,
        top=score.items,
        bottom=[1.0] * len(score.items),
        corpus=None if abs(mean - score.value) < 1e-9 else score.value,
        higher_is_better=higher_is_better,
        unparsed=score.missing,
    )


def of_all(score: Callable[[Sequence[int]], Score], n: int, *, higher_is_better: bool = True) -> Column:
    """A score that only a set of items has; a draw on which it is not defined counts as the whole's."""
    whole = score(range(n))

    def again(index: Index) -> float:
        try:
            return score(index.tolist()).value
        except ValueError:
            return whole.value

    return Column(
        signature=whole.signature, again=again, higher_is_better=higher_is_better, unparsed=whole.missing
    )
