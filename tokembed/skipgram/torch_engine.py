"""The engine for accelerators: the same pairs and the same loss, in batches, on whatever device torch has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tokembed.skipgram import sampling
from tokembed.skipgram.model import SkipGramModel, descend
from tokembed.skipgram.settings import Report, TrainingConfig
from tokembed.skipgram.stream import TokenStream

BLOCK_TOKENS = 8192  # tokens whose pairs are made at once: the host waits for the device once a block
# Tokens whose pairs are shuffled among one another, or as many as a batch has pairs, if that is more: a batch from a short
# passage meets the passage's own words too often. Over more text the loss is lower (by 0.9 % over a block), since a pair then
# meets vectors that have seen its own passage already: no better vectors, but another figure than the hogwild engine's.
SHUFFLED_TOKENS = 512

GAP_CLOSED = 0.1  # by one term, as a share of the learning rate: measured, see `skipgram.damping`


class TorchEngine:
    """Skip-gram with negative sampling in batches of `config.batch_size` pairs on one device.

    Pairs and negatives are made on the device; the host waits for it once a block, to read the loss.
    """

    def __init__(self, stream: TokenStream, counts: npt.NDArray[np.int64], config: TrainingConfig, device: str) -> None:
        self.config = config
        self.device = torch.device(device)
        self._stream = stream
        initial = sampling.initial_vectors(counts.size, config.embedding_dim, config.seed)
        self.model = SkipGramModel(counts.size, config.embedding_dim).to(device)
        self.restore(initial, np.zeros_like(initial))
        keep = sampling.keep_probability(counts, config.subsample)
        thresholds, aliases = sampling.alias_table(sampling.noise_distribution(counts, config.ns_exponent))
        self._keep = torch.from_numpy(keep.astype(np.float32)).to(device)
        self._thresholds = torch.from_numpy((thresholds / 2.0**32).astype(np.float32)).to(device)
        self._aliases = torch.from_numpy(aliases.astype(np.int64)).to(device)
        self._random = torch.Generator(device=device)

    @property
    def target_vectors(self) -> npt.NDArray[np.float32]:
        """Return a copy of the vectors of tokens as targets, (V, D)."""
        return self.tables()[0].cpu().numpy().copy()

    @property
    def context_vectors(self) -> npt.NDArray[np.float32]:
        """Return a copy of the vectors of tokens as contexts, (V, D)."""
        return self.tables()[1].cpu().numpy().copy()

    def restore(self, target_vectors: npt.NDArray[np.float32], context_vectors: npt.NDArray[np.float32]) -> None:
        """Continue from tables, (V, D) each, that an earlier run ended with."""
        for table, vectors in zip(self.tables(), (target_vectors, context_vectors), strict=True):
            table.copy_(torch.from_numpy(vectors))

    def tables(self) -> tuple[Tensor, Tensor]:
        """Return both tables, (V, D) each, on the device."""
        return self.model.target_embeddings.weight.data, self.model.context_embeddings.weight.data

    def train(self, epoch: int, first: int, last: int, report: Report) -> tuple[int, float]:
        """Train on tokens `first` to `last` (exclusive) once; return the number of pairs and their summed loss."""
        config, num_tokens = self.config, self._stream.size
        # Seeded by epoch and place, so that it draws the same whatever came before it in this process.
        self._random.manual_seed((config.seed * 1_000_003 + epoch * num_tokens + self._stream.first_position + first) % 2**63)
        num_pairs, total_loss, done = 0, 0.0, first
        with _translate_oom():
            for block_tokens, targets, positives in self._pair_blocks(first, last):
                rate = config.rate_after((epoch + done / num_tokens) / config.epochs)
                loss = self._train_pairs(targets, positives, rate)
                done += block_tokens
                num_pairs += len(targets)
                total_loss += loss
                report(block_tokens, len(targets), loss)
        return num_pairs, total_loss

    def _pair_blocks(self, begin: int, stop: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield (tokens read, targets, positives) of tokens begin..stop-1; windows reach across the blocks' borders."""
        window_size = self.config.window_size
        kept = torch.empty(0, dtype=torch.int64, device=self.device)
        first = 0  # the first position of `kept` that has not been a centre yet
        for start, end in self._stream.blocks(begin, stop, BLOCK_TOKENS):
            array, array_start = self._stream.locate(start)
            ids = torch.from_numpy(array[start - array_start : end - array_start].astype(np.int64)).to(self.device)
            is_kept = torch.rand(ids.shape, generator=self._random, device=self.device) < self._keep[ids]
            kept = torch.cat([kept, ids[is_kept]])
            # The last W positions wait for their right-hand neighbours, unless nothing more comes.
            last = len(kept) if end == stop else max(len(kept) - window_size, first)
            yield end - start, *self._pairs(kept, first, last)
            cut = max(last - window_size, 0)
            kept, first = kept[cut:], last - cut

    def _pairs(self, kept: Tensor, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Return the shuffled (targets, positives) of the centres first..last-1 (see `sampling.window_pairs`)."""
        window_size = self.config.window_size
        centers = torch.arange(first, last, device=self.device)
        windows = torch.randint(1, window_size + 1, centers.shape, generator=self._random, device=self.device)
        distances = torch.arange(1, window_size + 1, device=self.device)
        offsets = torch.cat([-distances, distances])  # (2W,)
        neighbours = centers.unsqueeze(1) + offsets  # (centres, 2W)
        inside = (neighbours >= 0) & (neighbours < len(kept)) & (offsets.abs() <= windows.unsqueeze(1))
        targets = kept[neighbours[inside]]
        pair_centers = centers.unsqueeze(1).expand_as(neighbours)[inside]
        positives = kept[pair_centers]
        stretch = (pair_centers - first) // max(SHUFFLED_TOKENS, self.config.batch_size)
        order = torch.argsort(stretch + torch.rand(len(targets), generator=self._random, device=self.device))
        return targets[order], positives[order]

    def _train_pairs(self, targets: Tensor, positives: Tensor, rate: float) -> float:
        """Train on pairs in batches; return their summed loss."""
        losses = []
        for start in range(0, len(targets), self.config.batch_size):
            batch = slice(start, start + self.config.batch_size)
            negatives = self._negatives(len(targets[batch]))
            losses.append(descend(self.model, targets[batch], positives[batch], negatives, rate, GAP_CLOSED * rate))
        # Summed in float64 on the host: MPS has no float64.
        return float(torch.stack(losses).cpu().double().sum()) if losses else 0.0

    def _negatives(self, num_pairs: int) -> Tensor:
        """Draw (B, K) negatives from the noise distribution by its alias table."""
        shape = (num_pairs, self.config.num_negative_samples)
        columns = torch.randint(len(self._aliases), shape, generator=self._random, device=self.device)
        own = torch.rand(shape, generator=self._random, device=self.device) < self._thresholds[columns]
        return torch.where(own, columns, self._aliases[columns])


@contextlib.contextmanager
def _translate_oom() -> Iterator[None]:
    """Turn torch's own errors, of which the CPU's has no class of its own, into Python's `MemoryError` with advice."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise MemoryError(f"lower batch_size, window_size, num_negative_samples or embedding_dim: {reason}") from None
