"""The built wheel works by itself, in another folder, without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY

# As a user of the library would: train, save, look, draw, and have the report's and explorer's own files at hand.
JOB = """
import sys, tokembed
from pathlib import Path
assert Path(tokembed.__file__).is_relative_to(sys.argv[1]), tokembed.__file__
from tokembed import *
from tokembed import files, workspace
from tokembed.pages import report
from tokembed.vectors import evaluation, storage
corpus = workspace.choose_corpus("pydocs")
tokenizer, ids = workspace.prepare_tokens(corpus, 300)
keep = storage.Checkpointer(files.checkpoints_dir() / "pydocs.safetensors", tokenizer, ids)
train_skipgram(ids, tokenizer.vocab_size, TrainingConfig(epochs=2, embedding_dim=20), on_checkpoint=keep)
path, embeddings = workspace.trained_embeddings("pydocs")
assert path.is_relative_to(Path.cwd()), "files are made where one is, not where the package lies"
assert embeddings.most_similar("list")
assert report.entries()
assert evaluation.evaluate_synonyms(embeddings, evaluation.read_synonyms("test")).num_pairs == 44
print("trained on", len(ids), "tokens")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("needs uv")
    folder = tmp_path_factory.mktemp("dist")
    command = [uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "failed to fetch" in done.stderr.lower():
        pytest.skip("needs the package index, for the build backend")
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_installed_elsewhere_trains_there(wheel: Path, tmp_path: Path) -> None:
    site, folder = tmp_path / "site", tmp_path / "elsewhere"
    folder.mkdir()
    zipfile.ZipFile(wheel).extractall(site)
    environment = {name: value for name, value in os.environ.items() if name != "TOKEMBED_RAW_DIR"}
    environment["CC"] = "no-compiler"  # the wheel brings the library
    done = subprocess.run(
        [sys.executable, "-c", JOB, str(site)],
        cwd=folder, env={**environment, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "trained on" in done.stdout
    assert (folder / "models/checkpoints/01_tokenization/pydocs.safetensors").is_file()


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    inside = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "tokembed").rglob("*") if path.is_file()}
    inside = {name for name in inside if "__pycache__" not in name}
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
    assert inside <= set(names), "the page's parts, the word lists and py.typed are in it"
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tokembed"}
