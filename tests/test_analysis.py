from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import raw_file
from hypothesis import given, strategies as st

from tokembed import BPEModel, BPETokenizerLoader, load_corpus, train_bpe
from tokembed.analysis import domains, tokenization, vocabularies
from tokembed.bpe import reference
from tokembed.bpe.splitting import pieces
from tokembed.corpora.corpus import Corpus, CorpusError
from tokembed.corpora.vocabularies import PUBLISHED

WORDY = st.text(alphabet="the creature's éİ未9.\n", max_size=120)


@given(WORDY)
def test_merge_progression_is_what_encoding_at_every_step_gives(text: str) -> None:
    model = train_bpe(text, 25, min_frequency=1)
    means = tokenization.merge_progression(model)
    assert len(means) == len(model.merges) + 1
    num_words = len(pieces(text))
    for num_merges, mean in enumerate(means):
        tokens = reference.tokenize(text, model.merges[:num_merges], model.alphabet)
        assert mean == pytest.approx(len(tokens) / max(num_words, 1))


@given(WORDY)
def test_a_sentence_drawn_in_stages_is_cut_as_that_many_merges_cut_it(text: str) -> None:
    model = train_bpe(text, 25, min_frequency=1)
    progression = tokenization.describe_merge_progression(model, text).data
    for num_merges, tokens in progression.stages:
        fewer = reference.tokenize(" ".join(text.split()), model.merges[:num_merges], model.alphabet)
        assert tokens == fewer[: len(tokens)]
    assert [count for count, _ in progression.stages] == sorted({count for count, _ in progression.stages})


def test_the_novels_sentence_is_of_one_line_and_shrinks_with_each_stage(frankenstein: str, model: BPEModel) -> None:
    raw_file("pg84.txt")
    stages = tokenization.describe_merge_progression(model, frankenstein).data.stages
    assert [count for count, _ in stages] == [0, 10, 47, 200, 2000]
    sizes = [len(tokens) for _, tokens in stages]
    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[0] <= 2 * tokenization.SENTENCE_CHARACTERS


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("So it is. In the year he went to St. Joseph altar includes bones. The players of this season went away . " * 3,
         "The players of this season went away ."),
        ("См. ниже. Read the manual of this program here. " + "Это было давно. Он медленно шёл вдоль берега большой реки. " * 9,
         "Он медленно шёл вдоль берега большой реки."),
        ("See the manual of this program here. " + "未来世界属于那些相信自己梦想之美的人们, " * 9,
         "未来世界属于那些相信自己梦想之美的人们"),
        ("a line without an end", "a line without an"),
    ],
)  # fmt: skip
def test_the_sentence_drawn_is_of_the_texts_own_script_and_begins_behind_no_abbreviation(text: str, sentence: str) -> None:
    assert tokenization.sample_sentence(BPETokenizerLoader(train_bpe(text, 200)), text) == sentence


def test_merge_progression_ends_where_the_whole_books_encoding_is(frankenstein: str, model: BPEModel) -> None:
    ids = BPETokenizerLoader(model).encode_array(frankenstein)
    assert tokenization.merge_progression(model)[-1] == pytest.approx(len(ids) / model.num_words)


def test_token_lengths_sum_to_the_vocabulary(model: BPEModel, tokenizer: BPETokenizerLoader) -> None:
    counts = tokenization.token_length_counts(model)
    assert sum(counts.values()) + 1 + 256 == tokenizer.vocab_size  # with </w> and the byte tokens
    assert tokenization.token_length_counts(train_bpe("low low low", 3)) == {"1": 4, "2": 1, "3": 1, "4+": 0}


def test_top_subwords_are_the_most_frequent_by_plain_counting(frankenstein: str, tokenizer: BPETokenizerLoader) -> None:
    from collections import Counter

    found = tokenization.top_subwords(tokenizer, tokenizer.encode_array(frankenstein), 30)
    counts = Counter(token for token in tokenizer.tokenize(frankenstein) if tokenization.token_length(token) > 1)
    assert [subword.count for subword in found] == [count for _, count in counts.most_common(30)]
    assert all(counts[subword.text + "</w>" * subword.is_final] == subword.count for subword in found)
    assert found[0].text == "the"


