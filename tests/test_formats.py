from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from gensim.models import KeyedVectors
from hypothesis import given, strategies as st
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug.test import Client

from tokembed import Embeddings
from tokembed.vectors.formats import escaped, unescaped

ODD = (
    "the</w>",
    "a b",
    "tab\there",
    "back\\slash",
    "line\nend",
    "未来</w>",
    "\u00a0",
    "\u2028",
    "\x85",
    "\\u{20}",
    "</w>",
    "é",
)


def odd_embeddings() -> Embeddings:
    vectors = np.random.default_rng(0).normal(size=(len(ODD), 7)).astype(np.float32) * np.float32(1e-3)
    return Embeddings(ODD, vectors, counts=np.arange(len(ODD)))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_escaping_is_undone_and_leaves_nothing_that_separates(token: str) -> None:
    safe = escaped(token)
    assert unescaped(safe) == token
    assert len(safe.split()) == (1 if token else 0)
    assert len(safe.splitlines()) <= 1


def test_gensim_reads_a_word2vec_file_back_equal(tmp_path: Path) -> None:
    embeddings, path = odd_embeddings(), tmp_path / "vectors.txt"
    embeddings.save_word2vec_format(path)
    theirs = KeyedVectors.load_word2vec_format(path)
    assert len(theirs) == len(ODD)
    assert sorted(map(unescaped, theirs.index_to_key)) == sorted(ODD)
    assert unescaped(theirs.index_to_key[0]) == ODD[-1], "the most frequent comes first"
    for token, vector in zip(ODD, embeddings.vectors, strict=True):
        assert np.array_equal(theirs[escaped(token)], vector)


def test_the_projectors_two_files_agree_line_by_line(tmp_path: Path) -> None:
    embeddings = odd_embeddings()
    embeddings.save_projector(tmp_path / "new" / "folder")
    vectors = np.loadtxt(tmp_path / "new/folder/vectors.tsv", delimiter="\t", dtype=np.float32)
    assert np.array_equal(vectors, embeddings.vectors)
    with open(tmp_path / "new/folder/metadata.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [unescaped(row["token"]) for row in rows] == list(ODD)
    assert [int(row["count"]) for row in rows] == list(range(len(ODD)))
    assert rows[0]["is_word"] == "yes"


def test_tensorboard_serves_the_projector_the_same_vectors_and_tokens(tmp_path: Path) -> None:
    embeddings = odd_embeddings()
    embeddings.save_projector(tmp_path)
    pages = ProjectorPlugin(TBContext(logdir=str(tmp_path), data_provider=None)).get_plugin_apps()
    tensor, metadata = (Client(pages[f"/{kind}"]).get(f"/{kind}?run=.&name=tokembed") for kind in ("tensor", "metadata"))
    assert np.array_equal(np.frombuffer(tensor.data, np.float32).reshape(embeddings.vectors.shape), embeddings.vectors)
    _, *lines = metadata.data.decode().removesuffix("\n").split("\n")
    assert [unescaped(line.split("\t")[0]) for line in lines] == list(ODD)
