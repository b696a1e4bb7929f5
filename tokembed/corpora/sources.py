"""Corpora: find the text, else download it, clean it, and keep it.

| name | text | from |
| --- | --- | --- |
| `frankenstein` | *Frankenstein*, letters and chapters | Project Gutenberg, book 84 |
| `wikitext2` | WikiText-2, joins mended and `<unk>` removed | Hugging Face `datasets` |
| `pydocs` | the help texts that ship with every CPython | this Python, no network |
| a path | a UTF-8 `.txt` or `.txt.gz` of the user's | the file |
| a folder or a glob | `.txt`, `.txt.gz`, `.txt.zst`, `.jsonl` and `.parquet` shards | the files |
| `hf:NAME[/CONFIG][:FIELD]` | any dataset on the Hugging Face hub, streamed | `datasets` |
"""

from __future__ import annotations

import difflib
import os
import re
import warnings
from pathlib import Path

from tokembed import files
from tokembed.corpora import download, shards
from tokembed.corpora.corpus import (
    Corpus,
    CorpusError,
    CorpusNotFoundError,
    TokenizerFileError,
    UnreachableCorpusError,
    decode_text,
    state_of,
    stream_text,
)
from tokembed.corpora.shards import import_datasets as _import_datasets

NAMES = ("frankenstein", "wikitext2", "pydocs")
SPLITS = ("train", "validation", "test")
GUTENBERG_URL = "https://www.gutenberg.org/cache/epub/84/pg84.txt"
WIKITEXT_REPOSITORY = ("Salesforce/wikitext", "wikitext-2-raw-v1")
EAGER_CHARACTERS = 64 << 20  # texts up to this size are read, and so checked, by `load_corpus` itself


def load_corpus(
    name: str | os.PathLike[str],
    split: str = "train",
    raw_dir: str | os.PathLike[str] | None = None,
    text_field: str = shards.DEFAULT_FIELD,
) -> Corpus:
    """Find a corpus, else download it; return it cleaned.

    Parameters
    ----------
    name : str or path
        "frankenstein", "wikitext2", "pydocs", or the path of a UTF-8 text file (`.gz` is unpacked); a folder or a glob of
        shards, whose documents are independent; or "hf:NAME[/CONFIG][:FIELD]", streamed from the Hugging Face hub.
    split : str
        "train", "validation" or "test" of WikiText-2, or a split of a dataset on the hub; all others have "train" alone.
    raw_dir : path, optional
        Where to look first, instead of `TOKEMBED_RAW_DIR`. The project's `data/raw/01_tokenization/` comes second;
        downloads go there.
    text_field : str
        The field of a row that holds its text, in `.jsonl` and `.parquet` shards and on the hub.

    Raises
    ------
    CorpusError
        Unknown name or split, an empty, binary or non-UTF-8 file.
    CorpusNotFoundError
        No such file; an `UnreachableCorpusError` where there was no download either: the message says where to put it.
    """
    if str(name).startswith("hf:"):
        return shards.load_hub(str(name), split, text_field)
    if split not in SPLITS:
        raise CorpusError(f"unknown split {split!r}: choose from {', '.join(SPLITS)}")
    if name != "wikitext2" and split != "train":
        raise CorpusError(f"{name} has no split {split!r}: it is one text, its 'train'")
    if name == "frankenstein":
        return _load_frankenstein(files.raw_dirs(raw_dir))
    if name == "wikitext2":
        return _load_wikitext2(split, files.raw_dirs(raw_dir))
    if name == "pydocs":
        from pydoc_data import topics

        return _in_memory("pydocs", None, "\n\n".join(topics.topics[topic] for topic in sorted(topics.topics)))
    return _load_file(name, text_field)


def _in_memory(name: str, path: Path | None, text: str) -> Corpus:
    if not text.strip():
        where = f" ({files.display_path(path)})" if path and str(path) != name else ""
        raise CorpusError(f"{name}: the corpus is empty{where}")
    return Corpus(name, path, lambda: iter([text]))


# ---------------------------------------------------------------- Frankenstein


