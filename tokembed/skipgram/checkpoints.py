"""A training's state in one file: written after every epoch, gone on from, looked at."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed import files
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.cli import DEFAULT_DATASET, FALLBACK_DATASET
from tokembed.corpora.sources import NAMES, load_corpus
from tokembed.skipgram import sampling
from tokembed.skipgram.settings import TrainingConfig
from tokembed.skipgram.training import TrainingResult
from tokembed.vectors.embeddings import (
    Embeddings,
    VectorsFileError,
    count_whole_words,
    file_metadata,
    parse_json,
    read_tensors,
    write_tensors,
)
from tokembed.vectors.evaluation import evaluate_synonyms, read_synonyms
from tokembed.workspace import artifact_name

HISTORY_FIELDS = ("auc", "synonym_cosine", "random_cosine")


class Checkpointer:
    """Keeps a run's state in one safetensors file, replaced in one step at each call; `Embeddings.load` reads it.

    It holds both tables, counts, tokens, tokenizer, settings and history: before the first epoch and after each, how synonyms
    stand out (see `evaluation.evaluate_synonyms`).

    Parameters
    ----------
    path : path
    tokenizer : BPETokenizerLoader
    token_ids : array (N,) of int32
        The stream that is trained on.
    resumed : bool
        Go on with the history of the file at `path`.
    """

    def __init__(
        self, path: Path, tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32], resumed: bool = False
    ) -> None:
        self.path = path
        self.has_saved = False
        self._tokenizer, self._token_ids = tokenizer, token_ids
        self._synonyms = read_synonyms("test")
        self._history = read_history(path) if resumed else []
        self._word_counts = count_whole_words(token_ids, tokenizer.id_to_token)
        self._metadata = file_metadata(tokenizer.id_to_token, tokenizer)
        self._tokens_sha256 = tokens_sha256(token_ids)

    def __call__(self, result: TrainingResult) -> None:
        """Write what training has reached."""
        if not self._history:
            self._history.append(self._measure(replace(result, target_vectors=initial_target_vectors(result))))
        self._history.append(self._measure(result))
        tensors: dict[str, npt.NDArray[Any]] = {
            "target_vectors": result.target_vectors,
            "context_vectors": result.context_vectors,
            "counts": result.counts,
            "word_counts": self._word_counts,
        }
        training = {
            "config": asdict(result.config),
            "epoch": len(result.epoch_losses),
            "epoch_losses": result.epoch_losses,
            "num_pairs": result.num_pairs,
            "seconds": result.seconds,
            "num_tokens": result.num_tokens,
            "engine": result.engine,
            "tokens_sha256": self._tokens_sha256,
            "history": self._history,
        }
        write_tensors(self.path, tensors, {**self._metadata, "training": json.dumps(training)})
        self.has_saved = True

    def _measure(self, result: TrainingResult) -> dict[str, float]:
        (trained,) = np.nonzero(result.counts)
        tokens = [self._tokenizer.id_to_token[row] for row in trained]
        counts, word_counts = result.counts[trained], self._word_counts[trained]
        embeddings = Embeddings(tokens, result.vectors[trained], self._tokenizer, counts, word_counts)
        score = evaluate_synonyms(embeddings, self._synonyms)
        # JSON has no NaN: a corpus without any of the synonyms has none of the figures.
        return {name: getattr(score, name) for name in HISTORY_FIELDS if np.isfinite(getattr(score, name))}


def initial_target_vectors(result: TrainingResult) -> npt.NDArray[np.float32]:
    """Return the target vectors that a training began with, made anew from its seed."""
    return sampling.initial_vectors(len(result.counts), result.config.embedding_dim, result.config.seed)


def read_history(path: Path) -> list[dict[str, float]]:
    """Return a checkpoint's history, `HISTORY_FIELDS` before the first epoch and after each."""
    _, metadata = read_tensors(path)
    try:
        history = parse_json(metadata["training"])["history"]
        return [{name: float(entry[name]) for name in HISTORY_FIELDS if name in entry} for entry in history]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise VectorsFileError(f"{files.display_path(path)} holds no history of its training") from None


def tokens_sha256(token_ids: npt.NDArray[np.int32]) -> str:
    """Return a hash of a stream of ids."""
    digest = hashlib.sha256()
    for part in sampling.parts(token_ids):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def load_checkpoint(
    path: Path, tokenizer: BPETokenizerLoader, token_ids: npt.NDArray[np.int32] | None = None
) -> TrainingResult:
    """Read a checkpoint to go on from, of these `token_ids`, or to look at.

    Raises
    ------
    VectorsFileError
        It is none, is damaged, or belongs to another tokenizer or other tokens; the message says which.
    """
    tensors, metadata = read_tensors(path)
    name = files.display_path(path)
    if metadata.get("tokenizer_fingerprint") != tokenizer.fingerprint:
        raise VectorsFileError(
            f"cannot resume: {name} belongs to another tokenizer. Give --resume the flags that it was trained with "
            "(--preset, --num-merges), or train anew without it"
        )
    try:
        training = parse_json(metadata["training"])
        if token_ids is not None and training["tokens_sha256"] != tokens_sha256(token_ids):
            raise VectorsFileError(f"cannot resume: {name} was trained on other tokens")
        result = TrainingResult(
            tensors["target_vectors"],
            tensors["context_vectors"],
            tensors["counts"],
            [float(loss) for loss in training["epoch_losses"]],
            [int(count) for count in training["num_pairs"]],
            [float(seconds) for seconds in training["seconds"]],
            int(training["num_tokens"]),
            TrainingConfig(**training["config"]),
            str(training["engine"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, VectorsFileError):
            raise
        raise VectorsFileError(f"{name} is no checkpoint to go on from: {error!r}") from None
    shape = (tokenizer.vocab_size, result.config.embedding_dim)
    tables = result.target_vectors, result.context_vectors
    if any(table.shape != shape or table.dtype != np.float32 or not np.isfinite(table).all() for table in tables):
        raise VectorsFileError(f"{name} is damaged: its tables are not {shape[0]} finite vectors of {shape[1]} numbers")
    return result


def trained_embeddings(dataset: str | None, checkpoint: Path | None = None) -> tuple[Path, Embeddings]:
    """Return the file and the vectors that training left for a corpus, or those of a file.

    Raises
    ------
    VectorsFileError
        There is no such file (the message says which command makes it), a damaged one, or one of another text.
    CorpusError
        There is no such corpus.
    """
    command = "uv run python phase3_embeddings/train_embeddings.py" + (f" --dataset {dataset}" if dataset else "")
    own = None if dataset is None or dataset in NAMES or checkpoint else load_corpus(dataset)
    name = artifact_name(own) if own else dataset or DEFAULT_DATASET
    path = checkpoint or files.checkpoints_dir() / f"{name}.safetensors"
    if dataset is None and checkpoint is None and not path.is_file():  # training may have fallen back
        fallback = path.with_name(f"{FALLBACK_DATASET}.safetensors")
        path = fallback if fallback.is_file() else path
    if not path.is_file():
        raise VectorsFileError(f"there are no trained vectors in {files.display_path(path)}: {command} makes them")
    embeddings = Embeddings.load(path)
    if own and embeddings.tokenizer and embeddings.tokenizer.model.source.get("corpus") != own.fingerprint:
        raise VectorsFileError(
            f"{files.display_path(path)} was trained on another text than {dataset} is now: {command} trains anew"
        )
    return path, embeddings
