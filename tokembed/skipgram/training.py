"""Train skip-gram vectors on a stream of token ids: settings, the choice of engine, the loop over epochs."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tokembed import device as devices, native
from tokembed.skipgram import sampling
from tokembed.skipgram.settings import Report, TrainingConfig, TrainingDivergedError
from tokembed.skipgram.stream import TokenStream

if TYPE_CHECKING:
    import torch

    from tokembed.skipgram.distributed import ProcessGroup

RACE_SECONDS = 0.5  # for which each engine trains, where it is measured which is faster
FREE_SETTINGS = ("workers", "device", "add_context_vectors", "composition")  # that may differ from the run that is resumed


class Engine(Protocol):
    """What trains: two tables, and a pass over a part of the stream at a time."""

    @property
    def target_vectors(self) -> npt.NDArray[np.float32]: ...
    @property
    def context_vectors(self) -> npt.NDArray[np.float32]: ...
    def restore(self, target_vectors: npt.NDArray[np.float32], context_vectors: npt.NDArray[np.float32]) -> None: ...
    def tables(self) -> tuple[torch.Tensor, torch.Tensor]: ...
    def train(self, epoch: int, first: int, last: int, report: Report) -> tuple[int, float]: ...


@dataclass(frozen=True, repr=False)
class TrainingResult:
    """Trained vectors, and how training went. V tokens, D dimensions.

    Attributes
    ----------
    target_vectors, context_vectors : array (V, D) of float32
        The rows of tokens that were dropped (see `counts`) are as they were initialised.
    counts : array (V,) of int64
        Occurrences of each id in the stream, 0 for those below `min_count`.
    epoch_losses : list of float
        Mean loss per pair, in nats, one per epoch.
    num_pairs : list of int
        Pairs trained on, one per epoch.
    seconds : list of float
        Wall-clock time, one per epoch.
    num_tokens : int
        The stream's length.
    config : TrainingConfig
    engine : str
        Engine, device and threads, for people.
    """

    target_vectors: npt.NDArray[np.float32]
    context_vectors: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int64]
    epoch_losses: list[float]
    num_pairs: list[int]
    seconds: list[float]
    num_tokens: int
    config: TrainingConfig
    engine: str

    def __repr__(self) -> str:
        loss = f", loss {self.epoch_losses[-1]:.4f}" if self.epoch_losses else ""
        tokens, dimensions = self.target_vectors.shape
        return (
            f"TrainingResult({tokens:,} tokens, {dimensions} dimensions, {len(self.epoch_losses)} epochs{loss}, {self.engine})"
        )

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        """The tokens' vectors, (V, D): those as targets or, with `config.add_context_vectors`, the sums of both."""
        return self.target_vectors + self.context_vectors if self.config.add_context_vectors else self.target_vectors

    def before_training(self) -> TrainingResult:
        """Return the state that this training began with: target vectors recomputed from the seed, no epoch."""
        initial = sampling.initial_vectors(len(self.counts), self.config.embedding_dim, self.config.seed)
        return replace(
            self, target_vectors=initial, context_vectors=np.zeros_like(initial), epoch_losses=[], num_pairs=[], seconds=[]
        )

    @property
    def tokens_per_second(self) -> float:
        """Tokens of the stream (before any is dropped) trained on per second, over all epochs."""
        return self.num_tokens * len(self.seconds) / sum(self.seconds)

    @property
    def pairs_per_second(self) -> float:
        """Pairs trained on per second, over all epochs."""
        return sum(self.num_pairs) / sum(self.seconds)


class Choice(NamedTuple):
    """Who trains ("hogwild", "torch" or "reference"), and where; `speeds`, in tokens per second, are of all that were timed."""

    engine: str
    device: str
    speeds: dict[str, float]


