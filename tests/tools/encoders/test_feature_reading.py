"""Reading features: classes by words, relevance, anomaly; with an encoder whose space is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from pathagent_tools.core.errors import UserError
from pathagent_tools.encoders import reading

AXES = ("tumour", "fat", "glands")


class WordEncoder:
    """Embeds a phrase by which of three words it holds; tiles are given as features."""

    id, revision, tile_px, tile_mpp, dim = "words", "1", 8, 1.0, 3
    logit_scale = 20.0

    def encode_tiles(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise NotImplementedError

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[float(w in t) + 0.01 for w in AXES] for t in texts], np.float32)


PHRASES = {"solid tumour": ["tumour", "tumour nests"], "adipose": ["fat"], "normal": ["glands"]}
TILES = np.array([[9, 0, 0], [0, 3, 0], [0, 0.1, 5]], np.float32)


def test_zero_shot_finds_the_class_whatever_the_length_of_the_vectors() -> None:
    probabilities = reading.zero_shot(TILES, WordEncoder(), PHRASES)
    assert probabilities.shape == (3, 3)
    assert probabilities.argmax(1).tolist() == [0, 1, 2]
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(
        reading.zero_shot(TILES * 50, WordEncoder(), PHRASES), probabilities, atol=1e-5
    )


def test_zero_shot_without_classes_or_phrasings_is_refused() -> None:
    with pytest.raises(UserError, match="no classes were given"):
        reading.zero_shot(TILES, WordEncoder(), {})
    with pytest.raises(UserError, match="class 'adipose' has no phrasing"):
        reading.zero_shot(TILES, WordEncoder(), {"solid tumour": ["tumour"], "adipose": []})


def test_relevance_is_highest_where_the_question_points() -> None:
    found = reading.relevance(TILES, WordEncoder(), "is there any tumour?")
    assert found.argmax() == 0 and found.max() == pytest.approx(1) and found.min() == pytest.approx(0)


def test_a_slide_that_is_all_alike_has_no_relevant_tile() -> None:
    alike = np.array([[1, 0, 0], [1, 0.01, 0], [1, 0, 0.01]], np.float32)
    assert reading.relevance(alike, WordEncoder(), "tumour").max() < 0.2


def test_the_odd_abnormal_tile_is_the_most_anomalous() -> None:
    encoder = WordEncoder()
    fat = np.tile([[0, 1, 0]], (40, 1)) + np.random.default_rng(0).normal(0, 0.01, (40, 3))
    features = np.vstack([fat, [[1, 0, 0]], [[0, 0, 1]]]).astype(np.float32)
    scores = reading.anomaly(features, encoder)
    assert scores.argmax() == 40 and scores.min() >= 0 and scores.max() <= 1


def test_no_tiles_give_no_scores() -> None:
    none = np.empty((0, 3), np.float32)
    assert reading.zero_shot(none, WordEncoder()).shape == (0, len(reading.class_keys()))
    assert reading.relevance(none, WordEncoder(), "tumour").shape == (0,)
    assert reading.anomaly(none, WordEncoder()).shape == (0,)
    assert reading.hints(none, WordEncoder()) == []
