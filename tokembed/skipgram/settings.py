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
ENGINES = ("auto", "hogwild", "torch")

Report = Callable[[int, int, float], None]  # called after each block, with its tokens, its pairs and their summed loss


class TrainingDivergedError(Exception):
    """The loss is not finite any more."""


class SettingError(ValueError):
    """A setting out of its range: which one (`name`), and what is wrong with it (`reason`)."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}")
        self.name, self.reason = name, reason


def _setting(default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True)
class TrainingConfig:
    """The settings of skip-gram training, checked when made.

    Raises
    ------
    SettingError
        A setting out of its range; the message names it, its value and what is allowed.
    """

    embedding_dim: int = _setting(100, "numbers in a vector")
    window_size: int = _setting(5, "neighbours on either side at most; each position draws 1 to this many")
    num_negative_samples: int = _setting(10, "noise tokens a position is told apart from")
    batch_size: int = _setting(512, "pairs per step; torch engine only")
    epochs: int = _setting(10, "passes over the tokens")
    learning_rate: float = _setting(0.025, "at the start; falls linearly")
    min_learning_rate: float = _setting(1e-4, "at the end")
    min_count: int = _setting(5, "drop tokens that occur less often")
    subsample: float = _setting(1e-3, "thin out tokens more frequent than about this share; 0: none")
    ns_exponent: float = _setting(0.75, "negatives are drawn by count to this power")
    add_context_vectors: bool = _setting(False, "a token's vector is the sum of both of its vectors, as target and as context")
    early_stopping: int = _setting(0, "stop when the loss has not fallen for so many epochs; 0: never")
    seed: int = _setting(1, "of all that is drawn")
    workers: int = _setting(0, "threads of the hogwild engine; 0: one per core")
    engine: str = _setting("auto", "hogwild (CPU threads) or torch (batches on a device)")
    device: str = _setting("auto", "mps, cuda or cpu")

    def __post_init__(self) -> None:
        def require(name: str, is_allowed: bool, allowed: str) -> None:
            if not is_allowed:
                raise SettingError(name, f"must be {allowed}, not {getattr(self, name)!r}")

        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.type == "int":
                require(setting.name, isinstance(value, numbers.Integral) and not isinstance(value, bool), "an integer")
                object.__setattr__(self, setting.name, int(value))  # NumPy's numbers are not JSON, and overflow
            elif setting.type == "float":
                is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
                require(setting.name, is_number and math.isfinite(value), "a finite number")
                object.__setattr__(self, setting.name, float(value))
            elif setting.type == "bool":
                require(setting.name, isinstance(value, bool), "True or False")
            else:
                require(setting.name, isinstance(value, str), "a name")
        for name in ("embedding_dim", "window_size", "num_negative_samples", "batch_size", "epochs", "min_count"):
            require(name, getattr(self, name) >= 1, "at least 1")
            require(name, getattr(self, name) <= MAX_INT, f"at most {MAX_INT:,}")
        require("ns_exponent", abs(self.ns_exponent) <= MAX_EXPONENT, f"from -{MAX_EXPONENT:g} to {MAX_EXPONENT:g}")
        require("learning_rate", 0 < self.learning_rate <= MAX_LEARNING_RATE, f"above 0 and at most {MAX_LEARNING_RATE:g}")
        require("min_learning_rate", self.min_learning_rate >= 0, "at least 0")
        require("subsample", self.subsample >= 0, "at least 0")
        require("early_stopping", self.early_stopping >= 0, "at least 0 (0: never)")
        require("seed", self.seed >= 0, "at least 0")
        require("workers", self.workers >= 0, "at least 0 (0: one per core)")
        require("engine", self.engine in ENGINES, f"one of {', '.join(ENGINES)}")
        try:
            devices.check_device_name(self.device)
        except ValueError as error:
            raise SettingError("device", f"is unusable: {error}") from None

    def rate_after(self, share: float) -> float:
        """Return the learning rate when `share` (0 to 1) of all tokens of all epochs has been seen."""
        floor = min(self.min_learning_rate, self.learning_rate)
        return self.learning_rate - (self.learning_rate - floor) * share
