"""Published vocabularies: the rank files of GPT-2, GPT-4 and GPT-4o, found or downloaded once, and checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tokembed import files
from tokembed.corpora import download
from tokembed.corpora.corpus import CorpusNotFoundError

URL = "https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"


class VocabularyNotFoundError(CorpusNotFoundError):
    """A vocabulary that is no file and not published, or whose file could not be downloaded."""


@dataclass(frozen=True)
class PublishedVocabulary:
    """What a rank file does not say of itself, as its publisher's own library has it.

    Attributes
    ----------
    sha256 : str
        Of the file.
    splitting : str
        The name of its splitting rule.
    special_tokens : dict
        Special tokens and their ids.
    """

    sha256: str
    splitting: str
    special_tokens: dict[str, int]


_FILL_IN_THE_MIDDLE = {"<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260}
PUBLISHED = {
    "r50k_base": PublishedVocabulary(
        "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930", "gpt2", {"<|endoftext|>": 50256}
    ),
    "cl100k_base": PublishedVocabulary(
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        "cl100k",
        {"<|endoftext|>": 100257, **_FILL_IN_THE_MIDDLE, "<|endofprompt|>": 100276},
    ),
    "o200k_base": PublishedVocabulary(
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        "o200k",
        {"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    ),
}


def find_vocabulary(name: str) -> Path:
    """Return the rank file of a published vocabulary: from `TOKEMBED_RAW_DIR` or `data/raw/`, else downloaded there.

    Raises
    ------
    VocabularyNotFoundError
        There is none, and no download, and the message says where to put it; or no vocabulary of this name is published.
    ValueError
        The file found is another one, by its SHA-256.
    """
    if name not in PUBLISHED:
        raise VocabularyNotFoundError(f"no such file: {name}, nor is it a published vocabulary: choose {', '.join(PUBLISHED)}")
    file_name = f"{name}.tiktoken"
    for folder in files.raw_dirs(None):
        for path in (folder / file_name, folder / "vocabularies" / file_name):
            if path.is_file():
                check_sha256(path.read_bytes(), PUBLISHED[name].sha256, files.display_path(path))
                return path
    path = files.raw_dir() / file_name
    try:
        download.download(URL.format(name=name), path, lambda data: check_sha256(data, PUBLISHED[name].sha256, "the download"))
    except download.DownloadError as error:
        raise VocabularyNotFoundError(f"{name}: {error}: put the file at {files.display_path(path)}") from error
    return path


def check_sha256(data: bytes, expected: str, where: str) -> None:
    """Raise `ValueError` for bytes other than the published ones."""
    if (found := hashlib.sha256(data).hexdigest()) != expected:
        raise ValueError(f"{where} is not the published file: its SHA-256 begins with {found[:12]}, not {expected[:12]}")