def choose_engine(config: TrainingConfig) -> tuple[str, str]:
    """Return (engine, device) for a configuration, without importing torch unless torch may train.

    With an accelerator and neither engine nor device given, the engine is "auto" still: training measures what is faster,
    threads or torch on that device. On the CPU threads train or, without the C library, the reference. An engine of the CPU
    with another device is a `ValueError`, and so is a device that is not here, or the hogwild engine without the library.
    """
    kind = devices.check_device_name(config.device)
    is_accelerator = kind not in ("auto", "cpu")
    if is_accelerator and config.engine in ("hogwild", "reference"):
        raise ValueError(f"the {config.engine} engine runs on the CPU, not on {config.device!r}: choose the torch engine")
    if is_accelerator and kind != (accelerator := devices.find_accelerator()):
        raise ValueError(f"device {config.device!r} is not available here (there is: {accelerator or 'cpu'})")
    if is_accelerator or config.engine == "torch":
        return "torch", str(devices.select_device(config.device))
    is_open = config.engine == kind == "auto" and importlib.util.find_spec("torch") is not None
    if is_open and devices.find_accelerator() and (device := devices.select_device("auto")).type != "cpu":
        return "auto", str(device)
    if config.engine == "reference" or (config.engine == "auto" and native.library() is None):
        return "reference", "cpu"
    if native.library() is None:
        raise ValueError(f"the hogwild engine runs in C ({native.why_not()}): choose the reference engine")
    return "hogwild", "cpu"


