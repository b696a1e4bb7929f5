"""The CPU engine: threads that train on blocks of the stream and write to two shared tables without locks.

The C library trains a block (`native/skipgram.c`); which blocks there are, and what each draws from, is decided here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tokembed.native import BLOCK_TOKENS  # a few milliseconds of work: threads end an epoch together, and calls cost nothing
from tokembed.native.objects import Trainer, aligned_zeros
from tokembed.skipgram import sampling

if TYPE_CHECKING:
    import torch

    from tokembed.skipgram.settings import Report, TrainingConfig
    from tokembed.skipgram.stream import TokenStream

TrainBlock = Callable[[npt.NDArray[Any], int, int, int, int, float, float], tuple[int, float]]


class HogwildEngine:
    """Skip-gram with negative sampling on `workers` threads; with one, the same seed gives the same bits.

    `counts`, (V,), are 0 for the tokens that training drops.
    """

    def __init__(self, stream: TokenStream, counts: npt.NDArray[np.int64], config: TrainingConfig, workers: int) -> None:
        self.config = config
        self.workers = workers
        self._stream = stream
        vocab_size, dim = counts.size, config.embedding_dim
        self._targets, self._contexts = aligned_zeros(vocab_size, dim), aligned_zeros(vocab_size, dim)
        self._targets[:, :dim] = sampling.initial_vectors(vocab_size, dim, config.seed)
        self._keep_below = np.floor(sampling.keep_probability(counts, config.subsample) * 2.0**32).astype(np.uint64)
        self._alias_table = sampling.alias_table(sampling.noise_distribution(counts, config.ns_exponent))

    @property
    def target_vectors(self) -> npt.NDArray[np.float32]:
        """Return a copy of the vectors of tokens as targets, (V, D)."""
        return self._targets[:, : self.config.embedding_dim].copy()

    @property
    def context_vectors(self) -> npt.NDArray[np.float32]:
        """Return a copy of the vectors of tokens as contexts, (V, D)."""
        return self._contexts[:, : self.config.embedding_dim].copy()

    def restore(self, target_vectors: npt.NDArray[np.float32], context_vectors: npt.NDArray[np.float32]) -> None:
        """Continue from tables, (V, D) each, that an earlier run ended with."""
        self._targets[:, : self.config.embedding_dim] = target_vectors
        self._contexts[:, : self.config.embedding_dim] = context_vectors

    def tables(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both tables as tensors that share their memory, (V, D padded to full cache lines)."""
        import torch

        return torch.from_numpy(self._targets), torch.from_numpy(self._contexts)

    def move_to(self, memory: npt.NDArray[np.float32]) -> None:
        """Train in `memory`, (2, V, D padded), from here on: it holds both tables already, and others may write to it too."""
        self._targets, self._contexts = memory

    def train(self, epoch: int, first: int, last: int, report: Report) -> tuple[int, float]:
        """Train on tokens `first` to `last` (exclusive) once; return the number of pairs and their summed loss.

        `report(tokens, pairs, loss)` is called after every block with what that block added.
        """
        blocks = self._stream.blocks(first, last, BLOCK_TOKENS)
        lock = threading.Lock()
        stop = threading.Event()
        totals: dict[int, tuple[int, float]] = {}

        def work() -> None:
            train_block = self._block_trainer()
            while not stop.is_set():
                with lock:
                    start, end = next(blocks, (last, last))
                if start == last:
                    return
                pairs, loss = self._train_block(train_block, epoch, start, end)
                with lock:
                    totals[start] = (pairs, loss)
                    report(end - start, pairs, loss)

        with ThreadPoolExecutor(self.workers) as pool:
            try:
                helpers = [_started(pool, work) for _ in range(self.workers - 1)]
                work()  # this thread is the last of them: a section of one worker starts none
                for helper in helpers:
                    helper.result()
            finally:  # on `Ctrl-C` the threads end after the block in hand
                stop.set()
        # Summed in the stream's order, so that the sum does not depend on which thread was first.
        ordered = [totals[start] for start in sorted(totals)]
        return sum(pairs for pairs, _ in ordered), sum(loss for _, loss in ordered)

    def _block_trainer(self) -> TrainBlock:
        """Return what trains one thread's blocks: see `Trainer.train`."""
        config = self.config
        return Trainer(
            self._targets, self._contexts, self._keep_below, *self._alias_table, config.window_size, config.num_negative_samples
        ).train

    def _train_block(self, train_block: TrainBlock, epoch: int, start: int, end: int) -> tuple[int, float]:
        config, total = self.config, self.config.epochs * self._stream.size
        done = epoch * self._stream.size
        first_rate, last_rate = (config.rate_after((done + place) / total) for place in (start, end))
        ids, array_start = self._stream.locate(start)
        first_position = self._stream.first_position + array_start
        # A position draws from key + position * golden: with the array's start in it, draws are those of the whole stream.
        key = (sampling.mix(config.seed, epoch) + first_position * sampling.GOLDEN) % 2**64
        seed = sampling.mix(config.seed, epoch, self._stream.first_position + start)
        return train_block(ids, start - array_start, end - array_start, key, seed, first_rate, last_rate)


def _started(pool: ThreadPoolExecutor, work: Callable[[], None]) -> Future[None]:
    """Have a further thread work; raise `OSError` if the system starts no more."""
    try:
        return pool.submit(work)
    except RuntimeError as error:
        raise OSError(f"the system starts no further thread ({error}): give fewer workers") from None
