from __future__ import annotations

import numpy as np
import pytest

from tokembed import BPETokenizerLoader, TrainingConfig, train_bpe
from tokembed.analysis import rare_words
from tokembed.vectors.evaluation import inflection_ranks

VERBS = ("walk", "talk", "jump", "climb", "paint", "visit", "follow", "answer", "gather")
CONFIG = TrainingConfig(embedding_dim=10, epochs=3, window_size=3, workers=1, min_count=1, seed=3)


def text() -> str:
    random = np.random.default_rng(1)
    words = [verb + ending for verb in VERBS for ending in ("", "ed", "ing")]
    return " ".join(random.choice(words, 4000).tolist())


def test_words_made_rare_occur_as_often_as_they_were_assigned() -> None:
    random = np.random.default_rng(2)
    ids = random.integers(0, 9, 1000).astype(np.int32)
    kept = {3: 0, 5: 7, 8: 10_000}
    thin = rare_words.thinned(ids, kept, 9, seed=1)
    before, after = np.bincount(ids, minlength=9), np.bincount(thin, minlength=9)
    assert (after[3], after[5]) == (0, 7)
    assert all(after[token] == before[token] for token in (0, 1, 2, 4, 6, 7, 8))
    rest = ~np.isin(ids, (3, 5))
    assert np.array_equal(thin[~np.isin(thin, (3, 5))], ids[rest]), "the order stays"


def test_every_inflected_word_is_scored_by_its_parts_also_where_training_never_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rare_words, "KEPT", (0, 20))
    tokenizer = BPETokenizerLoader(train_bpe(text(), 300))
    scores = rare_words.score_rare_words(tokenizer, tokenizer.encode_array(text()), CONFIG)
    assert [score.num_kept for score in scores] == [0, 20]
    assert sum(score.num_words for score in scores) == 2 * len(VERBS)
    assert all(0 <= score.auc[kind] <= 1 for score in scores for kind in rare_words.KINDS)
    assert scores[0].auc["parts"] == scores[0].auc["both"], "there is nothing else to make it of"
    found = rare_words.describe_rare_words(scores)
    assert len(found.rows) == len(scores)
    assert "20" in found.lines[-1]


def test_a_text_with_too_few_inflected_words_is_refused() -> None:
    tokenizer = BPETokenizerLoader(train_bpe("one two three", 10))
    with pytest.raises(ValueError, match="only 0 inflected words"):
        rare_words.score_rare_words(tokenizer, tokenizer.encode_array("one two three"), CONFIG)


def test_a_rank_is_the_share_of_words_as_frequent_that_are_less_alike() -> None:
    unit = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-1.0, 0.0]], dtype=np.float32)
    vectors = np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32)
    ranks = inflection_ranks(vectors, [2, 0], unit, np.array([4, 3, 2, 1]), range(4))
    np.testing.assert_allclose(ranks, [2 / 3, 1.0])
