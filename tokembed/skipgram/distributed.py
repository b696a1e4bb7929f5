"""Train with several processes, on one machine or many: each trains on its share of the text.

`torchrun` starts them. The processes of one machine write to the same two tables without locks, as the threads of one process
do: to training it is the same. (Of the torch engine each process has tables of its own, and counts as a machine below.)

The tables of several machines are combined. An epoch is cut into sections; what a section has moved is summed over the machines
while the next one is trained, and added at its end: nobody waits unless the sum travels for longer than a section takes.

How rows are combined. Let a row move by Δ_r in each of R machines. Their mean is right if each machine alone would have taken
the row to where it settles, but throws R - 1 of R updates away if not. The sum is right for few small updates, and diverges
where each machine overshoots for all (with four, it does; `docs/scale.md` has figures of all three). A row whose n updates each
close a share s of the gap to its rest closes a = 1 - e^(-ns) of it in each machine, and R times over in sequence 1 - e^(-Rns).
So of the R moves this many are made:

    m = (1 - e^(-Rns)) / (1 - e^(-ns))

which is R for small ns and 1 for large, and the row moves by m/R Σ Δ_r: unlike the plain mean, rare tokens learn from all R.

The others' moves arrive a section late. With them the gap goes from section to section as g' = (1 - a) g - (m - 1) a g_before,
which comes to rest wherever (m - 1) a < 1. As m ≤ 1/a it always does, unless ns is taken for less than it is. Some directions
close faster than others, and the fastest is the one that many rows share. n is known from the token's frequency; s = 0.3 η
keeps 16 machines at rest on a text of few different tokens, where 0.1 η does not keep 8.

What it costs. A ring all-reduce of b bytes among R machines sends 2 b (R - 1) / R from each. With V = 1,000,000 tokens and
D = 300 both tables are 2.4 GB: combining them once sends 4.7 GB from each of 64 machines. Sections of 32 tokens a row at
2 M tokens per second take 16 seconds. On 10 Gbit/s and on 1 Gbit/s, 64 machines then do the work of

>>> [round(64 * trained_share(1_000_000, 300, 64, 32e6, 2e6, gigabits / 8 * 1e9)) for gigabits in (10, 1)]
[64, 27]

What a machine sends hardly depends on R, but its share of the text shrinks: an epoch of 1 G tokens leaves 64 machines sections
of 1 M, and on 10 Gbit/s they do the work of

>>> round(64 * trained_share(1_000_000, 300, 64, 1e6, 2e6, 10 / 8 * 1e9))
8

as 32 would. There it has stopped scaling. `docs/scale.md` has predictions beside measurements.

References: McDonald, Hall, Mann (2010), Distributed Training Strategies for the Structured Perceptron (averaging);
Ji, Satish, Li, Dubey (2016), Parallelizing Word2Vec in Shared and Distributed Memory (frequent rows more often).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
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

MIN_SECTIONS, MAX_SECTIONS = 8, 64  # of an epoch
ROW_TOKENS = 32  # of a section, for each row of the tables, between the two
GAP_CLOSED = 0.3  # by an update at most, as a share of the learning rate
MEMORY_FILES = Path("/dev/shm")  # where Linux keeps them
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
        self._local_size = local_size
        if is_on_gpu:
            torch.cuda.set_device(self.local_rank)
        self._device = torch.device(self.config.device if is_on_gpu else "cpu")
        dist.init_process_group("nccl" if is_on_gpu else "gloo", timeout=PATIENCE)
        # Each process trains tables of its own, until `share_tables`.
        self._num_tables, self._combines = self.size, True
        self._combiners: Any = None  # torch's group of those who combine; None are all

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

    def share_tables(self, engine: Engine) -> None:
        """Have all threads of a machine train the same two tables from here on, whichever process they are of."""
        from tokembed.skipgram.hogwild import HogwildEngine

        if not isinstance(engine, HogwildEngine):
            return
        tables = [table.numpy() for table in engine.tables()]
        with contextlib.ExitStack() as kept:
            is_first, is_shared = self.local_rank == 0, self._local_size > 1
            own = kept.enter_context(_file_in_memory(tables)) if is_first and is_shared else None
            found: list[Any] = [None] * self.size  # of each process: whether it is a machine's first, and its file
            with _translate_lost_process():
                dist.all_gather_object(found, (is_first, own))
            if is_shared:
                path = found[self.rank - self.local_rank][1]
                engine.move_to(np.memmap(path, np.float32, "r+", shape=(2, *tables[0].shape)))
            self._wait()  # then the file's name can go: all have mapped it
        firsts = [rank for rank, (is_first, _) in enumerate(found) if is_first]
        self._num_tables = len(firsts)
        self._combines = self.local_rank == 0 and self._num_tables > 1
        self._combiners = dist.new_group(firsts)

    def train_epoch(
        self, engine: Engine, epoch: int, num_tokens: int, counts: npt.NDArray[np.int64], report: Report
    ) -> tuple[int, float]:
        """Train on this process' share, combine on schedule; return all processes' pairs and summed loss.

        `num_tokens` are those of the share, `counts`, (V,), those of the whole stream.
        """
        self._wait()  # until what is kept of the last epoch has been read from the tables
        num_sections, combiner = 1, None
        if self._combines:
            num_sections = sections_of(int(counts.sum()) // self._num_tables, counts.size)
            combiner = _Combiner(engine, counts, self.config, self._num_tables, self._device, self._combiners)
        num_pairs, loss = 0, 0.0
        bounds = np.linspace(0, num_tokens, num_sections + 1).astype(np.int64).tolist()
        for section, (first, last) in enumerate(itertools.pairwise(bounds), start=1):
            part_pairs, part_loss = engine.train(epoch, first, last, report)
            num_pairs, loss = num_pairs + part_pairs, loss + part_loss
            if section == num_sections:
                self._wait()  # until the others of this machine have ended too
            if combiner:
                combiner.finish()
                rate = self.config.rate_after((epoch + (section - 1) / num_sections) / self.config.epochs)
                combiner.start(1 / num_sections, rate)
        if combiner:
            combiner.finish()
        totals = torch.tensor([num_pairs, loss], dtype=torch.float64, device=self._device)
        with _translate_lost_process():
            dist.all_reduce(totals)
        return int(totals[0]), float(totals[1])

    def _wait(self) -> None:
        with _translate_lost_process():
            dist.barrier()


class _Combiner:
    """Combines tables while they go on being trained: what a section has moved is added one section late.

    `finish` leaves in each machine's tables what all have learned until `start`, and what this one has since.
    """

    def __init__(
        self, engine: Engine, counts: npt.NDArray[np.int64], config: TrainingConfig, size: int, device: torch.device, group: Any
    ) -> None:
        self._tables = engine.tables()
        self._combined = [table.clone() for table in self._tables]  # as all machines have them
        self._size, self._group = size, group
        pairs = sampling.pairs_per_token(counts, config.window_size, config.subsample) * float(counts.sum()) / size
        # Updates of each row in an epoch, in each machine; (2, V, 1).
        updates = [torch.from_numpy(each).to(device) * pairs for each in sampling.updates_per_pair(counts, config)]
        self._updates = torch.stack(updates).unsqueeze(2)
        self._own, self._summed = (torch.empty(2, *self._tables[0].shape, device=device) for _ in range(2))
        self._work: Any = None
        self._weights = self._updates

    def start(self, share: float, rate: float) -> None:
        """Begin to sum what rows have moved in a section, `share` of the epoch, at the learning rate `rate`."""
        for own, table, combined in zip(self._own, self._tables, self._combined, strict=True):
            torch.sub(table, combined, out=own)
        self._summed.copy_(self._own)
        self._weights = share_of_sum(GAP_CLOSED * rate * share * self._updates, self._size)
        with _translate_lost_process():
            self._work = dist.all_reduce(self._summed, group=self._group, async_op=True)

    def finish(self) -> None:
        """Wait for the sum that was begun, if any, and put it into the tables."""
        if self._work is None:
            return
        with _translate_lost_process():
            self._work.wait()
        self._work = None
        moves = self._summed.mul_(self._weights)
        for combined, move in zip(self._combined, moves, strict=True):
            combined.add_(move)
        for table, move in zip(self._tables, moves.sub_(self._own), strict=True):
            table.add_(move)


@contextlib.contextmanager
def _file_in_memory(tables: Sequence[npt.NDArray[np.float32]]) -> Iterator[str]:
    """Write tables to a file in memory, or on the disk where there is no room for them; yield its path, and remove it."""
    size = sum(table.nbytes for table in tables)
    has_room = MEMORY_FILES.is_dir() and shutil.disk_usage(MEMORY_FILES).free > size
    with tempfile.NamedTemporaryFile(prefix="tokembed-", dir=MEMORY_FILES if has_room else None) as file:
        for table in tables:
            table.tofile(file)
        file.flush()
        yield file.name


def trained_share(
    num_rows: int, dim: int, size: int, section_tokens: float, tokens_per_second: float, bytes_per_second: float
) -> float:
    """Return the share of its time in which a process trains: in the rest it waits for a link that carries `bytes_per_second`.

    Tables have `num_rows` of `dim` numbers; each of `size` processes trains on `section_tokens` at `tokens_per_second`.
    """
    training = section_tokens / tokens_per_second
    travelling = 2 * num_rows * dim * 4 * 2 * (size - 1) / size / bytes_per_second
    return training / max(training, travelling)


def sections_of(num_tokens: int, num_rows: int) -> int:
    """Return into how many sections an epoch of `num_tokens` per machine is cut: short ones would be mostly combining.

    >>> [sections_of(num_tokens, 10_000) for num_tokens in (1_200_000, 12_000_000, 1_200_000_000)]
    [8, 37, 64]
    """
    return max(MIN_SECTIONS, min(num_tokens // (ROW_TOKENS * num_rows), MAX_SECTIONS))


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
    """Return how much of the sum of R machines' moves a row makes: m/R, for ns = `closed` (see above).

    >>> share_of_sum(torch.tensor([0.0, 0.1, 100.0]), 4).numpy().round(2).tolist()
    [1.0, 0.8700000047683716, 0.25]
    """
    closed = closed.clamp(min=1e-4)
    return torch.expm1(-size * closed) / torch.expm1(-closed) / size
