"""The settings of training, checked when made: each default stands here, once."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from tokembed import device as devices

MAX_LEARNING_RATE = 1e6  # far beyond any that learns, and far below what 32 bits hold
MAX_EXPONENT = 100.0  # by then one token alone is drawn; far beyond, the powers of counts overflow
MAX_INT = 2**31 - 1
MAX_DRAWN = 10_000  # neighbours on a side, and negatives, for which the C library has room
MAX_WORKERS = 1024
MIN_BATCH, MAX_BATCH = 512, 16_384  # pairs per step on an accelerator
TOKENS_PER_BATCHED_PAIR = 128
ENGINES = ("auto", "hogwild", "torch", "reference")
COMPOSITIONS = ("off", "ngrams")

Report = Callable[[int, int, float], None]  # called after each block, with its tokens, its pairs and their summed loss


class TrainingDivergedError(Exception):
    """The loss is not finite any more."""


class SettingError(ValueError):
    """A setting out of its range: which one (`name`), and what is wrong with it (`reason`)."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}")
        self.name, self.reason = name, reason


# What a setting of each type may be given as. It becomes that type: NumPy's numbers are not JSON, and overflow.
KINDS: dict[type, tuple[type, str]] = {
    int: (numbers.Integral, "an integer"),
    float: (numbers.Real, "a finite number"),
    bool: (bool, "True or False"),
    str: (str, "a name"),
}


def batch_size_for_accelerator(num_tokens: int) -> int:
    """Return the pairs per step that suit an accelerator, to train on so many tokens: a small text needs many small steps.

    >>> [batch_size_for_accelerator(num_tokens) for num_tokens in (50_000, 1_000_000, 100_000_000)]
    [512, 7812, 16384]
    """
    return min(max(num_tokens // TOKENS_PER_BATCHED_PAIR, MIN_BATCH), MAX_BATCH)


def _setting(default: Any, help_text: str, low: float = -math.inf, high: float = math.inf) -> Any:
    return field(default=default, metadata={"help": help_text, "low": low, "high": high})


@dataclass(frozen=True)
class TrainingConfig:
    """The settings of skip-gram training, checked when made.

    Raises
    ------
    SettingError
        A setting out of its range; the message names it, its value and what is allowed.
    """

    embedding_dim: int = _setting(100, "numbers in a vector", 1, MAX_INT)
    window_size: int = _setting(5, "neighbours on either side at most; each position draws 1 to this many", 1, MAX_DRAWN)
    num_negative_samples: int = _setting(10, "noise tokens a position is told apart from", 1, MAX_DRAWN)
    batch_size: int = _setting(512, "pairs per step, by default more on an accelerator; torch engine only", 1, MAX_INT)
    epochs: int = _setting(10, "passes over the tokens", 1, MAX_INT)
    learning_rate: float = _setting(0.025, "at the start; falls linearly", high=MAX_LEARNING_RATE)
    min_learning_rate: float = _setting(1e-4, "at the end", 0)
    min_count: int = _setting(5, "drop tokens that occur less often", 1, MAX_INT)
    subsample: float = _setting(1e-3, "thin out tokens more frequent than about this share; 0: none", 0)
    ns_exponent: float = _setting(0.75, "negatives are drawn by count to this power", -MAX_EXPONENT, MAX_EXPONENT)
    add_context_vectors: bool = _setting(False, "a token's vector is the sum of both of its vectors, as target and as context")
    composition: str = _setting("off", "words of their parts, too: ngrams (character n-grams fitted to whole words) or off")
    early_stopping: int = _setting(0, "stop when the loss has not fallen for so many epochs; 0: never", 0)
    seed: int = _setting(1, "of all that is drawn", 0)
    workers: int = _setting(0, "threads of the hogwild engine; 0: one per core", 0, MAX_WORKERS)
    engine: str = _setting("auto", "hogwild (CPU threads), torch (batches on a device) or reference (the textbook, slow)")
    device: str = _setting("auto", "mps, cuda or cpu")

    def __post_init__(self) -> None:
        def require(name: str, is_allowed: bool, allowed: str) -> None:
            if not is_allowed:
                raise SettingError(name, f"must be {allowed}, not {getattr(self, name)!r}")

        for setting in fields(self):
            name, value = setting.name, getattr(self, setting.name)
            kind: type = type(setting.default)
            given, wanted = KINDS[kind]
            require(name, isinstance(value, given) and isinstance(value, bool) == (kind is bool), wanted)
            require(name, kind is not float or math.isfinite(value), wanted)
            object.__setattr__(self, name, kind(value))
            if kind in (int, float):
                low, high = setting.metadata["low"], setting.metadata["high"]
                require(name, value >= low, f"at least {low:,}")
                require(name, value <= high, f"at most {high:,}")
        require("learning_rate", self.learning_rate > 0, "above 0")
        # The default gives way to a learning rate below it, as `rate_after` has it.
        is_default = self.min_learning_rate == TrainingConfig.min_learning_rate
        allowed = f"at most the learning rate of {self.learning_rate!r}"
        require("min_learning_rate", is_default or self.min_learning_rate <= self.learning_rate, allowed)
        require("engine", self.engine in ENGINES, f"one of {', '.join(ENGINES)}")
        require("composition", self.composition in COMPOSITIONS, f"one of {', '.join(COMPOSITIONS)}")
        try:
            devices.check_device_name(self.device)
        except ValueError as error:
            raise SettingError("device", f"is unusable: {error}") from None

    def rate_after(self, share: float) -> float:
        """Return the learning rate when `share` (0 to 1) of all tokens of all epochs has been seen."""
        floor = min(self.min_learning_rate, self.learning_rate)
        return self.learning_rate - (self.learning_rate - floor) * share
