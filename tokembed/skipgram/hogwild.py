"""The CPU engine: threads that train on blocks of the stream and write to two shared tables without locks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tokembed.compilation import say_when_compiling
from tokembed.skipgram import _hogwild_kernels as kernels, sampling

if TYPE_CHECKING:
    import torch

    from tokembed.skipgram.settings import Report, TrainingConfig
    from tokembed.skipgram.stream import TokenStream

BLOCK_TOKENS = 8192  # a few milliseconds of work: threads end an epoch together, and calls cost nothing beside it
CACHE_LINE_FLOATS = 16


class HogwildEngine:
    """Skip-gram with negative sampling on `workers` threads; with one, the same seed gives the same bits.

    `counts`, (V,), are 0 for the tokens that training drops.
    """

    def __init__(self, stream: TokenStream, counts: npt.NDArray[np.int64], config: TrainingConfig, workers: int) -> None:
        self.config = config
        self.workers = workers
        self._stream = stream
        vocab_size, dim = counts.size, config.embedding_dim
        self._tables = kernels.Tables(_aligned_zeros(vocab_size, dim), _aligned_zeros(vocab_size, dim))
        self._tables.targets[:, :dim] = sampling.initial_vectors(vocab_size, dim, config.seed)
        keep = sampling.keep_probability(counts, config.subsample)
        self._draws = kernels.Draws(
            np.floor(keep * 2.0**32).astype(np.uint64),
            *sampling.alias_table(sampling.noise_distribution(counts, config.ns_exponent)),
            window_size=config.window_size,
            num_negatives=config.num_negative_samples,
        )
        with say_when_compiling(kernels.train_block):  # or loading, which takes a second too: no epoch's time has it
            self._train_block(0, 0, 0, _scratch(config))

    @property
    def target_vectors(self) -> npt.NDArray[np.float32]:
        """Return a copy of the vectors of tokens as targets, (V, D)."""
        return self._tables.targets[:, : self.config.embedding_dim].copy()  # type: ignore[no-any-return]

    @property
    def context_vectors(self) -> npt.NDArray[np.float32]:
        """Return a copy of the vectors of tokens as contexts, (V, D)."""
        return self._tables.contexts[:, : self.config.embedding_dim].copy()  # type: ignore[no-any-return]

    def restore(self, target_vectors: npt.NDArray[np.float32], context_vectors: npt.NDArray[np.float32]) -> None:
        """Continue from tables, (V, D) each, that an earlier run ended with."""
        self._tables.targets[:, : self.config.embedding_dim] = target_vectors
        self._tables.contexts[:, : self.config.embedding_dim] = context_vectors

    def tables(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both tables as tensors that share their memory, (V, D padded to full cache lines)."""
        import torch

        return torch.from_numpy(self._tables.targets), torch.from_numpy(self._tables.contexts)

    def move_to(self, memory: npt.NDArray[np.float32]) -> None:
        """Train in `memory`, (2, V, D padded), from here on: it holds both tables already, and others may write to it too."""
        self._tables = kernels.Tables(*memory)

    def train(self, epoch: int, first: int, last: int, report: Report) -> tuple[int, float]:
        """Train on tokens `first` to `last` (exclusive) once; return the number of pairs and their summed loss.

        `report(tokens, pairs, loss)` is called after every block with what that block added.
        """
        blocks = self._stream.blocks(first, last, BLOCK_TOKENS)
        lock = threading.Lock()
        stop = threading.Event()
        totals: dict[int, tuple[int, float]] = {}

        def work() -> None:
            scratch = _scratch(self.config)
            while not stop.is_set():
                with lock:
                    start, end = next(blocks, (last, last))
                if start == last:
                    return
                pairs, loss = self._train_block(epoch, start, end, scratch)
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

    def _train_block(self, epoch: int, start: int, end: int, scratch: kernels.Scratch) -> tuple[int, float]:
        config, total = self.config, self.config.epochs * self._stream.size
        done = epoch * self._stream.size
        first_rate, last_rate = (np.float32(config.rate_after((done + place) / total)) for place in (start, end))
        ids, array_start = self._stream.locate(start)
        first_position = self._stream.first_position + array_start
        # The kernel adds position * golden to the key: with the array's place in it, draws are those of the whole stream.
        draw_key = np.uint64((_mix(config.seed, epoch) + first_position * kernels.GOLDEN) % 2**64)
        state = np.uint64(_mix(config.seed, epoch, self._stream.first_position + start))
        start, end = start - array_start, end - array_start
        return kernels.train_block(  # type: ignore[no-any-return]
            ids, start, end, self._tables, self._draws, first_rate, last_rate, draw_key, state, scratch
        )


def _started(pool: ThreadPoolExecutor, work: Callable[[], None]) -> Future[None]:
    """Have a further thread work; raise `OSError` where the system starts no more."""
    try:
        return pool.submit(work)
    except RuntimeError as error:
        raise OSError(f"the system starts no further thread ({error}): give fewer workers") from None


def _scratch(config: TrainingConfig) -> kernels.Scratch:
    """Return one thread's buffers. Rows are handled four at a time, so they hold full fours."""
    num_inputs, num_outputs = 2 * config.window_size + 4, config.num_negative_samples + 4
    block = BLOCK_TOKENS + 2 * config.window_size + 1
    scores = _aligned_zeros(num_inputs, num_outputs)
    return kernels.Scratch(
        tokens=np.zeros(block, dtype=np.int32),
        windows=np.zeros(block, dtype=np.int32),
        inputs=_aligned_zeros(num_inputs, config.embedding_dim),
        outputs=_aligned_zeros(num_outputs, config.embedding_dim),
        scores=scores,
        signs=np.zeros(scores.shape[1], dtype=np.float32),
        output_ids=np.zeros(num_outputs, dtype=np.int32),
    )


def _aligned_zeros(rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Return a float32 table whose rows start at cache lines: (rows, columns rounded up to 16)."""
    padded = -(-columns // CACHE_LINE_FLOATS) * CACHE_LINE_FLOATS
    flat = np.zeros(rows * padded + CACHE_LINE_FLOATS, dtype=np.float32)
    skip = -(flat.ctypes.data // flat.itemsize) % CACHE_LINE_FLOATS
    return flat[skip : skip + rows * padded].reshape(rows, padded)


def _mix(*numbers: int) -> int:
    """Return 64 bits that depend on all the numbers (splitmix64, absorbed one by one)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        state ^= state >> 31
    return state
