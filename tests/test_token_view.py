from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, strategies as st

from tokembed import BPETokenizerLoader, train_bpe
from tokembed.analysis.tokenization import printable, text_statistics
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


def test_a_byte_levels_tokens_are_shown_as_text_with_spaces_that_are_seen_and_bytes_by_their_numbers() -> None:
    tokenizer = BPETokenizerLoader(train_bpe("low low low", 5, splitting="gpt2"))
    views = token_view.token_views(tokenizer, "low  low\té")
    assert [view.shown for view in views] == ["low", "␣", "␣low", "\\t", "<0xC3>", "<0xA9>"]
    assert [view.token for view in views] == ["low", "Ġ", "Ġlow", "ĉ", "Ã", "©"]


@given(text=TEXT, columns=st.integers(60, 120), colour=st.booleans())
def test_cuts_stand_under_one_another_each_with_its_name_and_number(
    tokenizer: BPETokenizerLoader, text: str, columns: int, colour: bool
) -> None:
    bytes_alone = BPETokenizerLoader(train_bpe("low low", 1, splitting="gpt2"))
    cuts = {"ours": token_view.token_views(tokenizer, text), "未, bytes": token_view.token_views(bytes_alone, text)}
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in token_view.comparison_rows(cuts, columns, colour=colour)]
    heads = [line for line in lines if not line.startswith("  ")]
    starts = [name for name, views in cuts.items() for name in (name, token_view.number_of(views))]
    assert [head.startswith(start) for head, start in zip(heads, starts, strict=True)] == [True] * 4
    margin = max(map(token_view.display_width, starts)) + 2
    ids = [line[margin:] for line in lines[1::2]]  # below a line of tokens, which may be digits too
    assert " ".join(" ".join(ids).split()) == " ".join(str(view.id) for views in cuts.values() for view in views)


def test_number_of_tokens_in_words(tokenizer: BPETokenizerLoader) -> None:
    views = token_view.token_views(tokenizer, "the")
    assert [token_view.number_of(each) for each in ([], views[:1], views * 1234)] == ["0 tokens", "1 token", "1,234 tokens"]


def test_one_of_a_thing_is_said_in_the_singular() -> None:
    own = BPETokenizerLoader(train_bpe("a a a", 10))
    line = token_view.statistics_line(text_statistics(own, "a"))
    assert line.startswith("1 character, 1 byte, 1 word, 1 token: 1.00 characters")


def test_page_and_json_show_the_vocabularies_that_a_text_is_compared_in(tokenizer: BPETokenizerLoader) -> None:
    other = BPETokenizerLoader(train_bpe("low low low", 5, splitting="gpt2"))
    page = token_view.page(tokenizer, ["a low"], "A title", {"GPT-<2>": other})
    assert "GPT-&lt;2&gt;: 2 tokens" in page
    assert ">␣low</span>" in page
    data = token_view.as_json(tokenizer, "a low", {"own": other})
    assert [token["id"] for token in data["compared"]["own"]] == other.encode("a low")
    assert "compared" not in token_view.as_json(tokenizer, "a low")


def test_a_page_has_a_limit_and_says_what_it_leaves_out(tokenizer: BPETokenizerLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_view, "MAX_PAGE_TOKENS", 100)
    page = token_view.page(tokenizer, ["the first <text>", "the " * 200, "the last"], "A title")
    assert page.count("<span") == 100
    assert "the first &lt;text&gt;</p>" in page, "the text itself is shown"
    assert "of the next text, only the first" in page
    assert "1 further texts are not on it" in page