def test_steps_are_the_references_merges_with_the_words_they_change() -> None:
    steps = list(tokenization.merge_steps("low low lower", 9))
    assert [step.pair for step in steps] == reference.train_bpe("low low lower", 9)
    assert steps[0].count == 3
    assert steps[0].changes == [
        (("l", "o", "w", "</w>"), ("lo", "w", "</w>"), 2),
        (("l", "o", "w", "e", "r", "</w>"), ("lo", "w", "e", "r", "</w>"), 1),
    ]


def test_statistics_of_a_known_text() -> None:
    tokenizer = BPETokenizerLoader(train_bpe("low low low lower lowest", 3))
    statistics = tokenization.text_statistics(tokenizer, "Low é, lowest")
    # low</w> | <0xC3> <0xA9> </w> | <0x2C> </w> | low e s t </w>
    assert (statistics.num_characters, statistics.num_bytes, statistics.num_words, statistics.num_tokens) == (13, 14, 4, 11)
    assert statistics.characters_per_token == pytest.approx(13 / 11)
    assert statistics.mean_token_length == pytest.approx(11 / 11)  # white space belongs to no token
    assert statistics.bytes_per_token == pytest.approx(14 / 11)
    assert statistics.tokens_per_100_characters == pytest.approx(1100 / 13)
    empty = tokenization.text_statistics(tokenizer, "")
    assert (empty.num_tokens, empty.characters_per_token, empty.tokens_per_100_characters) == (0, 0.0, 0.0)


def test_statistics_of_a_byte_levels_tokens_count_its_pieces_and_all_characters() -> None:
    statistics = tokenization.text_statistics(BPETokenizerLoader(train_bpe("low low low", 5, splitting="gpt2")), "low  low é")
    # low | ␣ | ␣low | ␣ <0xC3> <0xA9>
    assert (statistics.num_words, statistics.num_tokens) == (4, 6)
    assert statistics.mean_token_length == statistics.characters_per_token == pytest.approx(10 / 6)


def test_the_final_chapter_is_never_trained_on(frankenstein: str) -> None:
    held_out = domains.hold_out(Corpus("frankenstein", None, lambda: iter([frankenstein])))
    assert held_out.training + held_out.test == frankenstein
    if "Chapter 24" in frankenstein:
        assert held_out.test.startswith("Chapter 24")
        assert "Chapter 24" not in held_out.training
        assert held_out.rule == "its final chapter"


def test_another_corpus_is_cut_at_a_paragraph_near_its_end() -> None:
    held_out = domains.hold_out(load_corpus("pydocs"))
    assert held_out.training + held_out.test == load_corpus("pydocs").text
    assert held_out.training.endswith("\n\n")
    assert 0.02 < len(held_out.test) / len(load_corpus("pydocs").text) <= 0.05


@pytest.mark.parametrize("text", ["x", "low low low\n", "   x"])
def test_a_corpus_too_short_to_hold_out_is_refused(text: str) -> None:
    with pytest.raises(CorpusError, match="too short"):
        domains.hold_out(Corpus("t", None, lambda: iter([text])))


@pytest.mark.parametrize("splitting", ["words", "o200k"])
def test_a_shorter_list_of_merges_is_the_beginning_of_a_longer_one(pydocs: str, splitting: str) -> None:
    held_out = domains.HeldOut(pydocs[:100_000], pydocs[100_000:110_000], "a part")
    tests = domains.sentences(held_out.test)
    for num_merges, mean in domains.vocabulary_sweep(held_out, (200, 50, 1000), splitting):
        own = BPETokenizerLoader(train_bpe(held_out.training, num_merges, splitting=splitting, min_frequency=1))
        assert mean == pytest.approx(np.mean([len(own.encode(sentence)) for sentence in tests]))


def test_a_vocabulary_larger_than_the_text_allows_is_counted_once() -> None:
    rows = domains.vocabulary_sweep(domains.HeldOut("low lower", "low. low", "x"), (2, 500, 1000))
    assert [merges for merges, _ in rows] == [2, rows[-1][0]]
    assert rows[-1][0] < 20


def test_sentences_end_at_marks_and_blank_lines() -> None:
    assert domains.sentences("One. Two! “Three?” he said.\nStill he. (Four.) Five\n\nSix") == [
        "One.", "Two!", "“Three?”", "he said.", "Still he.", "(Four.)", "Five", "Six",
    ]  # fmt: skip
    assert domains.sentences(" \n ") == []


