"""Train with several processes, on one machine or many: each trains on its share of the text, and their tables are combined.

`torchrun` starts them. An epoch is cut into sections, and a section into one part for each process, so that all of them stand
at nearly the same place of the text, with the same learning rate. After a section the rows of the most frequent tokens are
combined, after every fourth section all rows: frequent rows are written by every process all the time, rare ones seldom by
two.

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
epoch of 16 G tokens) take two seconds at 2 M tokens per second; each node then sends, in GB/s,

>>> share_of_rows = (1 + (ALL_ROWS_EVERY - 1) * FREQUENT_SHARE) / ALL_ROWS_EVERY  # in a section, on average
>>> round(4.7 * share_of_rows / 2, 2)
0.7

10 Gbit/s carry 1.25 GB/s: a node then waits 0.56 times as long as it trains, and 64 nodes do the work of 41; on 1 Gbit/s, 10.
What a node sends hardly depends on R, but its share of the text shrinks: an epoch of 1 G tokens leaves 64 nodes sections of
0.25 M, and on 10 Gbit/s they do the work of 6, as 32 would. There it has stopped scaling.

References: McDonald, Hall, Mann (2010), Distributed Training Strategies for the Structured Perceptron (averaging);
Ji, Satish, Li, Dubey (2016), Parallelizing Word2Vec in Shared and Distributed Memory, section IV (frequent rows more often).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from tokembed import device as devices
from tokembed.skipgram import sampling
from tokembed.skipgram.settings import Report, TrainingConfig
from tokembed.skipgram.training import Engine

SECTIONS_PER_EPOCH = 64
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
        """Train on this process' parts of the stream, combine on schedule; return all processes' pairs and summed loss."""
        tables = engine.tables()
        combined = [table.clone() for table in tables]  # as all processes have them
        pairs_per_token = sampling.pairs_per_token(counts, self.config.window_size, self.config.subsample)
        updates = [torch.from_numpy(each).to(self._device) for each in sampling.updates_per_pair(counts, self.config)]
        all_rows = np.argsort(-counts, kind="stable")
        frequent_rows = all_rows[: max(int(counts.size * FREQUENT_SHARE), 1)]
        pairs_since = torch.zeros(counts.size, device=self._device)  # of each process, since a row was combined
        num_pairs, loss = 0, 0.0
        bounds = np.linspace(0, num_tokens, SECTIONS_PER_EPOCH * self.size + 1).astype(np.int64).tolist()
        for section in range(SECTIONS_PER_EPOCH):
            part = section * self.size + self.rank
            part_pairs, part_loss = engine.train(epoch, bounds[part], bounds[part + 1], report)
            num_pairs, loss = num_pairs + part_pairs, loss + part_loss
            pairs_since += pairs_per_token * num_tokens / (SECTIONS_PER_EPOCH * self.size)
            chosen = all_rows if (section + 1) % ALL_ROWS_EVERY == 0 else frequent_rows
            rows = torch.from_numpy(chosen).to(self._device)
            rate = self.config.rate_after((epoch + section / SECTIONS_PER_EPOCH) / self.config.epochs)
            for table, before, per_pair in zip(tables, combined, updates, strict=True):
                moves = table[rows] - before[rows]  # (rows, D)
                with _translate_lost_process():
                    dist.all_reduce(moves)
                closed = GAP_CLOSED * rate * per_pair[rows] * pairs_since[rows]
                before[rows] += moves * share_of_sum(closed, self.size).unsqueeze(1)
                table[rows] = before[rows]
            pairs_since[rows] = 0
        totals = torch.tensor([num_pairs, loss], dtype=torch.float64, device=self._device)
        with _translate_lost_process():
            dist.all_reduce(totals)
        return int(totals[0]), float(totals[1])

    def _wait(self) -> None:
        with _translate_lost_process():
            dist.barrier()


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
