"""What the tests share: real corpora and vocabularies where they are at hand, small texts, a project folder of their own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# Before torch, numpy and scikit-learn are imported, here and in the processes that tests start: two test processes whose
# threads spin for each other on two cores take several times as long. The project's own threads are not OpenMP's.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from tokembed import BPEModel, BPETokenizerLoader, load_corpus, train_bpe
from tokembed.corpora.vocabularies import PUBLISHED

REPOSITORY = Path(__file__).resolve().parent.parent
RAW = Path(os.environ.get("TOKEMBED_RAW_DIR") or REPOSITORY / "data/raw/01_tokenization").resolve()

# Time is never asserted.
settings.register_profile("tokembed", deadline=None)
settings.load_profile("tokembed")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a project folder of its own, so that none reads or writes the real one's files."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.setattr("tokembed.files.project_root", lambda: root)
    monkeypatch.delenv("TOKEMBED_RAW_DIR", raising=False)
    return root


def unmeasured_environment() -> dict[str, str]:
    """Return the environment for a script that meets a fault: without coverage, which would write to the full disk too, and
    never ends when `Ctrl-C` comes while it holds its lock."""
    return {name: value for name, value in os.environ.items() if name != "TOKEMBED_RAW_DIR" and "COVERAGE" not in name}


def raw_file(name: str) -> Path:
    """Return a file of the raw folder, or skip the test that needs it."""
    path = RAW / name
    if not path.is_file():
        pytest.skip(f"needs {name} in TOKEMBED_RAW_DIR")
    return path


def has_vocabularies() -> bool:
    """Tell whether the rank files of the published vocabularies are at hand."""
    return all((RAW / "vocabularies" / f"{name}.tiktoken").is_file() for name in PUBLISHED)


@pytest.fixture(scope="session")
def published() -> dict[str, BPETokenizerLoader]:
    """The published vocabularies, or the test that needs them is skipped."""
    return {name: BPETokenizerLoader.from_tiktoken(raw_file(f"vocabularies/{name}.tiktoken")) for name in PUBLISHED}


@pytest.fixture(scope="session")
def pydocs() -> str:
    return load_corpus("pydocs").text


@pytest.fixture(scope="session")
def small_raw(tmp_path_factory: pytest.TempPathFactory, pydocs: str) -> Path:
    """A raw folder with a small text in place of each corpus, for scripts that would take minutes on the real ones."""
    folder = tmp_path_factory.mktemp("small_raw")
    (folder / "pg84.txt").write_text(
        f"Frankenstein\n\nLetter 1\n\n{pydocs[:6_000]}\n\nChapter 24\n\n{pydocs[6_000:9_000]}", encoding="utf-8"
    )
    (folder / "wikitext2").mkdir()
    (folder / "wikitext2" / "train.txt").write_text(pydocs[:40_000], encoding="utf-8")
    articles = (" ".join(pydocs[start : start + 2000].split()) for start in range(50_000, 62_000, 2000))
    (folder / "wikitext2" / "test.txt").write_text(
        "".join(
            f"\n = {title} = \n\n {article[:900]} \n {article[900:]} \n"
            for title, article in zip("ABCDEF", articles, strict=True)
        ),
        encoding="utf-8",
    )
    if has_vocabularies():
        shutil.copytree(RAW / "vocabularies", folder / "vocabularies")
    return folder


@pytest.fixture(scope="session")
def short_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the files of a short training on pydocs (`scripts.SHORT_JOB`), for tests to copy."""
    from scripts import SHORT_JOB, run

    folder = tmp_path_factory.mktemp("short_project")
    done = run(folder, *SHORT_JOB)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def frankenstein() -> str:
    """The real book where it is at hand, else the embedded corpus: the same code runs on either."""
    path = RAW / "pg84.txt"
    return load_corpus("frankenstein", raw_dir=RAW).text if path.is_file() else load_corpus("pydocs").text


@pytest.fixture(scope="session")
def model(frankenstein: str) -> BPEModel:
    return train_bpe(frankenstein, 2000)


@pytest.fixture(scope="session")
def tokenizer(model: BPEModel) -> BPETokenizerLoader:
    return BPETokenizerLoader(model)