def test_samples_of_each_kind_are_there_and_of_even_size(pydocs: str) -> None:
    samples = domains.domain_samples(domains.HeldOut("", pydocs[:50_000], "x"))
    assert list(samples) == ["prose", "Python code", "numbers", "URLs"]
    assert all(len(texts) >= 3 for texts in samples.values())
    assert all(200 < len(text) <= domains.SAMPLE_CHARACTERS for texts in samples.values() for text in texts)
    assert samples == domains.domain_samples(domains.HeldOut("", pydocs[:50_000], "x"))


def test_code_of_the_users_is_used_if_given(tmp_path: Path, pydocs: str) -> None:
    (tmp_path / "corpus_code.txt").write_text("spam = eggs\n" * 200)
    samples = domains.domain_samples(domains.HeldOut("", pydocs[:9000], "x"), tmp_path / "corpus_code.txt")
    assert set(" ".join(samples["Python code"]).split()) <= {"spam", "=", "eggs"}


@given(st.text(max_size=20))
def test_bytes_are_grouped_by_the_character_that_they_spell(text: str) -> None:
    tokenizer = BPETokenizerLoader(train_bpe("low low lower", 3, splitting="gpt2"))
    tokens = [tokenization.visible(tokenizer, token) for token in tokenizer.tokenize(text)]
    groups = tokenization.byte_groups(tokens)
    assert [token for _, members in groups for token in members] == tokens
    spelled = "".join(character or "".join(members) for character, members in groups)
    assert spelled == text.replace(" ", tokenization.SPACE)
    assert tokenization.byte_groups(["<0xE6>", "a"]) == [("\ufffd", ["<0xE6>"]), ("", ["a"])]


def test_each_kinds_snippet_is_as_costly_as_the_kind_and_of_one_line(tokenizer: BPETokenizerLoader, pydocs: str) -> None:
    for kind in domains.describe_domains(tokenizer, domains.HeldOut("", pydocs[:50_000], "x")).data:
        characters = sum(len(token.removesuffix("</w>")) for token in kind.snippet if not token.startswith("<0x"))
        assert characters <= domains.SNIPPET_CHARACTERS
        assert min(kind.samples) * 0.5 < 100 * len(kind.snippet) / domains.SNIPPET_CHARACTERS < max(kind.samples) * 1.5


def test_pathological_texts_come_back_whole(tokenizer: BPETokenizerLoader) -> None:
    for _, text, tokens in domains.describe_pathological_texts(tokenizer).data:
        assert tokenizer.decode([tokenizer.token_to_id[token] for token in tokens]) == " ".join(pieces(text))
        assert len(tokens) > len(text) / 4


def test_byte_level_tokens_of_pathological_texts_are_text_again() -> None:
    found = domains.describe_pathological_texts(BPETokenizerLoader(train_bpe("a URL and code", 5, splitting="cl100k")))
    assert "".join(found.data[1][2]) == found.data[1][1] == "https://example.com/path?query=value"
    assert found.data[2][2][0] == "<0xE6>"
    assert "␣ is a space" in found.note


def test_every_finding_has_lines_a_note_and_a_table_whose_rows_fit_its_heading(pydocs: str) -> None:
    tokenizer = BPETokenizerLoader(train_bpe(pydocs[:50_000], 100))
    held_out = domains.HeldOut(pydocs[:50_000], pydocs[50_000:60_000], "a part")
    for found in (
        tokenization.describe_merge_progression(tokenizer.model),
        tokenization.describe_token_lengths(tokenizer.model),
        tokenization.describe_top_subwords(tokenizer, tokenizer.encode_array(pydocs[:50_000])),
        domains.describe_domains(tokenizer, held_out),
        domains.describe_vocabularies(held_out, (50, 100)),
        domains.describe_pathological_texts(tokenizer),
    ):
        assert found.lines
        assert found.note.endswith(".")
        assert found.rows
        assert {len(row) for row in found.rows} == {len(found.heading)}


def test_a_text_without_longer_tokens_has_no_figure_of_them_but_an_empty_table() -> None:
    tokenizer = BPETokenizerLoader(train_bpe("a b c", 5))
    found = tokenization.describe_top_subwords(tokenizer, tokenizer.encode_array("a b c"))
    assert found.data is None
    assert list(found.rows) == []


