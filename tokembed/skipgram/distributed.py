"""Train with several processes, on one machine or many: each trains on its share of the text, and their tables are combined.

`torchrun` starts them. Each process has an equal share of the tokens, and an epoch is cut into sections: after a section the
rows of the most frequent tokens are combined, after every fourth section all rows. Frequent rows are written by every process
all the time, rare ones seldom by two. A section's moves travel while the next one is trained, and are added at its
end: no process waits unless they travel for longer than a section takes.

How rows are combined. Let a row move by Δ_r in each of R processes. Their mean is right if each process alone would have taken
the row to where it settles, but throws R - 1 of R updates away if not: with two processes, ten epochs then learn as much as
five. The sum is right for few small updates, and diverges where each process overshoots for all (with eight, it does). A row
whose n updates each close a share s of the gap to its rest, R times over in sequence, closes 1 - e^(-Rns) of it, each process
alone 1 - e^(-ns), so the row moves by

    Σ Δ_r (1 - e^(-Rns)) / (R (1 - e^(-ns)))

which is the sum for small ns and the mean for large. n is known from the token's frequency, and s = 0.05 η is measured: two
processes then end within 0.6 % of the loss of one on Frankenstein and 0.2 % on WikiText-2 (with the mean: 4 % and 1 %), and
eight stay stable (3 % on WikiText-2, with no loss in WordSim-353).

What it costs. A ring all-reduce of b bytes among R nodes sends 2 b (R - 1) / R from each. With V = 1,000,000 tokens and
D = 300 both tables are 2.4 GB: combining all rows once sends 4.7 GB from each of 64 nodes. Sections of 4 M tokens per node (an
epoch of 16 G tokens) take two seconds at 2 M tokens per second. On 10 Gbit/s and on 1 Gbit/s, 64 nodes then do the work of

>>> [round(64 * trained_share(1_000_000, 300, 64, 4e6, 2e6, gigabits / 8 * 1e9)) for gigabits in (10, 1)]
[52, 11]

What a node sends hardly depends on R, but its share of the text shrinks: an epoch of 1 G tokens leaves 64 nodes sections of
0.25 M, and on 10 Gbit/s they do the work of

>>> round(64 * trained_share(1_000_000, 300, 64, 0.25e6, 2e6, 10 / 8 * 1e9))
7

as 32 would. There it has stopped scaling. `docs/scale.md` has predictions beside measurements.

References: McDonald, Hall, Mann (2010), Distributed Training Strategies for the Structured Perceptron (averaging);
Ji, Satish, Li, Dubey (2016), Parallelizing Word2Vec in Shared and Distributed Memory, section IV (frequent rows more often).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from tokembed import device as devices
from tokembed.skipgram import sampling
from tokembed.skipgram.settings import Report, TrainingConfig
from tokembed.skipgram.training import Engine

MIN_SECTIONS, MAX_SECTIONS = 16, 64  # of an epoch
SECTION_TOKENS = 1 << 15  # of each process, between the two
ALL_ROWS_EVERY = 4  # sections
FREQUENT_SHARE = 1 / 16  # of the rows: they are combined after every section
GAP_CLOSED = 0.05  # by an update, as a share of the learning rate
PATIENCE = timedelta(minutes=10)  # for a process that does not answer

_T = TypeVar("_T")


class LostProcessError(OSError):
    """Another process of the group is gone."""


class ProcessGroup:
    """This process among those that `torchrun` started; a context manager that leaves the group in the end.

    The device of its `config` decides how tables travel: nccl between GPUs, gloo otherwise. Every method that waits for the
    others raises `LostProcessError` when one of them has died.
    """

    def __init__(self, config: TrainingConfig) -> None:
        try:
            self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        except (KeyError, ValueError):
            raise ValueError("several processes are for torchrun to start, which sets RANK; unset WORLD_SIZE for one") from None
        self.local_rank = int(os.environ.get("LOCAL_RANK", self.rank))
        local_size = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        kind = devices.check_device_name(config.device)
        is_on_gpu = kind == "cuda" or (kind == "auto" and config.engine != "hogwild" and torch.cuda.is_available())
        workers = config.workers or max(devices.available_cores() // local_size, 1)
        #: The configuration for this process: its own GPU, its share of the cores.
        self.config = replace(config, workers=workers, device=f"cuda:{self.local_rank}" if is_on_gpu else config.device)
        if is_on_gpu:
            torch.cuda.set_device(self.local_rank)
        self._device = torch.device(self.config.device if is_on_gpu else "cpu")
        dist.init_process_group("nccl" if is_on_gpu else "gloo", timeout=PATIENCE)

    def __enter__(self) -> ProcessGroup:
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is None:  # otherwise the others may be gone, and waiting for them would hide what went wrong
            dist.destroy_process_group()

    @contextlib.contextmanager
    def first_of_machine_first(self) -> Iterator[None]:
        """Run the block on each machine's first process, then on the others, who find in the cache what it made."""
        if self.local_rank != 0:
            self._wait()
        yield
        if self.local_rank == 0:
            self._wait()

    @contextlib.contextmanager
    def only_first_speaks(self) -> Iterator[None]:
        """Print nothing in the block, but on rank 0."""
        with (
            open(os.devnull, "w", encoding="utf-8") as nowhere,
            contextlib.redirect_stdout(nowhere if self.rank else sys.stdout),
        ):
            yield

    def share(self, value: _T) -> _T:
        """Return rank 0's value on every rank."""
        box = [value]
        with _translate_lost_process():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def train_epoch(
        self, engine: Engine, epoch: int, num_tokens: int, counts: npt.NDArray[np.int64], report: Report
    ) -> tuple[int, float]:
        """Train on this process' share, combine on schedule; return all processes' pairs and summed loss.

        `num_tokens` are those of the share, `counts`, (V,), those of the whole stream.
        """
        num_sections = sections_of(int(counts.sum()) // self.size)
        combiner = _Combiner(engine, counts, self.config, self.size, self._device)
        num_pairs, loss = 0, 0.0
        bounds = np.linspace(0, num_tokens, num_sections + 1).astype(np.int64).tolist()
        for section, (first, last) in enumerate(itertools.pairwise(bounds), start=1):
            part_pairs, part_loss = engine.train(epoch, first, last, report)
            num_pairs, loss = num_pairs + part_pairs, loss + part_loss
            combiner.finish()
            rate = self.config.rate_after((epoch + (section - 1) / num_sections) / self.config.epochs)
            combiner.start(1 / num_sections, rate, all_rows=section % ALL_ROWS_EVERY == 0)
        combiner.finish()
        totals = torch.tensor([num_pairs, loss], dtype=torch.float64, device=self._device)
        with _translate_lost_process():
            dist.all_reduce(totals)
        return int(totals[0]), float(totals[1])

    def _wait(self) -> None:
        with _translate_lost_process():
            dist.barrier()


class _Combiner:
    """Combines the tables of all processes while they go on training: what a section has moved is added one section late.

    `finish` leaves in each process' table what all have learned until `start`, and what this one has since.
    """

    def __init__(
        self, engine: Engine, counts: npt.NDArray[np.int64], config: TrainingConfig, size: int, device: torch.device
    ) -> None:
        self._tables = engine.tables()
        self._combined = [table.clone() for table in self._tables]  # as all processes have them
        self._size = size
        pairs = sampling.pairs_per_token(counts, config.window_size, config.subsample) * float(counts.sum()) / size
        # Updates of each row in an epoch, in each process.
        self._updates = [torch.from_numpy(each).to(device) * pairs for each in sampling.updates_per_pair(counts, config)]
        num_frequent = max(int(counts.size * FREQUENT_SHARE), 1)
        self._frequent = torch.from_numpy(np.argsort(-counts, kind="stable")[:num_frequent].copy()).to(device)
        self._share_since = torch.zeros(counts.size, device=device)  # of the epoch, since a row was combined
        self._pending: _Pending | None = None

    def start(self, share: float, rate: float, *, all_rows: bool) -> None:
        """Begin to sum what rows have moved in a section, `share` of the epoch; rows are all, or the most frequent."""
        self._share_since += share
        rows = None if all_rows else self._frequent
        since = _rows(self._share_since, rows)
        own = torch.stack([_rows(new, rows) - _rows(old, rows) for new, old in zip(self._tables, self._combined, strict=True)])
        closed = torch.stack([GAP_CLOSED * rate * _rows(updates, rows) * since for updates in self._updates])
        if rows is None:
            self._share_since.zero_()
        else:
            self._share_since[rows] = 0
        summed = own.clone()
        with _translate_lost_process():
            work = dist.all_reduce(summed, async_op=True)
        self._pending = _Pending(work, rows, own, summed, share_of_sum(closed, self._size).unsqueeze(2))

    def finish(self) -> None:
        """Wait for the sum that was begun, if any, and put it into the tables."""
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        with _translate_lost_process():
            pending.work.wait()
        moves = pending.summed.mul_(pending.weights)  # (2, rows, D)
        for combined, move in zip(self._combined, moves, strict=True):
            _add(combined, pending.rows, move)
        for table, move in zip(self._tables, moves.sub_(pending.own), strict=True):
            _add(table, pending.rows, move)


@dataclass(frozen=True)
class _Pending:
    """A sum under way: of `own` moves, (2, rows, D), into `summed`; rows are all if None."""

    work: Any
    rows: Tensor | None
    own: Tensor
    summed: Tensor
    weights: Tensor


def _rows(table: Tensor, rows: Tensor | None) -> Tensor:
    return table if rows is None else table[rows]


def _add(table: Tensor, rows: Tensor | None, moves: Tensor) -> None:
    if rows is None:
        table.add_(moves)
    else:
        table.index_add_(0, rows, moves)


def trained_share(
    num_rows: int, dim: int, size: int, section_tokens: float, tokens_per_second: float, bytes_per_second: float
) -> float:
    """Return the share of its time in which a process trains: in the rest it waits for a link that carries `bytes_per_second`.

    Tables have `num_rows` of `dim` numbers; each of `size` processes trains on `section_tokens` at `tokens_per_second`.
    """
    training = section_tokens / tokens_per_second
    all_rows = 2 * num_rows * dim * 4 * 2 * (size - 1) / size / bytes_per_second
    travels = [all_rows, *[all_rows * FREQUENT_SHARE] * (ALL_ROWS_EVERY - 1)]
    return len(travels) * training / sum(max(training, travel) for travel in travels)


def sections_of(num_tokens: int) -> int:
    """Return into how many sections an epoch of `num_tokens` per process is cut: short ones would be mostly combining.

    >>> [sections_of(num_tokens) for num_tokens in (50_000, 1_200_000, 12_000_000)]
    [16, 36, 64]
    """
    sections = num_tokens // SECTION_TOKENS // ALL_ROWS_EVERY * ALL_ROWS_EVERY
    return max(MIN_SECTIONS, min(sections, MAX_SECTIONS))


@contextlib.contextmanager
def _translate_lost_process() -> Iterator[None]:
    """Turn what torch says of closed sockets into one line: a process is lost."""
    try:
        yield
    except (RuntimeError, dist.DistError) as error:
        raise LostProcessError(
            "another process of this run has died or does not answer; the epochs that ended are kept "
            f"({str(error).splitlines()[0]:.80})"
        ) from None


def share_of_sum(closed: Tensor, size: int) -> Tensor:
    """Return how much of the sum of R processes' moves a row makes: (1 - e^(-Rx)) / (R (1 - e^(-x))) for x = `closed`.

    >>> share_of_sum(torch.tensor([0.0, 0.1, 100.0]), 4).numpy().round(2).tolist()
    [1.0, 0.8700000047683716, 0.25]
    """
    x = closed.clamp(min=1e-4)
    return torch.expm1(-size * x) / (size * torch.expm1(-x))
