"""What the scripts share: flags, presets, exit statuses, one-line errors with what to do about them, calm output."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tokembed import native
from tokembed.bpe.splitting import SPLITTINGS
from tokembed.skipgram.settings import SettingError, TrainingConfig, TrainingDivergedError, batch_size_for_accelerator

if TYPE_CHECKING:
    from tokembed.skipgram.training import Choice

DEFAULT_DATASET, FALLBACK_DATASET = "frankenstein", "pydocs"
DATASETS = "frankenstein, wikitext2, pydocs, a .txt or .txt.gz file, a folder or glob of shards, or hf:NAME[/CONFIG][:FIELD]"
USER_ERROR, WORLD_ERROR, INTERRUPTED = 2, 1, 130
Flags = argparse.ArgumentParser | argparse._ArgumentGroup
BENCHMARK_PACKAGES = ("gensim", "gigatoken", "rustbpe", "snaptokens", "tiktoken", "tokenizers", "tokie")
GROUP_OF_PACKAGE = {**dict.fromkeys(BENCHMARK_PACKAGES, " --group bench"), "ray": " --group scale", "torch": " --group torch"}
PACKAGE_OF_MODULE = {"sklearn": "scikit-learn", "ray": "'ray[data]'"}

# What to do about an error of the library, which knows no flags. By name: importing the classes would load numpy for --help.
REMEDIES = {
    "UnreachableCorpusError": ", or use --dataset pydocs, which needs no network",
    "TokenizerFileError": ": phase2_analysis/tokenizer.py --tokenizer FILE shows texts with it",
    "ResumeError": ". Give --resume the flags of the earlier run (--preset, --num-merges), or train again without it",
    "LostProcessError": ". Start it again with --resume",
    "MemoryError": ". See 'out of memory' in docs/troubleshooting.md",
}


@dataclass(frozen=True)
class Preset:
    """Settings that go together, where they differ from the defaults. Chosen by measurement, see the README."""

    training: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)  # of what is trained on; no settings of training

    @property
    def values(self) -> dict[str, Any]:
        """All of them, by name."""
        return {**self.tokens, **self.training}

    def __str__(self) -> str:
        """Return the preset's flags as one would type them.

        >>> str(Preset({"window_size": 3, "add_context_vectors": True}))
        '--window-size 3 --add-context-vectors'
        """
        flags = [flag_of(name) + ("" if value is True else f" {value}") for name, value in self.values.items()]
        return " ".join(flags) or "the defaults"


PRESETS = {
    "fast": Preset({"num_negative_samples": 5, "window_size": 3}),
    "balanced": Preset(),
    "best": Preset(
        {
            "num_negative_samples": 3,
            "window_size": 10,
            "subsample": 1e-4,
            "epochs": 20,
            "add_context_vectors": True,
            "composition": "ngrams",
        },
        {"num_merges": 40_000, "vocabulary_threshold": 5},
    ),
}


LARGE_CORPUS_CHARACTERS = 2_000_000
SMALL_CORPUS_MERGES, LARGE_CORPUS_MERGES = 2_000, 10_000
LARGE_TEXT = f"{LARGE_CORPUS_CHARACTERS // 1_000_000} M characters"
# What a text the size of a book is trained with where neither a flag nor a preset says otherwise, chosen on the development
# synonyms of the novel.
SMALL_TEXT = Preset({"epochs": 20, "window_size": 10, "composition": "ngrams"}, {"num_merges": 5000})


def flag_of(name: str) -> str:
    """Return the flag that gives a setting.

    >>> flag_of("num_merges")
    '--num-merges'
    """
    return "--" + name.replace("_", "-")


def run(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> int:
    """Run a script's `main(argv)` and turn what goes wrong into one line on stderr and an exit status.

    2 for what the user must mend (`ValueError`, a file that is not there, a package that is not installed), 1 for the world's
    fault (`OSError`, `MemoryError`) or training that diverged, 130 for `Ctrl-C`, 143 and 129 where the system or a closed
    terminal ended it. Anything else is a fault of this program, and shows its traceback.
    """
    with _ending_as_if_interrupted():
        return _run(main, argv)


def _run(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None) -> int:
    _prepare_output()
    try:
        status = main(argv)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as interrupt:
        with contextlib.suppress(OSError):  # the terminal is gone
            print("\ninterrupted", file=sys.stderr)
        return interrupt.status if isinstance(interrupt, _EndedError) else INTERRUPTED
    except BrokenPipeError:  # the reader went away, as `| head` does
        _flush_or_discard()
        return 0
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or importlib.util.find_spec(package):  # a part of it is missing: no one's but this program's fault
            raise
        sync, install = f"uv sync{GROUP_OF_PACKAGE.get(package, '')}", f"pip install {PACKAGE_OF_MODULE.get(package, package)}"
        remedy = f"`{sync}` in the checkout installs it, or `{install}`"
        print(f"error: the package {package} is not installed: {remedy}", file=sys.stderr)
        return USER_ERROR
    except (ValueError, OSError, MemoryError, TrainingDivergedError) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        _flush_or_discard()
        return USER_ERROR if isinstance(error, (ValueError, FileNotFoundError, IsADirectoryError)) else WORLD_ERROR


class _EndedError(KeyboardInterrupt):
    """An interrupt by another signal than that of `Ctrl-C`."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.status = 128 + number


