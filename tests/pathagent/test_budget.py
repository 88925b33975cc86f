from pathagent.budget import TOKENS_PER_LOOK, Budget, Spent


def test_a_round_is_cut_to_what_is_left() -> None:
    budget = Budget(looks=8, looks_per_round=6)
    assert Spent().affordable_looks(budget) == 6
    assert Spent(looks=6, tokens=600).affordable_looks(budget) == 2
    assert Spent(looks=8).affordable_looks(budget) == 0
    assert "8 looks" in Spent(looks=8).exhausted(budget)


def test_tokens_are_foreseen_from_what_looks_have_cost() -> None:
    budget = Budget(tokens=3 * TOKENS_PER_LOOK)
    assert Spent().affordable_looks(budget) == 3
    assert Spent(looks=1, tokens=1000).affordable_looks(budget) == 0
    assert "tokens" in Spent(looks=1, tokens=1000).exhausted(budget)


def test_time_ends_looking() -> None:
    assert "10 seconds" in Spent(seconds=10.0).exhausted(Budget(seconds=10))
