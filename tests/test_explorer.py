"""The explorer page, opened in a real browser: what it computes, what it shows, how it is used."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image
from test_scripts import SCRIPT, run

from tokembed import BPETokenizerLoader, Embeddings, TrainingConfig, train_bpe, train_skipgram
from tokembed.analysis.clusters import MAX_CLUSTERS, cluster_rows
from tokembed.analysis.film import Film, film_words, training_film
from tokembed.corpora.corpus import Corpus
from tokembed.figures import canvas, tokenization
from tokembed.pages import educations, explorer, report

SAMPLE = next(iter(explorer.SAMPLES.values()))
EXPLORE = SCRIPT.with_name("explore.py")

# Characters whose class and case no later version of Unicode than 3.2 changed; Python and the browser may know different ones.
ASSIGNED = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata.ucd_3_2_0.category(character) not in ("Cn", "Cs", "Co")
    and unicodedata.ucd_3_2_0.category(character)[0] == unicodedata.category(character)[0]
]


@pytest.fixture(scope="module")
def embeddings(tokenizer: BPETokenizerLoader, frankenstein: str) -> Embeddings:
    ids = tokenizer.encode_array(frankenstein)
    config = TrainingConfig(embedding_dim=30, epochs=3, workers=1, engine="hogwild")
    return Embeddings.from_training(train_skipgram(ids, tokenizer.vocab_size, config), tokenizer, ids)


@pytest.fixture(scope="module")
def helped(pydocs: str) -> BPETokenizerLoader:
    return BPETokenizerLoader(train_bpe(pydocs[:50_000], 300))


def film_for(embeddings: Embeddings) -> Film:
    """Return a film of words that move to the right and spread."""
    tokens = film_words(embeddings, 20)
    places = np.random.default_rng(0).normal(size=(20, 2))
    return Film(tokens, [0, 1, 5], np.stack([places / 10, places / 5, places]), [None, 3.5, 2.25], 0.5)


@pytest.fixture(scope="module")
def page_file(
    embeddings: Embeddings, helped: BPETokenizerLoader, pydocs: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    page = explorer.explorer_page(
        embeddings,
        "a text",
        projection="pca",
        educations={"help texts": helped},
        published={"bytes": BPETokenizerLoader(train_bpe(pydocs[:20_000], 200, splitting="gpt2"))},
        film=film_for(embeddings),
        notes=["One is left out."],
    )
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """A page in the browser, what it asked for, and what went wrong in it."""

    def __init__(self, browser: Any, path: Path, fragment: str = "", **options: Any) -> None:
        # The driver's own waiting needs eval, which the page's policy forbids.
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, "bypass_csp": True, **options})
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.goto(path.as_uri() + fragment)
        self.page.wait_for_selector("#neighbours li")

    def answers(self, name: str = "neighbours") -> list[tuple[str, float]]:
        texts = self.page.locator(f"#{name} li").evaluate_all(
            "items => items.map(item => [item.querySelector('button').textContent, item.querySelector('.cosine').textContent])"
        )
        return [(token, float(cosine)) for token, cosine in texts]

    def selected(self) -> str:
        return str(self.page.locator("#selected-token").inner_text())

    def close(self) -> None:
        self.context.close()


@pytest.fixture(scope="module")
def shared(browser: Any, page_file: Path) -> Iterator[Visit]:
    """One visit for the tests that leave the page as they found it, but for what is typed and selected."""
    visit = Visit(browser, page_file)
    yield visit
    visit.close()


@pytest.fixture
def visit(shared: Visit) -> Visit:
    shared.page.evaluate("() => { stopPlaying(); setMerges(tokenizer.numMerges); map.highlight(undefined); }")
    shared.page.uncheck("#words-only")
    shared.page.click("#show-all")
    return shared


def name_of(token: str) -> str:
    """Return a token as the page names it."""
    if token == "</w>":
        return token
    return token.removesuffix("</w>") if token.endswith("</w>") else token + "-"


def assert_same_answers(shown: list[tuple[str, float]], expected: list[tuple[str, float]]) -> None:
    """Compare tokens and cosines; those whose cosines are within 1e-3 may stand in either order, or be left out last."""
    assert len(shown) == len(expected)
    np.testing.assert_allclose([cosine for _, cosine in shown], [cosine for _, cosine in expected], atol=1e-3)
    cosines = {name_of(token): cosine for token, cosine in expected}
    last = expected[-1][1]
    for name, cosine in shown:
        assert cosines.get(name, last) == pytest.approx(cosine, abs=1e-3), name


# ---------------------------------------------------------------- encoding


def encoded(page: Any, texts: list[str]) -> list[list[int]]:
    # As JSON: the driver's own way of passing strings need not keep every character.
    return json.loads(
        page.evaluate("texts => JSON.stringify(JSON.parse(texts).map(text => tokenizer.encode(text)))", json.dumps(texts))
    )


def test_typed_text_becomes_the_tokens_and_counts_of_python(visit: Visit, tokenizer: BPETokenizerLoader, pydocs: str) -> None:
    text = "The CREATURE's 3.14 naïve plans_2: 未来, e\u0301 🙂!\n" + pydocs[:1500]
    visit.page.fill("#text", text)
    visit.page.wait_for_function("n => document.querySelectorAll('#chips li').length === n", arg=len(tokenizer.encode(text)))
    chips = visit.page.locator("#chips li").evaluate_all(
        "items => items.map(item => [item.querySelector('.token').textContent, Number(item.querySelector('.id').textContent)])"
    )
    assert [number for _, number in chips] == tokenizer.encode(text)
    assert all(token == tokenizer.id_to_token[number] for token, number in chips if tokenizer.id_to_token[number].isascii())
    shown = {name: visit.page.locator(f"#num-{name}").inner_text() for name in ("characters", "words", "tokens")}
    words = len(re.findall(r"\w+|[^\w\s]", text))
    assert shown == {"characters": f"{len(text):,}", "words": f"{words:,}", "tokens": f"{len(chips):,}"}
    assert visit.page.locator("#characters-per-token").inner_text() == f"{len(text) / len(chips):.2f}"


def test_random_unicode_text_is_encoded_as_python_does(visit: Visit, tokenizer: BPETokenizerLoader) -> None:
    random = np.random.default_rng(0)
    everyday = list("the creature's éİΣσς未9_. \n\t\x00\x1c\x1f\x85\ufeff\u200b🙂")
    texts = ["", " ", "a" * 1001, "\x1c\x85a\ufeffb"]
    for length in random.integers(1, 120, 200):
        pool = ASSIGNED if random.random() < 0.5 else everyday
        texts.append("".join(pool[place] for place in random.integers(0, len(pool), length)))
    assert encoded(visit.page, texts) == [tokenizer.encode(text) for text in texts]


def test_every_long_assigned_character_is_split_and_lowered_alike(visit: Visit, tokenizer: BPETokenizerLoader) -> None:
    texts = ["a" + "b".join(ASSIGNED[place : place + 500]) for place in range(0, len(ASSIGNED), 500)]
    different = [text for text, ids in zip(texts, encoded(visit.page, texts), strict=True) if ids != tokenizer.encode(text)]
    assert not different
    assert len(ASSIGNED) > 90_000


@pytest.mark.parametrize("word", ["qzthe" * 20_000, "a" * 100_000, "未" * 100_000])
def test_a_word_of_100_000_letters_is_encoded_alike(visit: Visit, tokenizer: BPETokenizerLoader, word: str) -> None:
    assert encoded(visit.page, [word]) == [tokenizer.encode(word)]


def test_models_that_keep_case_or_know_no_bytes_are_encoded_alike(browser: Any, tmp_path: Path, pydocs: str) -> None:
    for options in ({"lowercase": False}, {"byte_fallback": False}):
        tokenizer = BPETokenizerLoader(train_bpe(pydocs[:50_000], 300, **options))
        page = explorer.explorer_page(Embeddings(tokenizer.id_to_token[:40], np.eye(40), tokenizer), "x", projection="pca")
        (tmp_path / "page.html").write_text(page, encoding="utf-8")
        visit = Visit(browser, tmp_path / "page.html")
        text = "The class Object — naïve 未来"
        assert encoded(visit.page, [text]) == [tokenizer.encode(text)]
        assert not visit.errors
        visit.close()


def test_half_a_character_is_told_in_a_line(visit: Visit) -> None:
    visit.page.evaluate("() => { element('text').value = 'ab\\ud83d'; element('text').dispatchEvent(new Event('input')); }")
    visit.page.wait_for_selector("#text-message:not([hidden])")
    assert "character 3 is half of a pair" in visit.page.locator("#text-message").inner_text()
    assert visit.page.locator("#chips li").count() == 0
    visit.page.fill("#text", "ab")
    visit.page.wait_for_selector("#text-message", state="hidden")


def test_of_a_long_text_the_first_tokens_are_shown_and_all_are_counted(visit: Visit, tokenizer: BPETokenizerLoader) -> None:
    text = "a word of the text " * 3000
    visit.page.fill("#text", text)
    visit.page.wait_for_selector("#more-tokens:not([hidden])")
    num_tokens = len(tokenizer.encode(text))
    assert visit.page.locator("#chips li").count() == 2000
    assert f"{num_tokens - 2000:,} tokens more" in visit.page.locator("#more-tokens").inner_text()
    visit.page.fill("#text", "short")


# ---------------------------------------------------------------- map and neighbours


def click_point(visit: Visit, name: str) -> None:
    """Click the middle of the map once the point is there."""
    visit.page.evaluate(
        "name => map.setView(map.points[2 * rowOf(name)], map.points[2 * rowOf(name) + 1], map.wholeSpan() / 400)",
        name,
    )
    visit.page.locator("#map").scroll_into_view_if_needed()
    box = visit.page.locator("#map-canvas").bounding_box()
    x, y = visit.page.evaluate("name => map.pixelOf(rowOf(name))", name)
    visit.page.mouse.move(box["x"] + x + 3, box["y"] + y)
    visit.page.mouse.move(box["x"] + x, box["y"] + y)
    visit.page.wait_for_selector("#map-tip:not([hidden])")
    visit.page.mouse.click(box["x"] + x, box["y"] + y)
    visit.page.wait_for_function("name => element('selected-token').textContent === name", arg=name)


def frequent_names(embeddings: Embeddings, count: int) -> list[str]:
    words = [embeddings.tokens[row] for row in explorer.frequent_rows(embeddings, 400) if embeddings.is_word[row]]
    return [word.removesuffix("</w>") for word in words if len(word) > 7][:count]


def test_a_click_on_a_point_shows_its_nearest_neighbours(visit: Visit, embeddings: Embeddings) -> None:
    for name in frequent_names(embeddings, 3):
        click_point(visit, name)
        assert_same_answers(visit.answers(), embeddings.most_similar(name, topn=10))
        count = embeddings.counts[embeddings.token_to_index[f"{name}</w>"]] if embeddings.counts is not None else 0
        assert f"{count:,} times" in visit.page.locator("#selected-facts").inner_text()


def test_fragments_have_neighbours_too(visit: Visit, embeddings: Embeddings) -> None:
    fragment = next(token for token in embeddings.tokens if len(token) == 3 and token.isalpha())
    row = embeddings.token_to_index[fragment]
    cosines = embeddings.unit_vectors @ embeddings.unit_vectors[row]
    cosines[row] = -np.inf
    expected = [(embeddings.tokens[other], float(cosines[other])) for other in np.argsort(-cosines)[:10]]
    visit.page.evaluate("name => { location.hash = encodeURIComponent(name); }", f"{fragment}-")
    visit.page.wait_for_selector(f"#selected-token:text-is('{fragment}-')")
    assert_same_answers(visit.answers(), expected)


def test_a_word_is_searched_for_by_keyboard_alone(visit: Visit, embeddings: Embeddings) -> None:
    first, second = frequent_names(embeddings, 2)
    keyboard = visit.page.keyboard
    visit.page.locator("#text").focus()
    while visit.page.evaluate("document.activeElement.id") != "search":
        keyboard.press("Tab")
    keyboard.press("ControlOrMeta+a")
    keyboard.type(first)
    assert visit.page.locator("#search").get_attribute("aria-expanded") == "true"
    keyboard.press("Enter")
    assert visit.selected() == first
    assert_same_answers(visit.answers(), embeddings.most_similar(first, topn=10))
    keyboard.press("ControlOrMeta+a")
    keyboard.type(second[:2])
    options = visit.page.locator("#search-options [role=option]")
    offered = options.evaluate_all("items => items.map(item => item.firstChild.textContent)")
    assert offered
    assert all(name.startswith(second[:2]) for name in offered)
    keyboard.press("ArrowUp")  # the last one
    assert options.last.get_attribute("id") == visit.page.locator("#search").get_attribute("aria-activedescendant")
    keyboard.press("Enter")
    assert visit.selected() == offered[-1]
    assert visit.page.locator("#search").get_attribute("aria-expanded") == "false"
    x, y = visit.page.evaluate("() => map.pixelOf(selected.rows[0])")
    box = visit.page.locator("#map").bounding_box()
    assert (x, y) == pytest.approx((box["width"] / 2, box["height"] / 2), abs=3), "what was found is in the middle"


def test_a_word_in_the_list_leads_on_and_the_address_names_it(visit: Visit, embeddings: Embeddings) -> None:
    button = visit.page.locator("#neighbours button").nth(2)
    name = button.inner_text()
    button.focus()
    visit.page.keyboard.press("Enter")
    assert visit.selected() == name
    visit.page.wait_for_function("name => new URLSearchParams(location.hash.slice(1)).get('word') === name", arg=name)
    assert visit.page.evaluate("document.activeElement.id") == "selected-token", "focus is not lost with the list"


def test_a_link_opens_at_its_word(browser: Any, page_file: Path, embeddings: Embeddings) -> None:
    name = frequent_names(embeddings, 5)[-1]
    for fragment in (f"#{name.upper()}", "#%"):
        visit = Visit(browser, page_file, fragment)
        assert visit.selected() == name or fragment == "#%"
        assert_same_answers(visit.answers(), embeddings.most_similar(visit.selected(), topn=10))
        assert not visit.errors
        visit.close()


def search(visit: Visit, text: str) -> None:
    visit.page.fill("#search", text)
    visit.page.keyboard.press("Enter")


@pytest.mark.parametrize("word", ["zzyzx", "Unhappily", "the old man", "naïvely", "aaaa"])
def test_a_word_that_is_no_token_is_composed_as_python_does(visit: Visit, embeddings: Embeddings, word: str) -> None:
    assert f"{word.lower()}</w>" not in embeddings.tokens
    search(visit, word)
    assert visit.selected() == word.lower()
    assert_same_answers(visit.answers(), embeddings.most_similar(word, topn=10))
    facts = visit.page.locator("#selected-facts").inner_text()
    assert facts.startswith("No token of its own: this is the mean of the vectors of its parts, ")
    visit.page.check("#words-only")
    assert_same_answers(visit.answers(), embeddings.most_similar(word, topn=10, words_only=True))
    assert visit.page.evaluate("() => map.marked.stars.length > 1 && selected.rows.length >= map.marked.stars.length")
    visit.page.evaluate("() => { location.hash = 'the'; }")
    visit.page.wait_for_selector("#selected-token:text-is('the')")
    visit.page.evaluate("word => { location.hash = encodeURIComponent(word); }", word)
    visit.page.wait_for_selector(f"#selected-token:text-is('{word.lower()}')")


def test_what_begins_a_token_can_be_asked_for_itself_too(visit: Visit, embeddings: Embeddings) -> None:
    name = next(
        token[:-5]
        for token in embeddings.tokens
        if len(token) > 10 and token.endswith("</w>") and not {token[:-5], f"{token[:-5]}</w>"} & set(embeddings.tokens)
    )
    visit.page.fill("#search", name)
    option = visit.page.locator("#search-options [role=option]").last
    assert option.locator(".count").inner_text() == "from its parts"
    option.click()
    assert visit.selected() == name
    assert_same_answers(visit.answers(), embeddings.most_similar(name, topn=10))


def test_what_has_no_vector_is_told_with_its_pieces(visit: Visit, embeddings: Embeddings) -> None:
    assert "🙂" not in embeddings
    before = visit.selected()
    search(visit, "🙂")
    assert visit.page.locator("#search-message").inner_text() == (
        "“🙂” has no vector: what it is made of, <0xF0>- + <0x9F>- + <0x99>- + <0x82>-, was too rare in the text to be trained."
    )
    assert visit.selected() == before
    search(visit, " ")
    assert visit.page.locator("#search-message").inner_text() == "Type a word to look for."


def rare_word(embeddings: Embeddings) -> str:
    """Return a whole word that was merged from two tokens with vectors."""
    assert embeddings.tokenizer is not None
    parts = embeddings.tokenizer.parts
    for row in explorer.frequent_rows(embeddings, len(embeddings))[::-1]:
        token = embeddings.tokens[row]
        if embeddings.is_word[row] and all(part in embeddings.token_to_index for part in parts.get(token, ("",))):
            return token.removesuffix("</w>")
    raise AssertionError("no such word")


def test_the_lectures_links_show_what_they_name(visit: Visit, frankenstein: str) -> None:
    page = (REPOSITORY / "docs" / "lecture.md").read_text(encoding="utf-8")
    links = re.findall(r"`explorer\.html#([^`]+)`", page)
    assert len(links) == page.count("explorer.html#") > 5
    for link in links:
        wanted = parse_qs(link, strict_parsing=True)
        assert wanted.keys() <= {"text", "merges", "word"}
        visit.page.evaluate("hash => { location.hash = hash; }", f"#{link}")
        visit.page.wait_for_function(
            """([text, merges]) => text === document.getElementById("text").value && merges === numMerges""",
            arg=[wanted.get("text", [SAMPLE])[0], int(wanted.get("merges", [2000])[0])],
        )
        assert "merges" not in wanted or visit.page.locator("#merge-number").input_value() == wanted["merges"][0]
        if "word" in wanted and " felix " in frankenstein.lower():
            assert visit.selected() == wanted["word"][0]
            assert visit.page.locator("#selected-facts").inner_text().startswith("Occurs ")


@pytest.mark.endurance
def test_a_token_too_rare_to_be_trained_is_composed_and_told_of_as_one(
    browser: Any, tmp_path: Path, embeddings: Embeddings
) -> None:
    word = rare_word(embeddings)
    kept = [row for row, token in enumerate(embeddings.tokens) if token != f"{word}</w>"]
    assert embeddings.counts is not None
    assert embeddings.tokenizer is not None
    tokens = [embeddings.tokens[row] for row in kept]
    without = Embeddings(tokens, embeddings.vectors[kept], embeddings.tokenizer, embeddings.counts[kept])
    (tmp_path / "page.html").write_text(explorer.explorer_page(without, "x", projection="pca"), encoding="utf-8")
    visit = Visit(browser, tmp_path / "page.html", f"#{word}")
    assert visit.selected() == word
    assert_same_answers(visit.answers(), without.most_similar(word, topn=10))
    number = embeddings.tokenizer.token_to_id[f"{word}</w>"]
    facts = visit.page.locator("#selected-facts").inner_text()
    assert facts.startswith(f"Token {number}, but too rare in the text to be trained: this is the mean")
    assert not visit.errors
    visit.close()


@pytest.mark.endurance
def test_what_is_beyond_the_pages_limit_is_told_as_such(browser: Any, tmp_path: Path, embeddings: Embeddings) -> None:
    page = explorer.explorer_page(embeddings, "x", projection="pca", max_tokens=50)
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    visit = Visit(browser, tmp_path / "page.html")
    limit = "this page keeps the vectors of the 50 most frequent tokens only."
    word = rare_word(embeddings)
    search(visit, word)
    assert visit.page.locator("#search-message").inner_text() == f"“{word}” is a token, but {limit}"
    search(visit, f"{word} of the")
    message = visit.page.locator("#search-message").inner_text()
    assert message == f"“{word} of the” is no token of its own, and one of its parts, {word}, has no vector here: {limit}"
    search(visit, "of the")
    assert visit.selected() == "of the"
    visit.close()


@pytest.mark.endurance
def test_a_map_of_equal_vectors_opens(browser: Any, tmp_path: Path, tokenizer: BPETokenizerLoader) -> None:
    for vectors in (np.ones((30, 4)), np.zeros((30, 4))):
        page = explorer.explorer_page(Embeddings(tokenizer.id_to_token[:30], vectors, tokenizer), "x")
        (tmp_path / "page.html").write_text(page, encoding="utf-8")
        visit = Visit(browser, tmp_path / "page.html")
        assert {cosine for _, cosine in visit.answers()} == {float(vectors[0, 0])}
        assert not visit.errors
        visit.close()


def test_whole_words_only_filters_the_map_and_the_lists(visit: Visit, embeddings: Embeddings) -> None:
    name = frequent_names(embeddings, 1)[0]
    visit.page.fill("#search", name)
    visit.page.keyboard.press("Enter")
    visit.page.check("#words-only")
    assert visit.page.evaluate("() => map.labels.every(({ row }) => isWord[row] || selected.rows.includes(row))")
    assert_same_answers(visit.answers(), embeddings.most_similar(name, topn=10, words_only=True))
    assert visit.page.evaluate("() => names.filter((_, row) => map.isShown(row)).length") == int(embeddings.is_word.sum())
    visit.page.uncheck("#words-only")
    assert visit.page.evaluate("() => names.every((_, row) => map.isShown(row))")
    assert_same_answers(visit.answers(), embeddings.most_similar(name, topn=10))


def test_the_map_is_moved_and_zoomed_by_keys_and_buttons(visit: Visit) -> None:
    def view() -> tuple[float, float, float]:
        found = visit.page.evaluate("map.view")
        return found["x"], found["y"], found["span"]

    x, y, span = view()
    visit.page.locator("#map").focus()
    visit.page.keyboard.press("+")
    assert view()[2] < span
    visit.page.keyboard.press("ArrowRight")
    visit.page.keyboard.press("ArrowUp")
    assert view()[0] > x
    assert view()[1] > y
    visit.page.keyboard.press("0")
    assert view() == pytest.approx((x, y, span))
    visit.page.click("#zoom-in")
    assert view()[2] < span
    visit.page.click("#zoom-out")
    assert view()[2] == pytest.approx(span)


def test_the_wheel_scrolls_the_page_and_zooms_with_control(visit: Visit) -> None:
    visit.page.locator("#map").scroll_into_view_if_needed()
    box = visit.page.locator("#map").bounding_box()
    visit.page.mouse.move(box["x"] + 200, box["y"] + 200)
    span = visit.page.evaluate("map.view.span")
    visit.page.mouse.wheel(0, -120)
    visit.page.wait_for_timeout(100)
    assert visit.page.evaluate("map.view.span") == span
    visit.page.locator("#map").scroll_into_view_if_needed()
    visit.page.keyboard.down("Control")
    visit.page.mouse.wheel(0, -120)
    visit.page.keyboard.up("Control")
    visit.page.wait_for_function("span => map.view.span < span", arg=span)


# ---------------------------------------------------------------- slider of merges


def with_merges(tokenizer: BPETokenizerLoader, number: int) -> BPETokenizerLoader:
    """Return the tokenizer of the first merges."""
    return BPETokenizerLoader(replace(tokenizer.model, merges=tokenizer.model.merges[:number], applications=[]))


SENTENCE = "The creature's İmmense 未 unhappiness, naïve 🙂"


def test_the_slider_cuts_by_the_first_merges_as_python_would(visit: Visit, tokenizer: BPETokenizerLoader) -> None:
    visit.page.fill("#text", SENTENCE)
    for step in (0, 100, 350, 700, 1000):
        visit.page.locator("#merges").evaluate(
            "(slider, step) => { slider.value = step; slider.dispatchEvent(new Event('input')); }", step
        )
        number = int(visit.page.locator("#merge-number").input_value())
        assert number == round(2000 * (step / 1000) ** 3)
        shown = visit.page.locator("#chips .token").evaluate_all("items => items.map(item => item.textContent)")
        assert shown == with_merges(tokenizer, number).tokenize(SENTENCE)


def test_random_texts_with_fewer_merges_and_their_spans_are_pythons(visit: Visit, tokenizer: BPETokenizerLoader) -> None:
    random = np.random.default_rng(1)
    letters = list("the creature's éİΣ未🙂9_. \n")
    texts = ["".join(random.choice(letters, 60)) for _ in range(30)] + [SENTENCE]
    for number in (0, 1, 57, 900, 2000):
        fewer = with_merges(tokenizer, number)
        script = "([texts, number]) => texts.map(text => tokenizer.encodeWithOffsets(text, number)"
        script += ".map(([id, ...span]) => [tokenizer.idToToken[id], ...span]))"
        for text, found in zip(texts, visit.page.evaluate(script, [texts, number]), strict=True):
            ids, spans = fewer.encode_with_offsets(text)
            assert found == [[fewer.id_to_token[id], *span] for id, span in zip(ids, spans, strict=True)]


def test_buttons_go_from_one_merge_of_the_text_to_the_next_and_play_them(visit: Visit, tokenizer: BPETokenizerLoader) -> None:
    visit.page.fill("#text", "creature")
    visit.page.fill("#merge-number", "0")
    assert visit.page.locator("#num-tokens").inner_text() == "9"
    assert visit.page.locator("#previous-merge").is_disabled()
    counts = [9]
    while visit.page.locator("#next-merge").is_enabled():
        visit.page.click("#next-merge")
        counts.append(int(visit.page.locator("#num-tokens").inner_text()))
    assert counts == list(range(9, len(tokenizer.encode("creature")) - 1, -1)), "each step joins one pair"
    visit.page.click("#previous-merge")
    assert visit.page.locator("#num-tokens").inner_text() == str(counts[-2])
    visit.page.fill("#merge-number", "0")
    visit.page.click("#play-merges")
    visit.page.wait_for_function("() => numMerges === tokenizer.numMerges && element('play-merges').textContent === 'Play'")


def test_a_chip_shows_its_characters_and_leads_to_the_map(visit: Visit, embeddings: Embeddings) -> None:
    name = frequent_names(embeddings, 2)[1]
    visit.page.fill("#text", f"é🙂 {name.upper()}!")
    chip = visit.page.locator("#chips li", has=visit.page.locator(f"a[href*='word={name}']")).first
    chip.hover()
    assert visit.page.locator("#source mark").inner_text() == name.upper()
    assert visit.page.locator("#source .hint").inner_text().strip() == f"characters 4 to {3 + len(name)}:"
    chip.locator("a").click()
    assert visit.selected() == name
    assert visit.page.evaluate("document.activeElement.id") == "selected-token"


def test_other_tokenizers_cut_the_same_sentence_as_in_python(visit: Visit, helped: BPETokenizerLoader) -> None:
    def shown() -> list[tuple[str, str]]:
        rows = visit.page.locator("#educations > li")
        return [
            (row.locator(".education-title").inner_text(), row.locator(".education-count").inner_text()) for row in rows.all()
        ]

    visit.page.fill("#text", SENTENCE)
    own = visit.page.locator("#num-tokens").inner_text()
    assert shown() == [("a text", f"{own} tokens"), ("help texts", f"{len(helped.encode(SENTENCE))} tokens"), ("bytes", "–")]
    assert visit.page.locator("#educations li").last.inner_text().endswith("Known for the sample sentences only.")
    visit.page.fill("#merge-number", "40")
    assert shown()[1] == ("help texts", f"{len(with_merges(helped, 40).encode(SENTENCE))} tokens")
    visit.page.click("#samples button >> nth=1")
    sample = list(explorer.SAMPLES.values())[1]
    assert visit.page.locator("#text").input_value() == sample
    visit.page.wait_for_function("() => element('educations').lastChild.querySelectorAll('.token').length > 10")
    assert "One is left out." in visit.page.locator("#educations-note").inner_text()
    assert visit.page.locator("#educations-heading").inner_text() == "Two educations"


# ---------------------------------------------------------------- sharing


def test_a_link_carries_text_merges_and_word(browser: Any, page_file: Path, visit: Visit, embeddings: Embeddings) -> None:
    name = frequent_names(embeddings, 3)[2]
    text = "a & b = #c% 未🙂\n+d"
    visit.page.fill("#text", text)
    visit.page.fill("#merge-number", "123")
    search(visit, name)
    visit.page.click("#copy-link")
    fragment = visit.page.evaluate("location.hash")
    opened = Visit(browser, page_file, fragment)
    assert opened.page.locator("#text").input_value() == text
    assert opened.page.locator("#merge-number").input_value() == "123"
    assert opened.selected() == name
    for strange in ("#merges=-1&word=", "#merges=99999999&text=", "#=&&%"):
        opened.page.evaluate("hash => { location.hash = hash; }", strange)
        opened.page.wait_for_function("() => numMerges === tokenizer.numMerges")
    assert not opened.errors
    opened.close()


def test_the_map_is_saved_as_a_png(visit: Visit, tmp_path: Path) -> None:
    with visit.page.expect_download() as download:
        visit.page.click("#save-picture")
    assert download.value.suggested_filename == "tokembed-map-a-text.png"
    download.value.save_as(tmp_path / "map.png")
    image = Image.open(tmp_path / "map.png").convert("RGB")
    width, height = visit.page.evaluate("[map.width, map.height]")
    assert image.size == (2 * width, 2 * (height + 34))
    assert len(image.getcolors(1 << 24) or []) > 20, "points in their colours"


# ---------------------------------------------------------------- pixels, clusters, film


def test_labels_never_overlap_and_lie_within_the_map(visit: Visit) -> None:
    for factor in (1, 0.5, 0.3):
        visit.page.evaluate("factor => map.zoom(factor)", factor)
        boxes = visit.page.evaluate("map.labels.map(({ box }) => box)")
        width, height = visit.page.evaluate("[map.width, map.height]")
        assert len(boxes) > 3
        for place, (left, top, right, bottom) in enumerate(boxes):
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            assert not [box for box in boxes[:place] if left < box[2] and box[0] < right and top < box[3] and box[1] < bottom]


def test_the_map_is_dragged_and_two_fingers_zoom_it(visit: Visit) -> None:
    visit.page.locator("#map").scroll_into_view_if_needed()
    box = visit.page.locator("#map-canvas").bounding_box()
    selected, before = visit.selected(), visit.page.evaluate("map.pixelOf(0)")
    visit.page.mouse.move(box["x"] + 300, box["y"] + 200)
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] + 340, box["y"] + 170, steps=4)
    visit.page.mouse.up()
    after = visit.page.evaluate("map.pixelOf(0)")
    assert (after[0] - before[0], after[1] - before[1]) == pytest.approx((40, -30), abs=8)
    assert visit.selected() == selected, "a drag is no click"
    span = visit.page.evaluate("map.view.span")
    pinch = """() => {
      const send = (type, pointerId, clientX) =>
        map.frame.dispatchEvent(new PointerEvent(type, { pointerId, clientX, clientY: 300, button: 0 }));
      map.frame.setPointerCapture = () => {};
      send('pointerdown', 11, 300); send('pointerdown', 12, 400);
      send('pointermove', 12, 500);
      send('pointerup', 11, 300); send('pointerup', 12, 500);
      delete map.frame.setPointerCapture;
    }"""
    visit.page.evaluate(pinch)
    assert visit.page.evaluate("map.view.span") == pytest.approx(span / 2)


def test_a_cluster_is_seen_alone_and_has_one_colour(visit: Visit, embeddings: Embeddings) -> None:
    clusters = cluster_rows(embeddings, explorer.frequent_rows(embeddings, len(embeddings)))
    buttons = visit.page.locator("#clusters button")
    assert buttons.all_inner_texts() == clusters.names
    buttons.nth(1).click()
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"
    shown = visit.page.evaluate("names.map((_, row) => map.isShown(row))")
    assert shown == (clusters.labels == 1).tolist()
    buttons.nth(1).click()
    assert visit.page.evaluate("names.every((_, row) => map.isShown(row))")


def test_the_film_runs_from_frame_to_frame_and_its_words_lead_to_the_map(visit: Visit, embeddings: Embeddings) -> None:
    film = film_for(embeddings)
    assert visit.page.locator("#film-epoch").inner_text() == "epoch 5, loss 2.25"
    visit.page.locator("#film-time").fill("0")
    assert visit.page.locator("#film-epoch").inner_text() == "epoch 0, before training"
    first = visit.page.evaluate("film.pixels()")
    visit.page.locator("#film-time").fill("2")
    last = visit.page.evaluate("film.pixels()")
    spreads = [np.ptp(np.array(pixels), axis=0).max() for pixels in (first, last)]
    assert spreads[1] / spreads[0] == pytest.approx(10, rel=0.02)
    visit.page.locator("#film").scroll_into_view_if_needed()
    box = visit.page.locator("#film-canvas").bounding_box()
    visit.page.mouse.click(box["x"] + last[7][0], box["y"] + last[7][1])
    assert f"{visit.selected()}</w>" == film.tokens[7]
    visit.page.click("#play-film")
    visit.page.wait_for_function("() => film.time < 1")
    assert visit.page.locator("#play-film").inner_text() == "Pause"
    visit.page.click("#play-film")


# ---------------------------------------------------------------- sums of words


def analogy(embeddings: Embeddings, a: str, b: str, c: str) -> list[tuple[str, float]]:
    """Return the five tokens nearest to a - b + c, by numpy."""
    rows = [embeddings.token_to_index[f"{word}</w>"] for word in (a, b, c)]
    unit = embeddings.unit_vectors
    query = unit[rows[0]] - unit[rows[1]] + unit[rows[2]]
    cosines = unit @ query / np.linalg.norm(query)
    cosines[rows] = -np.inf
    return [(embeddings.tokens[row], float(cosines[row])) for row in np.argsort(-cosines)[:5]]


def test_sums_of_words_are_those_of_numpy(visit: Visit, embeddings: Embeddings) -> None:
    words = frequent_names(embeddings, 7)
    for a, b, c in (words[:3], words[2:5], words[4:7]):
        for field, word in zip("abc", (a, b, c), strict=True):
            visit.page.fill(f"#analogy-{field}", word)
        visit.page.keyboard.press("Escape")
        visit.page.keyboard.press("Enter")
        assert visit.page.locator("#answers-heading").inner_text() == f"{a} − {b} + {c} ≈"
        assert_same_answers(visit.answers("answers"), analogy(embeddings, a, b, c))
    visit.page.locator("#answers button").first.click()
    assert visit.selected() == visit.answers("answers")[0][0]


def test_a_sum_may_hold_words_that_are_no_tokens(visit: Visit, embeddings: Embeddings) -> None:
    for field, word in zip("abc", ("zzyzx", "the", "of"), strict=True):
        visit.page.fill(f"#analogy-{field}", word)
    visit.page.click("#analogy button[type=submit]")
    composed, *others = (embeddings.vector(word).astype(np.float64) for word in ("zzyzx", "the", "of"))
    a, b, c = (vector / np.linalg.norm(vector) for vector in (composed, *others))
    cosines = embeddings.unit_vectors @ (a - b + c) / np.linalg.norm(a - b + c)
    cosines[[row for word in ("zzyzx", "the", "of") for row in embeddings._rows_of(word)]] = -np.inf
    expected = [(embeddings.tokens[row], float(cosines[row])) for row in np.argsort(-cosines)[:5]]
    assert_same_answers(visit.answers("answers"), expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("", "", ""), "Type a word into each of the three fields."),
        (("the", " ", "of"), "Type a word into each of the three fields."),
        (("", "🙂", "of"), "Type a word into each of the three fields."),
        (("the", "🙂", "of"), "“🙂” has no vector: "),
    ],
)
def test_a_sum_without_three_known_words_is_told_in_a_line(visit: Visit, words: tuple[str, ...], message: str) -> None:
    for field, word in zip("abc", words, strict=True):
        visit.page.fill(f"#analogy-{field}", word)
    visit.page.click("#analogy button[type=submit]")
    assert visit.page.locator("#analogy-message").inner_text().startswith(message)
    assert visit.page.locator("#answers li").count() == 0
    assert visit.page.locator("#answers-heading").is_hidden()


def test_only_sums_that_come_out_right_are_offered(browser: Any, tmp_path: Path, tokenizer: BPETokenizerLoader) -> None:
    tokens = [f"{word}</w>" for word in ("king", "man", "woman", "queen", "was", "is", "are", "were", "father", "mother")]
    vectors = np.zeros((10, 9))
    vectors[0, [0, 1]] = vectors[3, [0, 2]] = 1  # king, queen: royal and of a sex
    vectors[1, 1] = vectors[2, 2] = 1
    vectors[[4, 5, 6, 7], [3, 4, 5, 6]] = 1  # of these, no sum comes out
    vectors[[8, 9], [7, 8]] = 1
    embeddings = Embeddings(tokens, vectors, tokenizer)
    assert explorer.presets(embeddings, np.arange(10)) == [["king", "man", "woman"]]
    (tmp_path / "page.html").write_text(explorer.explorer_page(embeddings, "x", projection="pca"), encoding="utf-8")
    visit = Visit(browser, tmp_path / "page.html")
    visit.page.click("#preset-list button")
    assert visit.answers("answers")[0][0] == "queen"
    visit.close()


# ---------------------------------------------------------------- the page itself


def test_an_empty_text_has_no_merges_to_speak_of(visit: Visit) -> None:
    visit.page.fill("#text", " ")
    visit.page.wait_for_function("() => element('merge-message').textContent === 'There is no text to merge.'")
    visit.page.fill("#text", SAMPLE)
    visit.page.wait_for_function("() => element('merge-message').textContent.startsWith('Last merge in this text')")


def test_a_reports_figures_scroll_in_their_frames_on_a_telephone_and_the_page_does_not(browser: Any, tmp_path: Path) -> None:
    canvas.save(tokenization.plot_token_lengths({"1": 5, "2": 3, "3": 2, "4+": 40}), tmp_path, "token_lengths", "a caption")
    (tmp_path / "report.html").write_text(report.report_page(tmp_path, "a report", [])[0], encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 740})
    page.goto((tmp_path / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("document.querySelector('figure').clientWidth") < 390
    assert page.evaluate("document.querySelector('figure img').clientWidth") >= 720
    page.set_viewport_size({"width": 1200, "height": 740})
    assert page.evaluate("(figure => figure.scrollWidth === figure.clientWidth)(document.querySelector('figure'))")
    page.close()


def test_the_page_asks_for_nothing_and_nothing_goes_wrong(browser: Any, page_file: Path) -> None:
    for scheme, width in (("light", 1200), ("dark", 390)):
        visit = Visit(browser, page_file, color_scheme=scheme, viewport={"width": width, "height": 740}, bypass_csp=False)
        for button in ("#next-merge", "#previous-merge", "#play-film", "#clusters button", "#samples button"):
            visit.page.locator(button).first.evaluate("button => button.click()")
        visit.page.fill("#search", "the")
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_timeout(200)
        assert visit.requests == [page_file.as_uri()]
        assert not visit.errors
        assert visit.page.evaluate("document.documentElement.scrollWidth") == width, "nothing is wider than the window"
        visit.close()


def test_the_colours_follow_the_scheme_at_once(visit: Visit) -> None:
    seen = []
    for scheme in ("light", "dark", "light"):
        visit.page.emulate_media(color_scheme=scheme)
        visit.page.wait_for_function("() => map.paper === colour('paper') && map.colours[0] === colour('cluster-0')")
        seen.append(
            visit.page.evaluate("[getComputedStyle(document.body).backgroundColor, map.paper, map.ink, ...map.colours]")
        )
    assert seen[0] == seen[2]
    assert all(light != dark for light, dark in zip(seen[0], seen[1], strict=True))


def luminance(colour: str) -> float:
    """Return the relative luminance of "#rrggbb" (WCAG 2.2)."""
    channels = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_text_and_marks_stand_out_from_what_is_behind_them() -> None:
    style = (explorer.PARTS / "page.css").read_text(encoding="utf-8")
    schemes = [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)]
    assert len(schemes) == 2
    for colours in schemes:
        needed = [("ink", "paper", 4.5), ("ink", "card", 4.5), ("faint", "paper", 4.5), ("faint", "card", 4.5)]
        needed += [("accent", "paper", 3), ("warn", "paper", 3), ("edge", "paper", 3)]
        needed += [(f"cluster-{place}", "paper", 3) for place in range(MAX_CLUSTERS)]
        needed += [("ink", f"chip-{place}", 7) for place in range(5)]
        for front, back, least in needed:
            bright, dim = sorted((luminance(colours[front]), luminance(colours[back])), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= least, (front, back)


def test_every_control_has_a_name(visit: Visit) -> None:
    session = visit.context.new_cdp_session(visit.page)
    nodes = [node for node in session.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    controls = (
        "button",
        "textbox",
        "combobox",
        "checkbox",
        "application",
        "listbox",
        "region",
        "group",
        "link",
        "slider",
        "spinbutton",
    )
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
    named = [(role, name) for role, name in found if role in controls]
    assert not [role for role, name in named if not name.strip()]
    assert {"button", "textbox", "combobox", "checkbox", "application", "slider", "spinbutton", "link"} <= {
        role for role, _ in named
    }
    assert [name for role, name in found if role == "heading"][:2] == ["Tokens and vectors of a text", "From letters to tokens"]


def test_results_are_announced(visit: Visit, embeddings: Embeddings) -> None:
    name = frequent_names(embeddings, 4)[-1]
    visit.page.fill("#search", name)
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_function("name => element('announcement').textContent.startsWith(`${name}, nearest: `)", arg=name)
    assert visit.page.locator("#announcement").get_attribute("aria-live") == "polite"


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<b>bold</b>",
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt;",
    "%{text}",
    "<!--",
    "a\x00b\u202e",
]


def test_hostile_tokens_stay_text(browser: Any, tmp_path: Path, tokenizer: BPETokenizerLoader) -> None:
    tokens = [f"{token}</w>" for token in HOSTILE] + ["word</w>", "piece"]
    embeddings = Embeddings(tokens, np.random.default_rng(0).normal(size=(9, 4)), tokenizer, counts=range(9, 0, -1))
    name = "</title><script>alert(1)</script>$title"
    sample = HOSTILE[0] + HOSTILE[2]
    page = explorer.explorer_page(embeddings, name, projection="pca", sample=sample)
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    visit = Visit(browser, tmp_path / "page.html", "#word")
    assert visit.page.input_value("#text") == sample, "the page begins with a sentence of the text itself"
    assert visit.page.title() == f"tokembed explorer: {name}"
    shown = [name for name, _ in visit.answers()]
    assert set(HOSTILE[:-1]) | {"a\\u{0}b\\u{202e}", "piece-"} == set(shown)
    assert set(visit.page.evaluate("map.labels.map(({ text }) => text)")) <= {*shown, "word"}
    assert visit.page.locator("#neighbours b, #neighbours img, #map img, #clusters b").count() == 0
    visit.page.fill("#text", "".join(HOSTILE))
    visit.page.wait_for_timeout(100)
    assert visit.page.locator("#chips b, #chips img, #chips script, #educations b, #educations img").count() == 0
    visit.page.locator("#chips li").first.hover()
    assert visit.page.locator("#source mark").inner_text() == "<"
    click_point(visit, "<b>bold</b>")
    assert visit.page.locator("#map-tip").text_content().startswith("<b>bold</b>")
    visit.page.goto(visit.page.url.partition("#")[0] + "#text=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&word=%3Cb%3E")
    visit.page.wait_for_function("() => element('text').value === '<img src=x onerror=alert(1)>'")
    assert visit.page.locator("main img").count() == 0
    assert not visit.errors
    visit.close()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Глава 1\n\nОна вошла в комнату и села у окна. Было тихо! Да.\n" * 9, "Она вошла в комнату и села у окна."),
        (
            "第一章\n机器学习研究如何让计算机从数据中学习知识。好。\n" * 9,
            "机器学习研究如何让计算机从数据中学习知识。",
        ),
        ("no sentence here " * 30, None),
        ("", None),
    ],
)
def test_a_sentence_of_a_text_in_any_script_is_found(text: str, sentence: str | None) -> None:
    assert educations.sentence_of(Corpus("t", None, lambda: iter([text]))) == sentence


def test_the_most_frequent_tokens_stay_when_there_are_too_many(embeddings: Embeddings) -> None:
    rows = explorer.frequent_rows(embeddings, 50)
    assert embeddings.counts is not None
    assert len(rows) == 50
    assert embeddings.counts[rows].min() >= np.delete(embeddings.counts, rows).max()
    page = explorer.explorer_page(embeddings, "a text", projection="pca", max_tokens=50)
    assert f"the 50 most frequent of {len(embeddings):,} tokens" in page


@pytest.mark.parametrize("projection", ["pca", "tsne"])
def test_a_map_has_one_size_whatever_projects_it(embeddings: Embeddings, projection: str) -> None:
    points = explorer.map_points(embeddings.vectors[:60], projection)
    assert points.shape == (60, 2)
    assert np.ptp(points, axis=0).max() == pytest.approx(explorer.MAP_SIZE, abs=0.02)
    assert np.abs(points).max() == pytest.approx(explorer.MAP_SIZE / 2, abs=0.02)


def test_vectors_that_make_no_page_are_refused(embeddings: Embeddings, tokenizer: BPETokenizerLoader) -> None:
    with pytest.raises(ValueError, match="without their tokenizer"):
        explorer.explorer_page(Embeddings(["a", "b"], np.eye(2)), "x")
    for vectors in (np.ones((1, 5)), np.ones((5, 1))):
        tokens = [f"{letter}</w>" for letter in "abcde"[: len(vectors)]]
        with pytest.raises(ValueError, match="at least 2 vectors of at least 2 numbers"):
            explorer.explorer_page(Embeddings(tokens, vectors, tokenizer), "x")
    with pytest.raises(ValueError, match="projection is tsne or pca"):
        explorer.explorer_page(embeddings, "x", projection="umap")


# ---------------------------------------------------------------- what the page is made of


def test_clusters_are_those_of_equal_use_named_by_their_words(tokenizer: BPETokenizerLoader) -> None:
    random = np.random.default_rng(0)
    centres = random.normal(size=(3, 20))
    tokens = [
        f"kind{kind}word{place}</w>" if place % 2 else f"kind{kind}part{place}" for kind in range(3) for place in range(40)
    ]
    vectors = np.repeat(centres, 40, axis=0) + 0.2 * random.normal(size=(120, 20))
    embeddings = Embeddings(tokens, vectors, tokenizer)
    clusters = cluster_rows(embeddings, np.arange(120), 3)
    assert [len(set(clusters.labels[first : first + 40])) for first in (0, 40, 80)] == [1, 1, 1]
    for label, name in enumerate(clusters.names):
        kind = tokens[int(np.flatnonzero(clusters.labels == label)[0])][:5]
        assert all(word.startswith(f"{kind}word") for word in name.split(", "))
    assert cluster_rows(embeddings, np.arange(30)).names == ["all tokens"]


def test_the_film_begins_before_training_and_ends_with_it(tokenizer: BPETokenizerLoader, pydocs: str) -> None:
    ids = tokenizer.encode_array(pydocs[:60_000])
    config = TrainingConfig(embedding_dim=12, epochs=1, workers=1, engine="hogwild")
    words = ["of</w>", "the</w>", "in</w>", "and</w>"]
    film = training_film(ids, tokenizer, config, words, epochs=(0, 1, 3))
    result = train_skipgram(ids, tokenizer.vocab_size, replace(config, epochs=3))
    assert film.losses == [None, result.epoch_losses[0], result.epoch_losses[2]]
    assert film.frames.shape == (3, 4, 2)
    np.testing.assert_allclose(film.frames.mean(axis=1), 0, atol=1e-9)
    unit = Embeddings.from_training(result, tokenizer).unit_vectors
    rows = [Embeddings.from_training(result, tokenizer).token_to_index[word] for word in words]
    variance = ((unit[rows] - unit[rows].mean(axis=0)).astype(np.float64) ** 2).sum()
    assert (film.frames[-1] ** 2).sum() / variance == pytest.approx(film.share, rel=1e-4)


def test_a_training_that_can_not_be_filmed_says_why(tmp_path: Path, embeddings: Embeddings) -> None:
    with pytest.raises(educations.NoFilmError, match="is not here"):
        educations.film_of(tmp_path, embeddings, None)
    embeddings.save(tmp_path / "bare.safetensors")
    with pytest.raises(educations.NoFilmError, match="not the settings"):
        educations.film_of(tmp_path / "bare.safetensors", embeddings, educations.load_corpus("pydocs"))


# ---------------------------------------------------------------- the script


def test_the_script_writes_the_page_and_refuses_nonsense_in_one_line(tmp_path: Path, embeddings: Embeddings) -> None:
    done = run(tmp_path, "--dataset", "pydocs", "--num-merges", "300", "--epochs", "1", "--embedding-dim", "8")
    assert done.returncode == 0, done.stderr
    done = run(tmp_path, "--dataset", "pydocs", "--output-dir", tmp_path / "plots", "--max-tokens", "100", script=EXPLORE)
    assert (done.returncode, done.stderr) == (0, "")
    page = tmp_path / "plots" / "explorer.html"
    size = page.stat().st_size / 1e6
    assert size < 1.5
    assert done.stdout.splitlines()[-1] == f"saved      plots/explorer.html, {size:.1f} MB: open it in a browser"
    assert "100 tokens by tsne" in done.stdout
    assert "words in 20 epochs" in done.stdout
    assert "without Wikipedia (WikiText-2): " in done.stdout
    assert "Wikipedia (WikiText-2) is left out" in page.read_text(encoding="utf-8")
    assert "Tokens and vectors of pydocs" in page.read_text(encoding="utf-8")

    Embeddings(embeddings.tokens, embeddings.vectors).save(tmp_path / "bare.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"\x00" * 20)
    for arguments, message in (
        (("--dataset", "wikitext2"), "train_embeddings.py --dataset wikitext2"),
        (("--checkpoint", "none.safetensors"), "no trained vectors in none.safetensors"),
        (("--checkpoint", "bare.safetensors"), "without their tokenizer"),
        (("--checkpoint", "torn.safetensors"), "not a safetensors file"),
        (("--dataset", "pydocs", "--max-tokens", "1"), "max_tokens must be at least 2"),
        (("--max-tokens", "0"), "must be at least 1"),
        (("--projection", "umap"), "invalid choice"),
    ):
        done = run(tmp_path, *arguments, script=EXPLORE)
        assert done.returncode == 2
        assert len([line for line in done.stderr.splitlines() if "error: " in line]) == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_the_script_takes_equal_vectors_and_names_that_are_no_utf8(tmp_path: Path, tokenizer: BPETokenizerLoader) -> None:
    name = os.fsdecode(b"caf\xe9.safetensors")
    Embeddings(tokenizer.id_to_token[:30], np.ones((30, 4)), tokenizer).save(tmp_path / "equal.safetensors")
    (tmp_path / "equal.safetensors").rename(tmp_path / name)
    done = run(tmp_path, "--checkpoint", name, "--output-dir", ".", script=EXPLORE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Tokens and vectors of caf\\udce9</h1>" in (tmp_path / "explorer.html").read_text(encoding="utf-8")


def test_vectors_of_byte_level_tokens_are_refused() -> None:
    tokenizer = BPETokenizerLoader(train_bpe("low low lower", 3, splitting="gpt2"))
    embeddings = Embeddings(["Ġlow", "low"], [[1.0, 0.0], [0.5, 0.5]], tokenizer)
    with pytest.raises(ValueError, match='by the rule "words" alone'):
        explorer.explorer_page(embeddings, "a text")
