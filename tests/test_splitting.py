from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokembed.bpe import finding, splitting


def test_pieces_are_what_the_rule_says_on_known_text() -> None:
    assert splitting.pieces("Don't STOP_1, naïve—未来!") == ["don", "'", "t", "stop_1", ",", "naïve", "—", "未来", "!"]
    assert splitting.pieces("Don't", lowercase=False) == ["Don", "'", "t"]
    assert splitting.pieces(" \t\r\n\x1c") == []


def test_a_composed_and_a_decomposed_letter_are_different_pieces() -> None:
    assert splitting.pieces("é") == ["é"]
    assert splitting.pieces("e\u0301") == ["e", "\u0301"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_a_piece_never_depends_on_its_neighbours(texts: list[str]) -> None:
    assert splitting.pieces(" ".join(texts)) == [piece for text in texts for piece in splitting.pieces(text)]


def test_kinds_agree_with_re_at_every_code_point() -> None:
    kinds = finding.character_kinds("words")
    assert kinds.shape == (0x110000,)
    word = finding.LETTER | finding.UPPER | finding.LOWER
    sample = [*range(0x3000), *range(0x3000, 0x110000, 7)]
    expected = [
        word if re.match(r"\w", chr(c)) else finding.SPACE if re.match(r"\s", chr(c)) else finding.OTHER for c in sample
    ]
    np.testing.assert_array_equal(kinds[sample], expected)


def test_a_lone_surrogate_is_refused_with_its_position() -> None:
    with pytest.raises(ValueError, match="position 3"):
        splitting.utf8("abc\ud800")