def clean_frankenstein(text: str) -> str:
    """Cut Project Gutenberg's header (all before the last "Letter 1" heading) and footer off the book.

    The table of contents names "Letter 1" too, hence the last. A text already cleaned comes back as it is; one that is not
    that book is a `CorpusError`.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    starts = list(re.finditer(r"^[ \t]*letter[ \t]+(?:1|i)\.?[ \t]*$", text, flags=re.I | re.M))
    if not starts or "frankenstein" not in text.lower() or not re.search(r"^\s*chapter\s+(?:24|xxiv)\b", text, re.I | re.M):
        raise CorpusError(f"this is not the text of Frankenstein from {GUTENBERG_URL}: no 'Letter 1' to 'Chapter 24' in it")
    return _FOOTER.split(text[starts[-1].start() :], maxsplit=1)[0].strip() + "\n"


_FOOTER = re.compile(r"^\W*end of (?:the |this )?project gutenberg", re.I | re.M)


def _check_download(data: bytes) -> None:
    """Refuse what is not the book, or not all of it: a server may cut it off and tell a length that fits."""
    text = decode_text(data, "the download")
    clean_frankenstein(text)
    if not _FOOTER.search(text):
        raise CorpusError("it ends before the book does")


def _load_frankenstein(folders: list[Path]) -> Corpus:
    source = _find(folders, "frankenstein.txt", "pg84.txt")
    if source is None:
        source = files.raw_dir() / "pg84.txt"
        try:
            download.download(GUTENBERG_URL, source, _check_download)
        except download.DownloadError as error:
            raise UnreachableCorpusError(
                f"no Frankenstein: {error}. Download {GUTENBERG_URL} by hand and save it as {files.display_path(source)} "
                "(or set TOKEMBED_RAW_DIR to the folder that has it)"
            ) from error
    try:
        text = clean_frankenstein(decode_text(source.read_bytes(), files.display_path(source)))
    except CorpusError as error:
        raise CorpusError(f"{files.display_path(source)}: {error}") from None
    if source.name == "pg84.txt":
        _keep(files.raw_dir() / "frankenstein.txt", text)
    return _in_memory("frankenstein", source, text)


def _find(folders: list[Path], *names: str) -> Path | None:
    """Return the first file of one of these names, in the first folder that has any."""
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def _keep(path: Path, text: str) -> None:
    """Save a cleaned corpus for people to look at; nothing reads it in the same run, so a failure is a warning."""
    try:
        if not path.is_file() or path.read_bytes() != text.encode("utf-8"):
            files.write_atomic(path, text)
    except OSError as error:
        warnings.warn(f"could not save {files.display_path(path)}: {error}", stacklevel=2)


# ---------------------------------------------------------------- WikiText-2


def clean_wikitext(text: str) -> str:
    """Undo WikiText's word-level marks: ` @-@ `, ` @,@ ` and ` @.@ ` are joined again, `<unk>` goes.

    >>> clean_wikitext("a 1 @,@ 000 @-@ year @-@ old <unk> of 2 @.@ 5 m")
    'a 1,000-year-old  of 2.5 m'
    """
    return re.sub(r" @([-,.])@ ", r"\1", text).replace("<unk>", "")


def _load_wikitext2(split: str, folders: list[Path]) -> Corpus:
    source = _find(folders, f"wikitext2/{split}.txt")
    if source is None:
        source = _download_wikitext2(files.raw_dir() / "wikitext2") / f"{split}.txt"
    return _in_memory("wikitext2", source, clean_wikitext(decode_text(source.read_bytes(), files.display_path(source))))


def _download_wikitext2(folder: Path) -> Path:
    datasets = _import_datasets()
    try:
        splits = datasets.load_dataset(*WIKITEXT_REPOSITORY)
        texts = {split: "".join(splits[split]["text"]) for split in SPLITS}
    except Exception as error:  # whatever the hub's client raises: its errors share no base class
        reason = str(error).strip().splitlines()
        raise UnreachableCorpusError(
            f"no WikiText-2: could not load {WIKITEXT_REPOSITORY[0]} ({reason[0] if reason else type(error).__name__}). "
            f"Put its splits at {files.display_path(folder)}/train.txt, validation.txt and test.txt "
            "(or set TOKEMBED_RAW_DIR to the folder that has wikitext2/)"
        ) from error
    for split, text in texts.items():
        files.write_atomic(folder / f"{split}.txt", text)
    return folder


# ---------------------------------------------------------------- the user's own


_CHOICES = f"{', '.join(NAMES)}, or the path of a .txt or .txt.gz file, or a folder or glob of shards"
_DOCUMENTS = (".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub", ".pptx", ".xlsx")
_PACKED = (".zip", ".tar", ".tgz", ".7z", ".bz2", ".xz")


def _check_kind(path: Path) -> None:
    """Refuse a file whose name says that its bytes are no text, though some would decode as one."""
    suffix = path.suffix.lower()
    if suffix == ".json" and b'"merges"' in path.read_bytes():
        raise TokenizerFileError(f"{path} is a tokenizer, not a text to learn from")
    if suffix == ".json":
        raise CorpusError(
            f"{path}: JSON is not read as text: name it .jsonl if it has one object a line, or .txt if it is plain text"
        )
    if suffix in _DOCUMENTS:
        raise CorpusError(f"{path} is a document, not plain text: extract its text first, into a .txt file")
    if suffix in _PACKED:
        raise CorpusError(f"{path} is packed: unpack it first, or pack its text as .txt.gz or .txt.zst")


def _load_file(name: str | os.PathLike[str], text_field: str) -> Corpus:
    if not str(name).strip():  # as a path it would be the current folder
        raise CorpusError(f"the dataset's name is empty (a variable that is not set?): choose {_CHOICES}")
    try:
        path = Path(name).expanduser()
        found, is_file = shards.find_shards(str(name), text_field), path.is_file()
    except CorpusError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, an unknown ~user, a NUL in it
        raise CorpusNotFoundError(f"no such file: {str(name)!r:.80} ({error.args[-1]!s:.80})") from None
    if found:
        return shards.load_shards(str(name), *found)
    if not is_file:
        if str(name).endswith(shards.KINDS) or path.suffix == ".gz" or len(path.parts) > 1:  # it looks like a path
            raise CorpusNotFoundError(f"no such file: {name}")
        close = "".join(f"did you mean {near}? " for near in difflib.get_close_matches(str(name), NAMES, n=1))
        raise CorpusError(f"unknown dataset {str(name)!r}: {close}choose {_CHOICES}")
    _check_kind(path)
    corpus = Corpus(str(name), path, lambda: stream_text(path), state_of(path))
    num_read, parts = 0, []
    for part in stream_text(path):  # a packed file may be a thousand times larger than it looks: count what comes out
        parts.append(part)
        num_read += len(part)
        if num_read > EAGER_CHARACTERS:
            return corpus
    return _in_memory(str(name), path, "".join(parts))