# ---------------------------------------------------------------- published vocabularies


def test_a_vocabulary_is_known_by_its_name_or_by_a_copy_of_its_file(tmp_path: Path) -> None:
    assert [vocabularies.published_name(name) for name in PUBLISHED] == list(PUBLISHED) == list(vocabularies.MODELS)
    copy = shutil.copy(raw_file("vocabularies/r50k_base.tiktoken"), tmp_path / "mine")
    assert vocabularies.published_name(str(copy)) == "r50k_base"
    assert list(vocabularies.load_vocabularies([str(copy), str(copy)])) == ["r50k_base"]


@pytest.mark.parametrize("name", ["gpt5", "", "other.tiktoken", "."])
def test_what_is_no_published_vocabulary_is_refused_with_those_that_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.tiktoken").write_text("IQ== 0\n")
    with pytest.raises(ValueError, match="r50k_base, cl100k_base, o200k_base"):
        vocabularies.load_vocabularies(["r50k_base", name])


def test_passages_are_of_a_few_hundred_characters_and_of_one_line() -> None:
    passages = vocabularies.passages()
    assert list(passages) == ["English", "German", "Russian", "Japanese", "Chinese"]
    assert all(200 < len(text) < 800 for text in passages.values())
    assert not any("\n" in text or "  " in text or text != text.strip() for text in passages.values())


def test_costs_are_means_of_the_samples_tokens_per_100_characters() -> None:
    tokenizer = BPETokenizerLoader(train_bpe("low low low lower", 5, splitting="gpt2"))
    costs = vocabularies.token_costs({"few": ["low low", "lower"], "Chinese": ["世界"]}, {"own": tokenizer})
    assert costs["few"]["own"] == pytest.approx(
        np.mean([100 * len(tokenizer.encode(t)) / len(t) for t in ("low low", "lower")])
    )
    assert costs["Chinese"]["own"] == 300, "three bytes a character"


def test_own_vocabularies_are_of_both_kinds_and_begin_with_the_same_merges(pydocs: str) -> None:
    own = vocabularies.own_vocabularies(pydocs[:30_000], (50, 200))
    assert list(own) == ["words 50", "words 200", "bytes 50", "bytes 200"]
    for kind, splitting in (("words", "words"), ("bytes", "gpt2")):
        assert own[f"{kind} 50"].merges == train_bpe(pydocs[:30_000], 50, splitting=splitting).merges
        assert own[f"{kind} 200"].merges[:50] == own[f"{kind} 50"].merges
    assert len(vocabularies.own_vocabularies("low lower")) == 2, "one of a kind, where the text allows no more merges"


def test_later_vocabularies_know_more_chinese_and_take_fewer_tokens_for_it(
    pydocs: str, published: dict[str, BPETokenizerLoader]
) -> None:
    found = vocabularies.describe_vocabulary_costs(domains.HeldOut(pydocs[:50_000], pydocs[50_000:60_000], "a part"), published)
    costs = found.data["Chinese"]
    assert list(found.data) == ["prose", "Python code", "numbers", "URLs", "German", "Russian", "Japanese", "Chinese"]
    assert [costs["bytes 2,000"], "GPT-2" in costs, "GPT-4" in costs] == [300, True, True]
    assert 300 > costs["GPT-2"] > costs["GPT-4"] > costs["GPT-4o"]
    chinese = [vocabularies.num_tokens_with(vocabularies.HAN, tokenizer) for tokenizer in published.values()]
    assert chinese == sorted(chinese)
    said = " ".join(found.lines)
    assert "is 3.0 bytes" in said
    assert f"GPT-2 has {chinese[0]:,} tokens with a Chinese character among 50,257" in said
    assert f"takes {costs['GPT-4o']:.0f} tokens per 100 characters" in said
    assert {len(row) for row in found.rows} == {len(found.heading)}
    assert found.note.endswith(".")


def test_one_vocabulary_is_spoken_of_once() -> None:
    tokenizer = BPETokenizerLoader(train_bpe("世世 世世", 3, splitting="gpt2"))
    assert vocabularies.num_tokens_with(vocabularies.HAN, tokenizer) == 2
    assert vocabularies.cost_of_chinese({"own": tokenizer}).count("own has 2 tokens with a Chinese character among 259") == 1