@contextlib.contextmanager
def _ending_as_if_interrupted() -> Iterator[None]:
    """Have SIGTERM, and the SIGHUP of a closed terminal, end what runs as `Ctrl-C` does: no half file and no child is left.

    A second one ends it at once. Where a signal is ignored, as by `nohup`, it stays so.
    """

    def end(number: int, _: object) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        raise _EndedError(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    is_main = threading.current_thread() is threading.main_thread()
    handled = [number for number in numbers if is_main and signal.getsignal(number) == signal.SIG_DFL]
    for number in handled:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def _one_line(error: BaseException) -> str:
    """Return what went wrong, and what to do about it."""
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"no such file: {error.filename}"
    if isinstance(error, IsADirectoryError) and error.filename:
        return f"{error.filename} is a folder, not a file"
    if isinstance(error, OSError) and error.strerror:
        return (f"{error.filename}: " if error.filename else "") + error.strerror
    said = " ".join(str(error).split()) or type(error).__name__
    remedies = [REMEDIES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in REMEDIES]
    return ("too little memory: " if isinstance(error, MemoryError) else "") + said + "".join(remedies[:1])


def _prepare_output() -> None:
    """Have output that never fails on a character that the terminal's encoding lacks, nor for want of a terminal."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell, as `>&-` does
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (open until the process ends)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush_or_discard() -> None:
    """Leave nothing for the interpreter to flush when it ends: on a full disk it would fail again, with a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())


class Parser(argparse.ArgumentParser):
    """A parser of a script's flags: its docstring is the help, and a mistake is one line."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        """Exit with status 2, and without the usage, which buries the message; name the flag that an unknown one is like."""
        unknown = re.search(r"unrecognized arguments: .*?(--[\w-]+)", message)
        if unknown:
            import difflib

            known = {flag for flag in self._option_string_actions if flag.startswith("--")}
            near = [flag for flag in known if flag.endswith(unknown[1][1:])] or difflib.get_close_matches(
                unknown[1], known, n=1, cutoff=0.75
            )
            message += f": did you mean {min(near)}?" if near else ""
        self.exit(USER_ERROR, f"error: {message} (--help lists the flags)\n")


def positive_int(text: str) -> int:
    """Parse an integer, 1 or more, for argparse."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be an integer, not {text!r}") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def file_path(text: str) -> Path:
    """Parse a path for argparse; an empty one would be the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty: is a variable of the shell not set?")
    return Path(text)


def file_label(text: str) -> str:
    """Parse a part of a file's name, for argparse."""
    if not re.fullmatch(r"\w[\w.-]*", text):
        raise argparse.ArgumentTypeError(f"must be of letters, digits, '.', '_' and '-', not {text!r}")
    return text


