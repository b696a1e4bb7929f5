from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, strategies as st

from tokembed import BPETokenizerLoader
from tokembed.analysis.tokenization import printable
from tokembed.pages import token_view

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    alphabet="the 未来é\u0301\u200d👩\x1b<&", max_size=60
)


@given(text=TEXT, columns=st.integers(20, 120), colour=st.booleans())
def test_rows_show_every_token_above_its_id_within_the_width(
    tokenizer: BPETokenizerLoader, text: str, columns: int, colour: bool
) -> None:
    views = token_view.token_views(tokenizer, text)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in token_view.terminal_rows(views, columns, colour=colour)]
    assert " ".join(" ".join(lines[1::2]).split()) == " ".join(str(view.id) for view in views)
    place = 0
    for tokens, numbers in zip(lines[::2], lines[1::2], strict=True):
        column = 0
        for cell in tokens.split("|") if "|" not in text else []:
            view = views[place]
            assert cell.rstrip(" ") == printable(view.token).rstrip(" ")
            assert numbers[column:].startswith(str(view.id))  # ids are plain digits: columns are characters there
            column += token_view.display_width(cell) + 1
            place += 1
        longest = max((max(token_view.display_width(printable(v.token)), len(str(v.id))) for v in views), default=0)
        assert token_view.display_width(tokens) <= max(columns, longest)


@given(TEXT)
def test_nothing_printed_moves_the_cursor(text: str) -> None:
    shown = printable(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f]", shown)


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("未来", 4), ("e\u0301", 1), ("👩", 2), ("\u200d", 0), ("", 0), ("ｶ", 1)]
)
def test_widths_of_wide_and_combining_characters(text: str, width: int) -> None:
    assert token_view.display_width(text) == width


@given(TEXT)
def test_json_holds_tokens_ids_and_places(tokenizer: BPETokenizerLoader, text: str) -> None:
    data = json.loads(json.dumps(token_view.as_json(tokenizer, text)))
    assert [token["id"] for token in data["tokens"]] == tokenizer.encode(text)
    assert data["statistics"]["num_tokens"] == len(data["tokens"])
    assert all(0 <= token["start"] < token["end"] <= len(text) for token in data["tokens"])


class Spans(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.titles: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "span":
            self.titles.append(dict(attrs)["title"] or "")


def test_the_page_tells_each_tokens_id_and_lets_no_text_become_markup(tokenizer: BPETokenizerLoader) -> None:
    text = '<script>alert("x")</script> & the creature'
    page = token_view.page(tokenizer, [text], "A <title>")
    parser = Spans()
    parser.feed(page)
    assert "script" not in parser.tags
    assert [int(title.split()[1]) for title in parser.titles] == tokenizer.encode(text)
