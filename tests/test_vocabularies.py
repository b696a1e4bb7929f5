"""Vocabularies of others: the ids are those of the libraries that they come from, and what can't be honoured is refused."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RAW, raw_file
from hypothesis import given, settings
from nasty import ASSIGNED, CHARACTERS, FRAGMENTS, NASTY_TEXT, THOROUGHNESS, in_contexts, keeping, python_sources
from oracles import read_ranks, tiktoken_encoding
from tokenizers import Tokenizer

from tokembed import BPETokenizerLoader, files, train_bpe
from tokembed.bpe.model import ModelFileError
from tokembed.bpe.splitting import BYTE_CHARACTERS, SPLITTINGS
from tokembed.corpora import download as downloads, vocabularies
from tokembed.corpora.corpus import CorpusNotFoundError

PUBLISHED = ["r50k_base", "cl100k_base", "o200k_base"]
LANGUAGES = ["ru", "zh", "ja", "de"]

Pair = tuple[BPETokenizerLoader, Any]


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request: pytest.FixtureRequest) -> Pair:
    """One of the published vocabularies, here and in tiktoken."""
    theirs = tiktoken_encoding(request.param)
    return BPETokenizerLoader.from_tiktoken(raw_file(f"vocabularies/{request.param}.tiktoken")), theirs


def assert_same_ids(pair: Pair, text: str, *, with_plain: bool = True) -> None:
    ours, theirs = pair
    expected = np.array(theirs.encode_ordinary(text), dtype=np.int32)
    np.testing.assert_array_equal(ours.encode_array(text), expected)
    if with_plain:
        np.testing.assert_array_equal(ours.encode(text), expected)


def slices(text: str, number: int, length: int = 8_000) -> Iterator[str]:
    for start in np.linspace(0, max(len(text) - length, 0), number, dtype=int).tolist():
        yield text[start : start + length]


# ------------------------------------------------------------ published vocabularies


def test_pattern_special_tokens_and_vocabulary_are_the_publishers(published: Pair) -> None:
    ours, theirs = published
    assert ours.pattern == theirs._pat_str
    assert ours.model.special_tokens == theirs._special_tokens
    assert ours.vocab_size == theirs.n_vocab
    by_id = {index: token for token, index in theirs._mergeable_ranks.items()}
    assert all(ours.decode_bytes([index]) == token for index, token in by_id.items())


@pytest.mark.parametrize("corpus", ["wikitext2/train.txt", *(f"languages/{name}.txt" for name in LANGUAGES), "sources"])
def test_real_text_gets_tiktokens_ids(published: Pair, corpus: str, pydocs: str) -> None:
    text = pydocs if corpus == "sources" else raw_file(corpus).read_text(encoding="utf-8")
    for part in slices(text, 2):
        assert_same_ids(published, part)


@pytest.mark.endurance
@pytest.mark.parametrize("corpus", ["wikitext2/train.txt", *(f"languages/{name}.txt" for name in LANGUAGES), "sources"])
def test_whole_corpora_get_tiktokens_ids(published: Pair, corpus: str) -> None:
    text = python_sources() if corpus == "sources" else raw_file(corpus).read_text(encoding="utf-8")
    assert_same_ids(published, text, with_plain=False)
    assert published[0].decode(published[0].encode_array(text)) == text


def test_characters_of_all_kinds_get_tiktokens_ids(published: Pair) -> None:
    for text in in_contexts([*ASSIGNED[::97], *"".join(FRAGMENTS)]):
        assert_same_ids(published, text)


@pytest.mark.endurance
def test_every_code_point_gets_tiktokens_ids(published: Pair) -> None:
    """The assigned ones by both encoders; the others, a million more, by the compiled one."""
    for text in in_contexts(ASSIGNED):
        assert_same_ids(published, text)
    for text in in_contexts(CHARACTERS):
        assert_same_ids(published, text, with_plain=False)


@given(text=NASTY_TEXT)
@settings(max_examples=100)
def test_nasty_text_gets_tiktokens_ids_and_comes_back(published: Pair, text: str) -> None:
    assert_same_ids(published, text)
    assert published[0].decode(published[0].encode(text)) == text


@pytest.mark.endurance
@given(text=NASTY_TEXT)
@settings(max_examples=3_340 * THOROUGHNESS)
def test_ten_thousand_nasty_texts_get_tiktokens_ids_and_come_back(published: Pair, text: str) -> None:
    assert_same_ids(published, text)
    assert published[0].decode(published[0].encode(text)) == text


def test_special_tokens_are_ids_where_allowed_as_in_tiktoken(published: Pair) -> None:
    ours, theirs = published
    names = sorted(theirs.special_tokens_set)
    for text in (
        "",
        names[0],
        f"a {names[0]}b{names[-1]}{names[0]}  \n",
        "<|endoftext",
        f" {names[-1]} <|nothing|>",
        "x" * 70 + names[0],
    ):
        for allowed in (set(), {names[0]}, set(names), "all"):
            expected = theirs.encode(text, allowed_special=allowed, disallowed_special=())
            assert ours.encode(text, allowed_special=allowed) == expected
            assert ours.encode_array(text, allowed_special=allowed).tolist() == expected
            assert ours.decode(expected) == theirs.decode(expected) == text
    assert ours.encode(names[0]) == theirs.encode_ordinary(names[0])
    with pytest.raises(ValueError, match="allowed_special names '<|nothing|>'".replace("|", r"\|")):
        ours.encode("text", allowed_special={names[0], "<|nothing|>"})


def test_bytes_that_are_no_utf8_decode_as_in_tiktoken(published: Pair) -> None:
    ours, theirs = published
    random = np.random.default_rng(0)
    for _ in range(300):
        ids = random.integers(0, 50_000, size=random.integers(0, 12)).tolist()
        assert ours.decode(ids) == theirs.decode(ids, errors="replace")
        assert ours.decode_bytes(ids) == ours.decode_bytes(np.array(ids, dtype=np.int64)) == theirs.decode_bytes(ids)
    for octets in (b"\xff", b"\xf0\x9f\xa4", b"a\xc3", b"\xe6\x9c\xe6\x9c\xaa", b"\xed\xa0\x80"):
        ids = [ours.token_to_id[BYTE_CHARACTERS[byte]] for byte in octets]
        assert ours.decode(ids) == octets.decode("utf-8", errors="replace") == theirs.decode(ids, errors="replace")
        assert ours.decode_bytes(ids) == octets


def test_ids_of_no_token_are_refused(published: Pair) -> None:
    ours, theirs = published
    known = {*theirs._mergeable_ranks.values(), *theirs._special_tokens.values()}
    gaps = sorted({*range(theirs.n_vocab)} - known)
    assert gaps[:1] == {"r50k_base": [], "cl100k_base": [100256], "o200k_base": [199998]}[theirs.name]
    for decode in (ours.decode, ours.decode_bytes):
        for number in gaps[:20]:
            with pytest.raises(ValueError, match=f"id {number} at place 1 stands for no token"):
                decode([0, number])
        for number in (-1, theirs.n_vocab, 10**12):
            with pytest.raises(ValueError, match=f"id {number} at place 2 is outside the vocabulary"):
                decode([0, 1, number])


@pytest.mark.parametrize("name", [PUBLISHED[0], *(pytest.param(name, marks=pytest.mark.endurance) for name in PUBLISHED[1:])])
def test_a_published_vocabulary_round_trips_through_both_formats(name: str, tmp_path: Path) -> None:
    theirs, ours = tiktoken_encoding(name), BPETokenizerLoader.from_tiktoken(raw_file(f"vocabularies/{name}.tiktoken"))
    ours.export_tiktoken(tmp_path / "ranks.tiktoken")
    assert read_ranks((tmp_path / "ranks.tiktoken").read_bytes()) == theirs._mergeable_ranks
    assert (tmp_path / "ranks.tiktoken").read_bytes() == (RAW / f"vocabularies/{theirs.name}.tiktoken").read_bytes()
    ours.export_huggingface(tmp_path / "tokenizer.json")
    again = BPETokenizerLoader.from_huggingface(tmp_path / "tokenizer.json")
    hugging_face = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ours.save(tmp_path / "model.json")
    loaded = BPETokenizerLoader(tmp_path / "model.json")
    assert again.fingerprint == loaded.fingerprint == ours.fingerprint
    text = "It's 12345 o'CLOCK, naïve 未来 🤷\r\n\r\n  x  " + min(theirs.special_tokens_set)
    expected = theirs.encode(text, allowed_special="all")
    assert again.encode(text, allowed_special="all") == loaded.encode(text, allowed_special="all") == expected
    assert hugging_face.encode(text).ids == expected


# ------------------------------------------------------------ rank files


def rank_file(ranks: dict[bytes, int]) -> bytes:
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())


BYTES = {bytes([byte]): byte for byte in range(256)}


def written(folder: Path, data: bytes) -> Path:
    path = folder / "some.tiktoken"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param([b"ab", b"abcd"], id="one that needs three"),
        pytest.param([b"abc", b"bc", b"cd", b"abcd"], id="longer before shorter"),
        pytest.param([b" hello", b"he", b"llo", b"hello", b"lo"], id="a whole word first"),
        pytest.param(["未".encode(), "来".encode(), "未来".encode(), b"\x9c\xaa"], id="bytes of characters"),
        pytest.param([b"aa", b"aaaaa", b"aaa", b"aaaa"], id="runs"),
    ],
)
@pytest.mark.parametrize("first_rank", [256, 1000])
def test_tokens_that_merges_do_not_reach_get_tiktokens_ids(tmp_path: Path, tokens: list[bytes], first_rank: int) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    ranks = BYTES | {token: first_rank + i for i, token in enumerate(tokens)}
    ours = BPETokenizerLoader.from_tiktoken(written(tmp_path, rank_file(ranks)), splitting="cl100k")
    theirs = tiktoken.Encoding("improper", pat_str=SPLITTINGS["cl100k"].pattern, mergeable_ranks=ranks, special_tokens={})
    random = np.random.default_rng(1)
    alphabet = [*"abcde hlo", "未来", "未", " hello", "aaaaa"]
    for _ in range(300):
        text = "".join(random.choice(alphabet, size=random.integers(1, 14)))
        expected = theirs.encode_ordinary(text)
        assert ours.encode(text) == ours.encode_array(text).tolist() == expected
        assert ours.decode(expected) == text
    ours.export_tiktoken(tmp_path / "again.tiktoken")
    assert read_ranks((tmp_path / "again.tiktoken").read_bytes()) == ranks
    ours.save(tmp_path / "model.json")
    assert BPETokenizerLoader(tmp_path / "model.json").fingerprint == ours.fingerprint


def test_any_list_of_byte_strings_gets_tiktokens_ids(tmp_path: Path) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    random = np.random.default_rng(2)
    for _ in range(25):
        words = {"".join(random.choice(list("abc "), size=random.integers(2, 7))).encode() for _ in range(25)}
        shuffled = [*words]
        random.shuffle(shuffled)
        ranks = BYTES | {token: 256 + i for i, token in enumerate(shuffled)}
        ours = BPETokenizerLoader.from_tiktoken(written(tmp_path, rank_file(ranks)), splitting="gpt2")
        theirs = tiktoken.Encoding("random", pat_str=ours.pattern, mergeable_ranks=ranks, special_tokens={})
        for _ in range(40):
            text = "".join(random.choice(list("aabc "), size=random.integers(1, 50)))
            assert ours.encode(text) == ours.encode_array(text).tolist() == theirs.encode_ordinary(text)


def test_a_rank_file_that_is_not_published_needs_a_splitting_rule(tmp_path: Path) -> None:
    path = written(tmp_path, rank_file(BYTES | {b"ab": 256}))
    with pytest.raises(ValueError, match=r"none of the published files .* splitting=\.\.\."):
        BPETokenizerLoader.from_tiktoken(path)
    with pytest.raises(ValueError, match="'words' has no bytes"):
        BPETokenizerLoader.from_tiktoken(path, splitting="words")
    with pytest.raises(ValueError, match="neither one of"):
        BPETokenizerLoader.from_tiktoken(path, splitting="cl200k")
    ours = BPETokenizerLoader.from_tiktoken(path, splitting=r"\S+|\s+", special_tokens={"<end>": 300})
    assert ours.encode("ab cab<end>", allowed_special="all") == [256, 32, 99, 256, 300]
    assert ours.vocab_size == 301
    with pytest.raises(ModelFileError, match="id 256 is a token's and a special token's"):
        BPETokenizerLoader.from_tiktoken(path, splitting="gpt2", special_tokens={"<end>": 256})


GOOD = rank_file(BYTES | {b"ab": 256})
DAMAGED_RANKS = {
    "empty": (b"", "byte 0x00 has no rank"),
    "not base64": (GOOD + b"!!!! 257\n", "line 258"),
    "base64 without its padding": (GOOD + b"YWI 257\n", "line 258"),
    "no rank": (GOOD + b"YWJj\n", "line 258"),
    "three columns": (GOOD + b"YWJj 257 1\n", "line 258"),
    "a rank that is no number": (GOOD + b"YWJj x\n", "line 258"),
    "a rank of ten thousand digits": (GOOD + b"YWJj " + b"9" * 10_000, "line 258"),
    "a fraction": (GOOD + b"YWJj 257.0\n", "line 258"),
    "two tokens of one rank": (GOOD + b"YWJj 256\n", "one rank"),
    "a token twice": (GOOD + b"YWI= 257\n", "there before"),
    "a negative rank": (GOOD + b"YWJj -1\n", "not between 0 and"),
    "a rank beyond all": (GOOD + b"YWJj 9999999999\n", "not between 0 and"),
    "a missing byte": (GOOD.replace(base64.b64encode(b"A") + b" 65\n", b""), r"byte 0x41 has no rank \(255 of 256 have\)"),
    "an empty token": (GOOD + b" 257\n", "line 258"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "line 1"),
}


@pytest.mark.parametrize("flaw", DAMAGED_RANKS)
def test_a_damaged_rank_file_is_refused(tmp_path: Path, flaw: str) -> None:
    data, reason = DAMAGED_RANKS[flaw]
    with pytest.raises(ModelFileError, match=rf"some\.tiktoken is not a usable rank file: .*{reason}"):
        BPETokenizerLoader.from_tiktoken(written(tmp_path, data), splitting="gpt2")


def test_empty_lines_and_other_line_ends_do_no_harm(tmp_path: Path) -> None:
    plain = BPETokenizerLoader.from_tiktoken(written(tmp_path, GOOD), splitting="gpt2")
    odd = BPETokenizerLoader.from_tiktoken(written(tmp_path, b"\n" + GOOD.replace(b"\n", b"\r\n") + b"\n\n"), splitting="gpt2")
    assert odd.fingerprint == plain.fingerprint


# ------------------------------------------------------------ published names


class Handler(BaseHTTPRequestHandler):
    """Answers with `body`, or not found."""

    body = b""

    def do_GET(self) -> None:
        self.send_response(200 if self.body else 404)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setattr(vocabularies, "URL", f"http://127.0.0.1:{httpd.server_port}/{{name}}.tiktoken")
        yield
        httpd.shutdown()
        thread.join()


def test_a_published_name_is_found_where_corpora_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = raw_file("vocabularies/r50k_base.tiktoken").read_bytes()
    monkeypatch.setattr(vocabularies, "URL", "http://127.0.0.1:9/{name}")
    for folder in (tmp_path / "raw" / "vocabularies", tmp_path / "flat"):
        folder.mkdir(parents=True)
        (folder / "r50k_base.tiktoken").write_bytes(data)
    for folder in ("raw", "flat"):
        monkeypatch.setenv("TOKEMBED_RAW_DIR", str(tmp_path / folder))
        assert BPETokenizerLoader.from_tiktoken("r50k_base").encode("hello world") == [31373, 995]


def test_a_name_that_is_neither_a_file_nor_published_is_told_with_those_that_are() -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file: gpt-4.*choose r50k_base, cl100k_base, o200k_base"):
        BPETokenizerLoader.from_tiktoken("gpt-4")


def test_another_file_of_a_published_name_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKEMBED_RAW_DIR", str(tmp_path))
    (tmp_path / "r50k_base.tiktoken").write_bytes(GOOD)
    with pytest.raises(ValueError, match=r"r50k_base\.tiktoken is not the published file: its SHA-256 begins with"):
        BPETokenizerLoader.from_tiktoken("r50k_base")


@pytest.mark.usefixtures("server")
def test_a_published_vocabulary_is_downloaded_checked_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    data = raw_file("vocabularies/r50k_base.tiktoken").read_bytes()
    monkeypatch.setattr(Handler, "body", data)
    assert BPETokenizerLoader.from_tiktoken("r50k_base").encode("hello world") == [31373, 995]
    assert (files.raw_dir() / "r50k_base.tiktoken").read_bytes() == data
    monkeypatch.setattr(vocabularies, "URL", "http://127.0.0.1:9/{name}")
    assert vocabularies.find_vocabulary("r50k_base") == files.raw_dir() / "r50k_base.tiktoken"


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("body", [b"<html>moved</html>", GOOD, b""])
def test_another_download_is_not_kept(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    monkeypatch.setattr(Handler, "body", body)
    with pytest.raises(CorpusNotFoundError, match=r"SHA-256 begins with|Not Found"):
        BPETokenizerLoader.from_tiktoken("o200k_base")
    assert not files.raw_dir().exists() or not list(files.raw_dir().iterdir())


def test_without_a_network_the_error_says_where_to_put_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabularies, "URL", "http://127.0.0.1:9/{name}")
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)
    with pytest.raises(CorpusNotFoundError, match=r"could not download .* put the file at .*cl100k_base\.tiktoken"):
        BPETokenizerLoader.from_tiktoken("cl100k_base")


# ------------------------------------------------------------ Hugging Face's files

TRAINING_TEXT = "the quick brown fox's 12345 über naïve 未来世界 e\u0301tude İstanbul WE'LL  \n\n it's\t" * 3
OF_A_LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {"llama3": OF_A_LLAMA, "qwen2": OF_A_LLAMA.replace("{1,3}", "")}


def llama(splitting: str = "llama3", **model: Any) -> dict[str, Any]:
    """Return a file like a Llama's or a Qwen's, by hand, with a token that no merges reach."""
    trained = train_bpe(TRAINING_TEXT, 120, splitting=splitting)
    vocab = {token: index for index, token in enumerate([*trained.vocab, "Ġunreached"])}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = {"<tool>": len(vocab), "<|begin|>": len(vocab) + 1, "<|begin|>>": len(vocab) + 2}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": index, "content": token, "special": index % 2 == 0, **flags} for token, index in added.items()],
        "normalizer": {"type": "NFC"} if splitting == "qwen2" else None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": PATTERNS[splitting]}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": splitting == "llama3",
            "vocab": vocab,
            "merges": [list(pair) for pair in trained.merges],
            **model,
        },
    }  # fmt: skip


def json_file(folder: Path, data: Any) -> Path:
    path = folder / "tokenizer.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def gpt2_of_old() -> dict[str, Any]:
    """Return a file like GPT-2's: merges as texts, a ByteLevel alone, its added tokens in the vocabulary, with a gap."""
    data = llama()
    vocab = data["model"]["vocab"]
    data["model"] |= {"ignore_merges": False, "merges": [" ".join(pair) for pair in data["model"]["merges"]]}
    data["added_tokens"][1]["id"] += 9
    data["model"]["vocab"] = {**vocab, **{token["content"]: token["id"] for token in data["added_tokens"]}}
    del data["model"]["type"]
    data["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return data


@pytest.fixture(scope="module", params=["llama3", "qwen2", "gpt2"])
def hand_made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    data = gpt2_of_old() if request.param == "gpt2" else llama(request.param)
    path = json_file(tmp_path_factory.mktemp(request.param), data)
    ours = BPETokenizerLoader.from_huggingface(path)
    assert ours.model.splitting == request.param
    return ours, Tokenizer.from_file(str(path))


@pytest.fixture(scope="module")
def classed_alike(hand_made: Pair) -> Callable[[str], str]:
    """Drop from a text the characters that the regular expressions of `tokenizers`, of an older Unicode, class otherwise."""
    ours, theirs = hand_made

    def is_alike(character: str) -> bool:
        return all(
            theirs.encode(text, add_special_tokens=False).ids == ours.encode(text)
            for text in (f"a{character}1", f"1{character}.")
        )

    return keeping(is_alike)


def assert_as_hugging_face(pair: Pair, text: str) -> None:
    ours, theirs = pair
    expected = theirs.encode(text, add_special_tokens=False).ids
    assert ours.encode(text, allowed_special="all") == expected
    assert ours.encode_array(text, allowed_special="all").tolist() == expected
    assert ours.decode(expected) == theirs.decode(expected, skip_special_tokens=False)


@given(text=NASTY_TEXT)
@settings(max_examples=100)
def test_nasty_text_gets_hugging_faces_ids(hand_made: Pair, classed_alike: Callable[[str], str], text: str) -> None:
    assert_as_hugging_face(hand_made, classed_alike(text))


@pytest.mark.endurance
@given(text=NASTY_TEXT)
@settings(max_examples=2_000 * THOROUGHNESS)
def test_six_thousand_nasty_texts_get_hugging_faces_ids(
    hand_made: Pair, classed_alike: Callable[[str], str], text: str
) -> None:
    assert_as_hugging_face(hand_made, classed_alike(text))


def test_added_tokens_and_unreached_ones_get_hugging_faces_ids(hand_made: Pair) -> None:
    ours, theirs = hand_made
    for text in (
        "<|begin|>the quick<tool> fox", "<|begin|>>", " <|begin|>>>", "<|begin", " unreached", "unreached",
        "an unreached one  unreached",
        "e\u0301tude \u0915\u093c 12345  \r\n\r\n it'S", "İ\u0307<tool>\u0301",
    ):  # fmt: skip
        assert_as_hugging_face((ours, theirs), text)
    assert ours.model.tokens[theirs.token_to_id("<tool>")] == "<tool>"
    assert (ours.token_to_id["Ġunreached"] in ours.encode(" unreached")) == ours.model.ignore_merges


def test_text_is_brought_to_nfc_where_the_file_says_so(tmp_path: Path) -> None:
    ours = BPETokenizerLoader.from_huggingface(json_file(tmp_path, llama("qwen2")))
    decomposed = "e\u0301tude"
    assert ours.encode(decomposed) == ours.encode_array(decomposed).tolist() == ours.encode("étude")
    assert ours.encode_batch([decomposed, "x"])[0] == ours.encode("étude")
    assert ours.decode(ours.encode(decomposed)) == "étude"
    assert ours.encode_with_offsets("étude")[1][0] == (0, 1)
    with pytest.raises(ValueError, match="not in the form NFC"):
        ours.encode_with_offsets(decomposed)
    ours.save(tmp_path / "model.json")
    assert BPETokenizerLoader(tmp_path / "model.json").encode(decomposed) == ours.encode("étude")
    assert BPETokenizerLoader(tmp_path / "model.json").fingerprint == ours.fingerprint


def test_a_file_read_and_written_again_is_the_same_tokenizer(hand_made: Pair, tmp_path: Path) -> None:
    ours, _ = hand_made
    ours.export_huggingface(tmp_path / "tokenizer.json")
    again = BPETokenizerLoader.from_huggingface(tmp_path / "tokenizer.json")
    assert again.fingerprint == ours.fingerprint
    assert_as_hugging_face((ours, Tokenizer.from_file(str(tmp_path / "tokenizer.json"))), TRAINING_TEXT + "<tool>")


@pytest.mark.parametrize("ignore_merges", [False, True])
def test_merges_that_make_one_token_are_taken_in_their_order(tmp_path: Path, ignore_merges: bool) -> None:
    """As in a Llama's file, which has all pairs of tokens that make a third: here in any order."""
    random = np.random.default_rng(3)
    for _ in range(20):
        tokens = {"".join(random.choice(list("abĠ"), size=random.integers(2, 6))) for _ in range(25)}
        known = {*BYTE_CHARACTERS, *tokens}
        pairs = [[token[:cut], token[cut:]] for token in tokens for cut in range(1, len(token))]
        merges = [pair for pair in pairs if known.issuperset(pair)]
        random.shuffle(merges)
        vocab = {token: index for index, token in enumerate([*BYTE_CHARACTERS, *sorted(tokens)])}
        path = json_file(tmp_path, llama(vocab=vocab, merges=merges, ignore_merges=ignore_merges) | {"added_tokens": []})
        ours, theirs = BPETokenizerLoader.from_huggingface(path), Tokenizer.from_file(str(path))
        for _ in range(40):
            text = "".join(random.choice(list("aabb "), size=random.integers(1, 70)))
            assert ours.encode(text) == ours.encode_array(text).tolist() == theirs.encode(text).ids


def test_a_vocabulary_whose_ids_are_no_ranks_is_not_written_as_ranks(tmp_path: Path) -> None:
    """In tiktoken any two tokens would merge to the one that merges do not reach."""
    data = llama()
    ours = BPETokenizerLoader.from_huggingface(json_file(tmp_path, data))
    with pytest.raises(ValueError, match="not the order of its merges"):
        ours.export_tiktoken(tmp_path / "ranks.tiktoken")
    data["model"]["merges"].reverse()
    with pytest.raises(ValueError, match="not the order of its merges"):
        BPETokenizerLoader.from_huggingface(json_file(tmp_path, data)).export_tiktoken(tmp_path / "ranks.tiktoken")


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return a good file with one value replaced, at "a.b.0.c"."""
    data: Any = llama()
    *above, last = path.split(".")
    place = data
    for key in above:
        place = place[int(key) if key.isdigit() else key]
    place[int(last) if last.isdigit() else last] = value
    return data  # type: ignore[no-any-return]


SPLIT, LEVEL = "pre_tokenizer.pretokenizers.0", "pre_tokenizer.pretokenizers.1"
REFUSED = [
    ("model.type", "WordPiece", "WordPiece"),
    ("model.type", "Unigram", "Unigram"),
    ("model.dropout", 0.1, "dropout"),
    ("model.unk_token", "<unk>", "unk_token"),
    ("model.continuing_subword_prefix", "##", "continuing_subword_prefix"),
    ("model.end_of_word_suffix", "</w>", "end_of_word_suffix"),
    ("model.byte_fallback", True, "byte_fallback"),
    ("pre_tokenizer", {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}, "Metaspace"),
    ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": True}, "add_prefix_space"),
    ("pre_tokenizer", {"type": "ByteLevel"}, "add_prefix_space"),
    ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}, "pre-tokenizer"),
    ("pre_tokenizer", None, "pre-tokenizer"),
    ("pre_tokenizer.pretokenizers", [], "pre-tokenizer"),
    (LEVEL + ".add_prefix_space", True, "add_prefix_space"),
    (LEVEL + ".use_regex", True, "pre-tokenizer"),
    (LEVEL + ".type", "Whitespace", "Whitespace"),
    (SPLIT, {"type": "Digits", "individual_digits": True}, "Digits"),
    (SPLIT + ".behavior", "Removed", "Split"),
    (SPLIT + ".invert", True, "Split"),
    (SPLIT + ".pattern", {"String": " "}, "Split"),
    (SPLIT + ".pattern.Regex", "(", "neither one of"),
    ("normalizer", {"type": "NFKC"}, "NFKC"),
    ("normalizer", {"type": "Lowercase"}, "Lowercase"),
    ("normalizer", {"type": "Sequence", "normalizers": [{"type": "NFC"}]}, "Sequence"),
    ("decoder", {"type": "WordPiece"}, "WordPiece"),
    ("decoder", None, "decoder"),
    ("added_tokens.0.lstrip", True, "lstrip"),
    ("added_tokens.0.rstrip", True, "rstrip"),
    ("added_tokens.0.single_word", True, "single_word"),
]


@pytest.mark.parametrize(("path", "value", "named"), REFUSED, ids=[f"{path}={value!r:.30}" for path, value, _ in REFUSED])
def test_what_cannot_be_honoured_is_refused_by_name(tmp_path: Path, path: str, value: Any, named: str) -> None:
    with pytest.raises(ModelFileError, match=f"tokenizer.json is not a tokenizer.json that can be honoured: .*{named}"):
        BPETokenizerLoader.from_huggingface(json_file(tmp_path, changed(path, value)))


PLACES = [
    "model", "model.vocab", "model.merges", "model.merges.0", "model.merges.0.0", "pre_tokenizer",
    "pre_tokenizer.pretokenizers", SPLIT, SPLIT + ".pattern", SPLIT + ".pattern.Regex", LEVEL, "decoder",
    "added_tokens", "added_tokens.0", "added_tokens.0.id", "added_tokens.0.content", "normalizer", "model.vocab.a",
    "model.vocab.Ġ", "model.type", "decoder.type",
]  # fmt: skip
WRONG = [None, True, -1, 7, 2**70, 0.5, "", "x", "\ud800", [], [[]], [1, 2], {}, {"a": 1}, {"type": []}, ["a", "b", "c"]]


@pytest.mark.parametrize("path", PLACES)
def test_wrong_types_anywhere_are_refused_or_harmless(tmp_path: Path, path: str) -> None:
    for value in WRONG:
        try:
            ours = BPETokenizerLoader.from_huggingface(json_file(tmp_path, changed(path, value)))
        except ModelFileError:
            continue
        text = "the quick fox's 12 未 é\n"
        ids = ours.encode(text)
        assert ours.encode_array(text).tolist() == ids, value
        assert ours.decode(ids) == text, value


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "7", '"x"', "[" * 100_000, '{"model": ' + "9" * 100_000 + "}", "\ufeff{}", "\x00"]
)
def test_what_is_no_tokenizer_json_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelFileError, match=r"is not a tokenizer\.json that can be honoured"):
        BPETokenizerLoader.from_huggingface(json_file(tmp_path, text))
    (tmp_path / "latin.json").write_bytes(b'{"model": "\xe9"}')
    with pytest.raises(ModelFileError):
        BPETokenizerLoader.from_huggingface(tmp_path / "latin.json")


def test_a_vocabulary_without_a_byte_is_refused(tmp_path: Path) -> None:
    data = llama()
    del data["model"]["vocab"]["~"]
    with pytest.raises(ModelFileError, match="lacks byte 0x7E"):
        BPETokenizerLoader.from_huggingface(json_file(tmp_path, data))
