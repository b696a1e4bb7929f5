"""What the scripts share: exit statuses, one-line errors, calm output, the choice of corpus."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

DEFAULT_DATASET, FALLBACK_DATASET = "frankenstein", "pydocs"
USER_ERROR, WORLD_ERROR, INTERRUPTED = 2, 1, 130


def run(main: Callable[[Sequence[str] | None], int]) -> int:
    """Run a script's `main(argv)` and turn what goes wrong into one line on stderr and an exit status.

    2 for what the user must mend (`ValueError`), 1 for the world's fault (`OSError`, `MemoryError`) or training that diverged,
    130 for `Ctrl-C`. Anything else is a fault of this program, and shows its traceback.
    """
    try:
        status = main(None)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ValueError as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return USER_ERROR
    except (OSError, ArithmeticError, MemoryError) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return WORLD_ERROR


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def positive_int(text: str) -> int:
    """Parse a whole number, 1 or more, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def describe_row(label: str, *parts: str) -> None:
    """Print one calm line: a label, and what there is to say of it."""
    print(f"{label:<11}{' · '.join(part for part in parts if part)}", flush=True)
