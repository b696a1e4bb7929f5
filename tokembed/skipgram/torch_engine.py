"""The engine for accelerators: the same pairs and the same loss, in batches, on whatever device torch has."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tokembed.skipgram import sampling
from tokembed.skipgram.model import Groups, SkipGramModel, descend
from tokembed.skipgram.settings import Report, TrainingConfig
from tokembed.skipgram.stream import Ids, TokenStream

# A block's groups are made at once, and dealt out to its batches in turn: a batch from one passage would meet the passage's own
# words too often, which damping can only slow down. Batches of 8,192 pairs from a passage each end 1 % higher in loss.
BLOCK_TOKENS, BLOCK_BATCHES = 8192, 16  # whichever is more
GROUP_POSITIONS = 16  # that share their negatives, and their targets' rows: more save rows, and cost scores that are no pair's
NEGATIVES_DRAWN = 2  # by a group, times those a pair is due
OUTSIDE = -1  # the id of a neighbour that is not there
# By one term, as a share of the learning rate, see `model.damping`. With 0.1 held-out text costs 0.1 % less in batches of
# 16,384 pairs, but a text of 2,000 different tokens diverges at twice the usual rate.
GAP_CLOSED = 0.15


class TorchEngine:
    """Skip-gram with negative sampling in batches of about `config.batch_size` pairs on one device.

    A batch is some groups of neighbouring positions (see `model.Groups`), which makes its scores and steps matrix products of
    few rows. The host draws which tokens are kept, and their windows; the device draws negatives and finds the pairs, for a
    block at a time. The host never waits for the batch in hand: a block's loss is read when the next block is under way.
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
        self._keep = keep.astype(np.float32)
        self._thresholds = torch.from_numpy((thresholds / 2.0**32).astype(np.float32)).to(device)
        self._aliases = torch.from_numpy(aliases.astype(np.int64)).to(device)
        self._random = torch.Generator(device=device)
        positions = max(config.batch_size // (config.window_size + 1), 1)  # of a batch: so many pairs has one on average
        self._group_positions = min(GROUP_POSITIONS, positions)
        self._groups_per_batch = max(round(positions / self._group_positions), 1)
        kept_share = float((counts * keep).sum() / counts.sum())
        num_batches = max(round(BLOCK_TOKENS * kept_share / positions), BLOCK_BATCHES)
        self._block_tokens = math.ceil(num_batches * positions / kept_share)

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
        place = self._stream.first_position + first
        random = np.random.default_rng([config.seed, 1 + epoch, place])
        self._random.manual_seed((config.seed * 1_000_003 + epoch * num_tokens + place) % 2**63)
        total_pairs, total_loss, done = 0, 0.0, first

        def settle(block_tokens: int, num_pairs: Tensor, losses: Tensor) -> None:
            nonlocal total_pairs, total_loss
            pairs, loss = int(num_pairs), float(losses.cpu().double().sum())  # on the host: MPS has no float64
            total_pairs, total_loss = total_pairs + pairs, total_loss + loss
            report(block_tokens, pairs, loss)

        with _translate_oom():
            unread = None  # the block before, which the device may still be at
            for block_tokens, tokens, windows in self._kept_blocks(first, last, random):
                places = (epoch + done / num_tokens, epoch + (done + block_tokens) / num_tokens)
                rates = [config.rate_after(place / config.epochs) for place in places]
                block = block_tokens, *self._train_block(tokens, windows, *rates)
                done += block_tokens
                if unread:
                    settle(*unread)
                unread = block
            if unread:
                settle(*unread)
        return total_pairs, total_loss

    def _kept_blocks(self, begin: int, stop: int, random: np.random.Generator) -> Iterator[tuple[int, Ids, Ids]]:
        """Yield (tokens read, n + 2W kept tokens, n windows): the middle n tokens are positions that have W neighbours on
        either side, OUTSIDE where an array of the stream ends.
        """
        window_size = self.config.window_size
        margin = np.full(window_size, OUTSIDE)
        tokens = margin
        for start, end in self._stream.blocks(begin, stop, self._block_tokens):
            array, array_start = self._stream.locate(start)
            ids = array[start - array_start : end - array_start].astype(np.int64)
            ids = ids[random.random(ids.shape, dtype=np.float32) < self._keep[ids]]
            is_end = end in (stop, array_start + len(array))
            tokens = np.concatenate([tokens, ids, margin if is_end else ids[:0]])
            num_positions = max(len(tokens) - 2 * window_size, 0)  # the last W wait for their right-hand neighbours
            windows = random.integers(1, window_size, num_positions, endpoint=True)
            yield end - start, tokens, windows
            tokens = margin if is_end else tokens[num_positions:]

    def _train_block(self, tokens: Ids, windows: Ids, first_rate: float, last_rate: float) -> tuple[Tensor, Tensor]:
        """Train on the pairs of a block; return their number and the batches' losses, on the device."""
        if not len(windows):
            return torch.zeros(1), torch.zeros(1)
        groups = self._groups(tokens, windows)
        num_batches = max(round(len(groups.weights) / self._groups_per_batch), 1)
        rates = np.linspace(first_rate, last_rate, num_batches, endpoint=False).tolist()
        losses = [
            descend(self.model, groups.every(first, num_batches), self._group_positions, rate, GAP_CLOSED * rate)
            for first, rate in enumerate(rates)
        ]
        return groups.weights[:, :, : self._group_positions].sum(), torch.stack(losses)

    def _groups(self, tokens: Ids, windows: Ids) -> Groups:
        """Return the groups of a block's n positions (see `sampling.window_pairs`); the last is filled up."""
        window_size, size = self.config.window_size, self._group_positions
        filling = -len(windows) % size
        stretch = torch.from_numpy(np.pad(tokens, (0, filling), constant_values=OUTSIDE)).to(self.device)
        reach = torch.from_numpy(np.pad(windows, (0, filling))).to(self.device).view(-1, 1, size)
        targets = stretch.unfold(0, size + 2 * window_size, size)  # (N, T): those of a group overlap with the next one's
        positives = stretch[window_size:-window_size].view(-1, size)  # (N, G)
        negatives = self._negatives(len(positives))
        steps = torch.arange(targets.shape[1], device=self.device)
        distances = (steps.unsqueeze(1) - window_size - steps[:size]).abs()  # (T, G)
        is_pair = (distances > 0) & (distances <= reach) & (targets != OUTSIDE).unsqueeze(2)
        pairs = is_pair.float()
        is_positive = (positives.unsqueeze(2) == negatives.unsqueeze(1)).float()  # (N, G, M)
        negative_terms = (pairs.sum(dim=2, keepdim=True) - torch.bmm(pairs, is_positive)) / NEGATIVES_DRAWN
        # A place outside has no pair, so that it does not matter which row it takes.
        ids = targets.clamp(min=0), torch.cat([positives.clamp(min=0), negatives], dim=1)
        return Groups(*ids, torch.cat([pairs, negative_terms], dim=2))

    def _negatives(self, num_groups: int) -> Tensor:
        """Draw (N, M) negatives from the noise distribution by its alias table."""
        shape = (num_groups, NEGATIVES_DRAWN * self.config.num_negative_samples)
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
