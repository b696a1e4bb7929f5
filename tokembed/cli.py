"""What the scripts share: exit statuses, one-line errors, calm output, the choice of corpus."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tokembed.settings import TrainingDivergedError

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
    except (OSError, MemoryError, TrainingDivergedError) as error:
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


def add_corpus_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of every script that looks at a corpus and its tokenizer."""
    parser.add_argument("--dataset", help="frankenstein, wikitext2, pydocs, or a .txt or .txt.gz file (default: frankenstein)")
    parser.add_argument("--num-merges", type=positive_int, help="default: 2000; 10000 for a text over 2 M characters")


def add_checkpoint_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of every script that looks at trained vectors."""
    parser.add_argument("--dataset", help="look at the vectors trained on this corpus (default: frankenstein)")
    parser.add_argument("--checkpoint", type=Path, help="or at those in this file")


def add_plots_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says where figures go."""
    parser.add_argument("--output-dir", type=Path, help="default: visualizations/plots/01_tokenization")


def describe_row(label: str, *parts: str) -> None:
    """Print one calm line: a label, and what there is to say of it."""
    print(f"{label:<11}{' · '.join(part for part in parts if part)}", flush=True)
