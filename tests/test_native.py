"""The C library: found, built or done without; the same ids at every level; clean under the sanitizers."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY
from hypothesis import given, settings, strategies as st

from tokembed import BPETokenizerLoader, TrainingConfig, native, train_bpe, train_skipgram
from tokembed.bpe import counting, learning, tiktoken
from tokembed.bpe.splitting import SPLITTINGS
from tokembed.native import build

NATIVE = REPOSITORY / "tokembed" / "native"
JOB = """
from tokembed import *
text = load_corpus("pydocs").text[:20_000]
tokenizer = BPETokenizerLoader(train_bpe(text, 200))
ids = tokenizer.encode_array(text)
result = train_skipgram(ids[:2000], tokenizer.vocab_size, TrainingConfig(epochs=1, embedding_dim=8, workers=1))
print(len(ids), ids.sum(), len(tokenizer.merges), result.engine, round(result.epoch_losses[0], 4))
"""


def run_job(site: Path, **environment: str) -> tuple[list[str], list[str]]:
    """Run the job with the package that lies in `site`; return the words that it printed, and the lines of its stderr."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CC", "TOKEMBED_NATIVE")}
    done = subprocess.run(
        [sys.executable, "-c", JOB], cwd=site, env={**kept, "PYTHONPATH": str(site), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr.splitlines()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package without a library."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(REPOSITORY / "tokembed", folder / "tokembed", ignore=shutil.ignore_patterns("__pycache__", "built"))
    return folder


def test_without_a_compiler_python_does_the_work_and_says_so(site: Path, tmp_path: Path) -> None:
    in_python, lines = run_job(site, CC="no-compiler", XDG_CACHE_HOME=str(tmp_path))
    assert lines == [f"no C library: {build.ADVICE}"]
    assert run_job(site, TOKEMBED_NATIVE="0")[1] == []
    in_c, _ = run_job(REPOSITORY)
    assert in_python[:3] == in_c[:3]
    assert in_python[3:4] == ["reference"]
    assert in_c[3:4] == ["hogwild"]
    assert float(in_python[-1]) == pytest.approx(float(in_c[-1]), abs=2e-4)


def test_a_read_only_package_keeps_its_library_in_the_users_cache(site: Path, tmp_path: Path) -> None:
    if build.find_compiler() is None:
        pytest.skip("needs a C compiler")
    (site / "tokembed" / "native" / "built").write_text("in the way: no library can be kept here")
    _, first = run_job(site, XDG_CACHE_HOME=str(tmp_path))
    assert first == ["compiling the C library, once"]
    assert run_job(site, XDG_CACHE_HOME=str(tmp_path))[1] == []
    assert list((tmp_path / "tokembed").glob("libtokembed-baseline-*.so"))


def test_a_damaged_library_is_said_and_done_without(site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tokembed"
    folder.mkdir()
    (folder / build.library_name("baseline")).write_bytes(b"no library")
    _, lines = run_job(site, XDG_CACHE_HOME=str(tmp_path), CC="no-compiler")
    assert len(lines) == 1
    assert lines[0].startswith("no C library: ")


def test_a_compiler_that_fails_is_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", f"{sys.executable} -c 'import sys; sys.exit(\"--version\" not in sys.argv)'")
    with pytest.raises(build.CompilerError, match="failed"):
        build.build(tmp_path / "built")
    assert not list((tmp_path / "built").iterdir())


def test_every_level_gives_the_same_ids_and_nearly_the_same_vectors(pydocs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    best = native.library()
    if best is None:
        pytest.skip("needs the C library")
    text = pydocs[:60_000] + " déjà 未来 – naïve \r\n 1234 " * 40
    found = []
    for level in build.levels()[: 1 + best.tk_level()]:
        path = Path(best._name).with_name(build.library_name(level))
        library, locked = native._load(path), native._with_signatures(ctypes.PyDLL(str(path)), native.LOCKED_SIGNATURES)
        monkeypatch.setattr(native, "library", lambda library=library: library)
        monkeypatch.setattr(native, "locked_library", lambda locked=locked: locked)
        ids = []
        for name in SPLITTINGS:
            tokenizer = BPETokenizerLoader(train_bpe(text, 300, splitting=name))
            ids += [
                tokenizer.encode_array(text),
                tokenizer.encode_array(text * 4),
                tokenizer.encode_batch_array([text[:70]] * 3)[0],
            ]
        config = TrainingConfig(epochs=1, embedding_dim=20, workers=1, engine="hogwild", min_count=1)
        found.append((np.concatenate(ids), train_skipgram(ids[0][:5000], 600, config).target_vectors))
    for ids, vectors in found[1:]:
        np.testing.assert_array_equal(ids, found[0][0])
        np.testing.assert_allclose(vectors, found[0][1], atol=1e-4)


def test_signatures_stand_in_the_order_of_the_header() -> None:
    header = (NATIVE / "tokembed.h").read_text(encoding="utf-8")
    declared = re.findall(r"^\w[\w *]*?(tk_\w+)\(", header, re.MULTILINE)
    assert [name for name in declared if name not in native.LOCKED_SIGNATURES] == [*native.SIGNATURES]
    assert [name for name in declared if name in native.LOCKED_SIGNATURES] == [*native.LOCKED_SIGNATURES]


WORDS = st.dictionaries(st.text("abcd", min_size=1, max_size=12), st.integers(1, 2**40), max_size=30)


@given(words=WORDS, num_merges=st.integers(0, 40), min_frequency=st.integers(1, 4))
@settings(max_examples=100)
def test_the_learner_in_python_equals_c(words: dict[str, int], num_merges: int, min_frequency: int) -> None:
    in_c = learning.train_bpe_from_counts(words, num_merges, min_frequency=min_frequency)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "library", lambda: None)
        in_python = learning.train_bpe_from_counts(words, num_merges, min_frequency=min_frequency)
    assert (in_python.merges, in_python.applications) == (in_c.merges, in_c.applications)


def test_counts_and_derived_merges_in_python_equal_c(pydocs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = train_bpe(pydocs[:200_000], 400, splitting="cl100k")
    single, longer = [bytes([byte]) for byte in range(256)], [*model.whole_pieces][256:]
    in_c = tiktoken._derived_merges(single, longer), counting.count_pieces(pydocs)
    monkeypatch.setattr(native, "library", lambda: None)
    in_python = tiktoken._derived_merges(single, longer), counting.count_pieces(pydocs)
    np.testing.assert_array_equal(in_python[0], in_c[0])
    assert len(longer) == 400
    assert (in_c[0] >= 0).all()
    assert in_python[1] == in_c[1]


FLAGS = ["-Wall", "-Wextra", "-Wconversion", "-Wno-psabi", "-Werror", "-fsyntax-only"]


def test_the_sources_compile_without_a_warning() -> None:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs gcc or clang")
    sources = [*map(str, sorted(NATIVE.glob("*.c")))]
    done = subprocess.run([compiler, "-std=gnu11", "-O1", *FLAGS, *sources], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.endurance
def test_the_library_is_clean_under_the_sanitizers(tmp_path: Path) -> None:
    """Build it with AddressSanitizer and UndefinedBehaviorSanitizer, and run `sanitized.py` through it."""
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux" or native.library() is None:
        pytest.skip("needs gcc on Linux")
    library = tmp_path / "libsanitized.so"
    command = [compiler, "-std=gnu11", "-O1", "-g", "-fPIC", "-shared", "-Wno-psabi", "-fno-omit-frame-pointer"]
    command += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", *map(str, sorted(NATIVE.glob("*.c"))), "-lm"]
    for level in ([], ["-march=x86-64-v3"], ["-march=x86-64-v4"])[
        : 1 + (native.library() or pytest.skip("no library")).tk_level()
    ]:
        subprocess.run([*command, *level, "-o", str(library)], check=True)
        asked = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
        runtime = asked.stdout.strip()
        environment = {**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
        job = [sys.executable, str(REPOSITORY / "tests" / "sanitized.py"), str(library)]
        done = subprocess.run(job, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        assert done.stdout.startswith("clean:")