def parse_with_preset(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse flags with a `--preset` that changes the defaults of others; what is given explicitly wins.

    `follows_text` names the settings that neither a flag nor a preset gives: they may follow the size of the corpus.
    `batch_follows_device` says that no flag gave the size of batches.
    """
    parser.add_argument("--preset", choices=PRESETS, help="; ".join(f"{name}: {preset}" for name, preset in PRESETS.items()))
    preset = parser.parse_known_args(argv)[0].preset
    if preset:
        parser.set_defaults(**PRESETS[preset].values)
    absent = object()
    given = parser.parse_args(argv, argparse.Namespace(**dict.fromkeys((*SMALL_TEXT.values, "batch_size"), absent)))
    args = parser.parse_args(argv)
    args.batch_follows_device = given.batch_size is absent
    args.follows_text = [name for name in SMALL_TEXT.values if preset is None and getattr(given, name) is absent]
    return args


def settings_for_text(args: argparse.Namespace, is_small: bool) -> dict[str, Any]:
    """Return what a text of that size changes of the settings that neither a flag nor a preset gave."""
    return {name: SMALL_TEXT.values[name] for name in args.follows_text} if is_small else {}


def settings_for_device(args: argparse.Namespace, device: str, num_tokens: int) -> dict[str, Any]:
    """Return what an accelerator changes of the settings that no flag gave, to train on so many tokens."""
    is_open = args.batch_follows_device and device != "cpu"
    return {"batch_size": batch_size_for_accelerator(num_tokens)} if is_open else {}


def add_training_flags(parser: Flags, small_text: Preset = PRESETS["balanced"]) -> None:
    """Add a flag for each setting of `TrainingConfig`, which `config_from_flags` reads back; a small text may have its own."""
    for setting in fields(TrainingConfig):
        kind, small = type(setting.default), small_text.training.get(setting.name)
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
        default = f"{setting.default}; {small} for a text of up to {LARGE_TEXT}" if small else setting.default
        help_text = f"{setting.metadata['help']} (default: {default})"
        parser.add_argument(flag_of(setting.name), default=setting.default, help=help_text, **how)


def config_from_flags(args: argparse.Namespace) -> TrainingConfig:
    """Return the configuration of parsed flags; raise `ValueError` naming the flag that is out of range."""
    try:
        return TrainingConfig(**{setting.name: getattr(args, setting.name) for setting in fields(TrainingConfig)})
    except SettingError as error:
        raise ValueError(f"{flag_of(error.name)} {error.reason}") from None


def add_corpus_flags(parser: Flags, small_merges: int = SMALL_CORPUS_MERGES) -> None:
    """Add the flags of every script that looks at a corpus and its tokenizer; `small_merges` are learned from a small text."""
    parser.add_argument("--dataset", help=f"{DATASETS} (default: {DEFAULT_DATASET})")
    add_text_field_flag(parser)
    default = f"default: {small_merges}; {LARGE_CORPUS_MERGES} for a text over {LARGE_TEXT}"
    parser.add_argument("--num-merges", type=positive_int, help=default)
    add_splitting_flag(parser)


def add_learning_flags(parser: Flags) -> None:
    """Add the flags that say how merges are learned."""
    parser.add_argument("--min-frequency", type=positive_int, default=2, help="the least count worth a merge (default: 2)")
    parser.add_argument("--no-lowercase", action="store_true", help="keep capitals")


def learning_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of learning merges that flags gave, by the names of `train_bpe`'s parameters."""
    return {"splitting": args.splitting, "lowercase": not args.no_lowercase, "min_frequency": args.min_frequency}


def learning_flags(args: argparse.Namespace) -> dict[str, Any]:
    """Return the flags of learning merges that differ from the defaults, as one types them, with their values."""
    given: dict[str, Any] = {"--no-lowercase": True} if args.no_lowercase else {}
    return given | ({"--min-frequency": args.min_frequency} if args.min_frequency != 2 else {})


def add_checkpoint_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of every script that looks at trained vectors."""
    parser.add_argument("--dataset", help="look at the vectors trained on this corpus (default: frankenstein)")
    add_text_field_flag(parser)
    add_splitting_flag(parser)
    parser.add_argument("--checkpoint", type=file_path, help="or at those in this file")


def add_text_field_flag(parser: Flags) -> None:
    """Add the flag that says where the text stands in a row of a corpus."""
    parser.add_argument("--text-field", default="text", help="a row's field that holds its text (default: text)")


def add_splitting_flag(parser: Flags) -> None:
    """Add the flag that says how text is split into pieces."""
    parser.add_argument(
        "--splitting",
        choices=SPLITTINGS,
        default="words",
        help="how text is split: words, lowered (the default), or as language models do, losing nothing",
    )


def add_plots_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says where figures go."""
    parser.add_argument("--output-dir", type=file_path, help="default: visualizations/plots/01_tokenization")


def add_compare_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names published vocabularies to stand beside ours."""
    names = "r50k_base (GPT-2), cl100k_base (GPT-4), o200k_base (GPT-4o), or copies of their files"
    parser.add_argument("--compare", nargs="+", default=[], metavar="NAME", help=f"published vocabularies beside ours: {names}")


def describe_row(label: str, *parts: str) -> None:
    """Print one calm line: a label, and what there is to say of it."""
    print(f"{label:<11}{' · '.join(part for part in parts if part)}", flush=True)


def describe_replaced(others: Sequence[str], folder: str) -> None:
    """Print of which other texts there are figures in a folder, some of which will be replaced."""
    if others:
        describe_row("replacing", f"figures of {', '.join(others)} in {folder}; --output-dir keeps both")


def describe_resuming(config: TrainingConfig, num_done: int, num_planned: int, where: str) -> None:
    """Print after which epoch training goes on, and what becomes of the learning rate if there are more than were planned."""
    rate = config.rate_after(num_done / config.epochs)
    stretched = f"{config.epochs} epochs where {num_planned} were planned: the learning rate goes on at {rate:.3g}"
    describe_row("resuming", f"after epoch {num_done} of {where}", stretched if config.epochs > num_planned else "")


def describe_training(config: TrainingConfig, choice: Choice, num_processes: int, chosen: Sequence[str] = ()) -> None:
    """Print what is about to train, and how; `chosen` names the settings that follow the size of the text."""
    speeds = ", ".join(f"{name} {speed:,.0f}" for name, speed in choice.speeds.items())
    describe_row(
        "training",
        f"{choice.engine} engine on {choice.device}" + (f", {num_processes} processes" if num_processes > 1 else ""),
        f"the faster here, in tokens/s: {speeds}" if speeds else "",
        f"in Python ({native.why_not() or 'as asked'})" if choice.engine == "reference" else "",
        f"batches of {config.batch_size}" if choice.engine == "torch" else "--batch-size is ignored",
        f"{config.embedding_dim} dimensions, window {config.window_size}, {config.num_negative_samples} negatives",
        "words composed of n-grams, too" if config.composition != "off" else "",
    )
    if chosen:
        values = " ".join(f"{flag_of(name)} {getattr(config, name)}" for name in chosen if hasattr(config, name))
        describe_row("", f"for a text of this size: {values} (--preset balanced: the plain defaults)")


def describe_epoch(config: TrainingConfig) -> Callable[[int, float, float], None]:
    """Return what prints a line after each epoch."""

    def describe(epoch: int, loss: float, speed: float) -> None:
        hint = " (lower is better)" if epoch == 1 else ""
        describe_row(f"  {epoch}/{config.epochs}", f"loss {loss:.4f}{hint}", f"{speed:,.0f} tokens/s")

    return describe