def train_skipgram(
    token_ids: npt.ArrayLike | TokenStream,
    vocab_size: int,
    config: TrainingConfig | None = None,
    *,
    counts: npt.NDArray[np.int64] | None = None,
    progress: bool = False,
    on_choice: Callable[[Choice], None] | None = None,
    on_epoch: Callable[[int, float, float], None] | None = None,
    on_checkpoint: Callable[[TrainingResult], None] | None = None,
    resume: TrainingResult | None = None,
    group: ProcessGroup | None = None,
) -> TrainingResult:
    """Train skip-gram vectors with negative sampling.

    Parameters
    ----------
    token_ids : array (N,) of integers, or TokenStream
        One flat stream, each id in [0, vocab_size). With a `group`, a `TokenStream` is this process' share of it; of an array,
        which all of them have, each takes its share.
    vocab_size : int
        V, the number of rows of both tables.
    config : TrainingConfig, optional
    counts : array (V,) of int64, optional
        Occurrences of each id in the whole stream, where they are known; a process that has a share alone needs them.
    progress : bool
        Show a bar per epoch when stderr is a terminal.
    on_choice : callable, optional
        Called before the first epoch with the engine that was chosen.
    on_epoch : callable, optional
        Called after each epoch with its number (from 1), its mean loss and its tokens per second.
    on_checkpoint : callable, optional
        Called after each epoch with the result so far, to be kept; never with a loss or a vector that is not finite.
    resume : TrainingResult, optional
        What an earlier run of the same stream and settings, or of fewer epochs, had reached; training continues after its last.
    group : distributed.ProcessGroup, optional
        The processes that train together, each of which makes this call with the same settings.

    Raises
    ------
    ValueError
        Ids that are not such a stream, or fewer than two different tokens to train.
    TrainingDivergedError
        The loss became infinite or NaN.

    Notes
    -----
    One seed with `workers=1` gives equal bits, resumed or not; more workers give equal quality. Each epoch costs
    O(N·W·K·D). With `config.early_stopping`, training ends early when the loss has not fallen for so many epochs.
    """
    config = config or TrainingConfig()
    if isinstance(token_ids, TokenStream):
        stream = TokenStream([checked_ids(ids, vocab_size) for ids in token_ids.arrays], token_ids.first_position)
    else:
        stream = TokenStream([checked_ids(token_ids, vocab_size)])
    if counts is None:
        counts = sum((sampling.count_tokens(ids, vocab_size) for ids in stream.arrays), np.zeros(vocab_size, dtype=np.int64))
    num_different, num_tokens = int(np.count_nonzero(counts)), int(counts.sum())
    counts = np.where(counts >= config.min_count, counts, 0)
    num_trained = int(np.count_nonzero(counts))
    if num_trained < 2:
        raise ValueError(
            f"nothing to learn: {num_trained} of {num_different} different tokens occur {config.min_count} times or more "
            f"among {num_tokens:,}; give more text or a lower min_count"
        )
    if resume is not None:
        check_resumable(resume, config, counts)
    if group and not isinstance(token_ids, TokenStream):
        stream = stream.share(group.rank, group.size)
    choice = Choice(*choose_engine(config), {})
    if choice.engine == "auto":  # processes that train together take the accelerator each has, untimed: all must agree
        choice = choice._replace(engine="torch") if group else _choose_faster(choice.device, stream, counts, config)
    engine, description = _make_engine(choice.engine, choice.device, stream, counts, config)
    if on_choice:
        on_choice(choice)
    if resume is not None:
        engine.restore(resume.target_vectors, resume.context_vectors)
    if group:
        group.share_tables(engine)
    losses, pairs, seconds = (resume.epoch_losses, resume.num_pairs, resume.seconds) if resume else ([], [], [])
    result = TrainingResult(
        engine.target_vectors, engine.context_vectors, counts, losses, pairs, seconds, num_tokens, config, description
    )
    for epoch in range(len(losses), config.epochs):
        if has_stopped_early(result.epoch_losses, config.early_stopping):
            break
        start = time.perf_counter()
        label, is_quiet = f"epoch {epoch + 1}/{config.epochs}", None if progress else True
        with tqdm(total=stream.size, desc=label, unit="tok", unit_scale=True, disable=is_quiet, leave=False) as bar:
            if group is None:
                num_pairs, loss = engine.train(epoch, 0, stream.size, _reporter(bar))
            else:
                num_pairs, loss = group.train_epoch(engine, epoch, stream.size, counts, _reporter(bar))
        elapsed = time.perf_counter() - start
        if num_pairs == 0:
            raise ValueError("nothing to learn: no token has a neighbour in its window; give more text or a higher subsample")
        mean_loss = loss / num_pairs
        result = replace(
            result,
            target_vectors=engine.target_vectors,
            context_vectors=engine.context_vectors,
            epoch_losses=[*result.epoch_losses, mean_loss],
            num_pairs=[*result.num_pairs, num_pairs],
            seconds=[*result.seconds, elapsed],
        )
        are_finite = all(np.isfinite(table).all() for table in (result.target_vectors, result.context_vectors))
        if not (are_finite and math.isfinite(mean_loss)):
            raise TrainingDivergedError(
                f"training diverged in epoch {epoch + 1}: the loss is {mean_loss:.6g}"
                + (", and vectors hold numbers that are not finite" if math.isfinite(mean_loss) else "")
                + f"; lower the learning rate ({config.learning_rate}), or take fewer negatives or a narrower window"
            )
        if on_checkpoint:  # first: of what has been told, nothing is lost
            on_checkpoint(result)
        if on_epoch:
            on_epoch(epoch + 1, mean_loss, num_tokens / elapsed)
    return result


def has_stopped_early(losses: list[float], patience: int) -> bool:
    """Tell whether the least loss lies `patience` epochs back or more; a patience of 0 never ends.

    >>> has_stopped_early([3.0, 2.5, 2.6], 1), has_stopped_early([3.0, 2.5, 2.6], 2), has_stopped_early([3.0, 2.5], 1)
    (True, False, False)
    """
    return bool(patience and losses) and len(losses) - 1 - losses.index(min(losses)) >= patience


def check_resumable(earlier: TrainingResult, config: TrainingConfig, counts: npt.NDArray[np.int64]) -> None:
    """Raise `ValueError` naming the first thing in which a run differs from the one to resume.

    Threads and device may change: they change no meaning. Nor does what is made of the vectors in the end. There may be more
    epochs than were planned: the learning rate goes on as if it had been so from the beginning.
    """
    for setting in fields(config):
        before, now = getattr(earlier.config, setting.name), getattr(config, setting.name)
        is_allowed = setting.name in FREE_SETTINGS or (setting.name == "epochs" and now > before)
        if before != now and not is_allowed:
            raise ValueError(f"cannot resume: {setting.name} was {before!r} and is {now!r} now")
    if not np.array_equal(earlier.counts, counts):
        raise ValueError("cannot resume: the tokens are not those that the earlier run was trained on")


