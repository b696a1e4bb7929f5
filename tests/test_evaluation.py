from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gensim.models import KeyedVectors
from gensim.test.utils import datapath

from tokembed import Embeddings
from tokembed.evaluation import evaluate_word_pairs, read_word_pairs


def test_word_pair_files_are_read_with_tabs_or_commas_heading_or_not(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    for separator in ("\t", ","):
        path.write_text(f"# a comment\nWord 1{separator}Word 2{separator}Score\nlove{separator}sex{separator}6.77\n\n")
        assert read_word_pairs(path) == [("love", "sex", 6.77)]
    assert len(read_word_pairs(datapath("wordsim353.tsv"))) == 353
    assert len(read_word_pairs(datapath("simlex999.txt"))) == 999


@pytest.mark.parametrize(
    ("content", "message"), [("", "no word pairs"), ("a,b,1\na b c\n", "line 2"), ("a,b\n", "no word pairs")]
)
def test_a_file_without_word_pairs_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_word_pairs(path)


def test_the_correlation_is_gensims(tmp_path: Path) -> None:
    path = tmp_path / "lowered.tsv"  # gensim lowers the words itself
    path.write_text(Path(datapath("wordsim353.tsv")).read_text(encoding="utf-8").lower(), encoding="utf-8")
    words = sorted({word for pair in read_word_pairs(path) for word in pair[:2]})[:300]
    vectors = np.random.default_rng(0).normal(size=(len(words), 20)).astype(np.float32)
    theirs = KeyedVectors(20)
    theirs.add_vectors(words, vectors)
    _, spearman, percent_unknown = theirs.evaluate_word_pairs(str(path))
    ours = evaluate_word_pairs(Embeddings([word + "</w>" for word in words], vectors), path)
    assert ours.num_covered / ours.num_pairs == pytest.approx(1 - percent_unknown / 100)
    assert ours.spearman == pytest.approx(spearman.statistic, abs=1e-6)
