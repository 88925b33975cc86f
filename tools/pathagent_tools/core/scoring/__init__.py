"""Scores without statistics: pure functions over texts and labels."""