def checked_ids(token_ids: npt.ArrayLike, vocab_size: int) -> npt.NDArray[np.integer[Any]]:
    """Return ids as a one-dimensional integer array, or raise `ValueError` naming what is wrong."""
    ids = np.asarray(token_ids)
    if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
        raise ValueError(f"token_ids must be one row of integers, not {ids.dtype} of shape {ids.shape}")
    if ids.size == 0:
        raise ValueError("token_ids is empty: there is nothing to train on")
    low = min(int(part.min()) for part in sampling.parts(ids))
    high = max(int(part.max()) for part in sampling.parts(ids))
    if low < 0 or high >= vocab_size:
        raise ValueError(f"token_ids holds {low if low < 0 else high}, outside the vocabulary of {vocab_size} tokens")
    # Ids that someone could change while threads read them are copied; a read-only memory map stays where it is.
    return ids if ids.dtype == np.int32 and not ids.flags.writeable else ids.astype(np.int32)


def _choose_faster(device: str, stream: TokenStream, counts: npt.NDArray[np.int64], config: TrainingConfig) -> Choice:
    """Time the threads and torch on a device on copies of what will be trained, from the first token on; return the faster."""
    device_of = {"hogwild": "cpu", "torch": device}
    if native.library() is None:
        return Choice("torch", device, {})
    speeds = {
        name: _speed_of(_make_engine(name, device_of[name], stream, counts, config)[0], stream.size) for name in device_of
    }
    fastest = max(speeds, key=speeds.__getitem__)
    return Choice(fastest, device_of[fastest], speeds)


class _TimeIsUpError(Exception):
    """Ends the training of an engine that is timed."""


def _speed_of(engine: Engine, num_tokens: int) -> float:
    """Return at how many tokens per second an engine trains in the first half second, beginning over where the stream ends.

    The clock starts after the first block, in which an engine may compile.
    """
    times: list[float] = []
    trained = 0

    def report(tokens: int, pairs: int, loss: float) -> None:
        nonlocal trained
        times.append(time.perf_counter())
        trained += tokens if len(times) > 1 else 0
        if len(times) > 1 and times[-1] - times[0] >= RACE_SECONDS:
            raise _TimeIsUpError

    with contextlib.suppress(_TimeIsUpError):
        while True:
            engine.train(0, 0, num_tokens, report)
    return trained / (times[-1] - times[0])


def _make_engine(
    name: str, device: str, stream: TokenStream, counts: npt.NDArray[np.int64], config: TrainingConfig
) -> tuple[Engine, str]:
    """Return the engine and its description; the one not used is not imported."""
    if name == "torch":
        from tokembed.skipgram.torch_engine import TorchEngine

        return TorchEngine(stream, counts, config, device), f"torch on {device}"
    if name == "reference":
        from tokembed.skipgram.reference_engine import ReferenceEngine

        reason = f" ({native.why_not()})" if native.why_not() else ""
        return ReferenceEngine(stream, counts, config, workers=1), f"reference on cpu, 1 thread{reason}"
    from tokembed.skipgram.hogwild import HogwildEngine

    workers = config.workers or devices.available_cores()
    return HogwildEngine(stream, counts, config, workers), f"hogwild on cpu, {workers} thread{'s' if workers > 1 else ''}"


def _reporter(bar: Any) -> Report:
    """Return a `report(tokens, pairs, loss)` that moves the bar and shows the epoch's mean loss so far."""
    total_pairs, total_loss = 0, 0.0

    def report(tokens: int, pairs: int, loss: float) -> None:
        nonlocal total_pairs, total_loss
        total_pairs += pairs
        total_loss += loss
        if total_pairs and not bar.disable:
            bar.set_postfix(loss=f"{total_loss / total_pairs:.3f}", refresh=False)
        bar.update(tokens)

    return report
