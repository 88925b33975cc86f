"""What a run may spend, and what it has spent. The graph enforces it; no prompt asks for it."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from pathagent_tools.core.geometry import Frozen

TOKENS_PER_LOOK: Final = 400
"""Tokens that one look is expected to cost before any look has been paid for."""


class Budget(Frozen):
    """Limits of one run, shared by all slides of the case.

    A round is planned only if its looks fit into what is left. Writing and verifying what was seen is
    always allowed, so a spent budget ends in a shorter report and never in none.
    """

    looks: int = Field(default=16, ge=1, le=96, description="regions that may be looked at")
    looks_per_round: int = Field(
        default=6, ge=1, le=12, description="regions of one round, described together"
    )
    tokens: int = Field(default=60_000, ge=1, description="prompt + completion tokens of all questions")
    seconds: float = Field(default=900.0, gt=0, description="wall-clock time; normal runs end long before")


class Spent(Frozen):
    """What a run has spent so far."""

    looks: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def exhausted(self, budget: Budget) -> str:
        """Which limit forbids another look, in words; empty where one is still possible."""
        if self.looks >= budget.looks:
            return f"the budget of {budget.looks} looks is spent"
        if self.tokens + self._tokens_per_look() > budget.tokens:
            return f"the budget of {budget.tokens} tokens is spent"
        if self.seconds >= budget.seconds:
            return f"the budget of {budget.seconds:g} seconds is spent"
        return ""

    def affordable_looks(self, budget: Budget) -> int:
        """How many looks the next round may have; 0 where the budget is spent."""
        if self.exhausted(budget):
            return 0
        by_tokens = (budget.tokens - self.tokens) // self._tokens_per_look()
        return max(0, min(budget.looks_per_round, budget.looks - self.looks, by_tokens))

    def _tokens_per_look(self) -> int:
        return max(1, -(-self.tokens // self.looks)) if self.looks else TOKENS_PER_LOOK
