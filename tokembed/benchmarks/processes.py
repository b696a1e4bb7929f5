"""Training by processes and machines beside threads: the same parts and seeds, each run started as a user starts it.

Machines are this one several times: processes that `torchrun` takes for machines, which share no tables.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tokembed.benchmarks.training import hold_out, loss_on, median_of
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.scale import parts
from tokembed.skipgram import sampling
from tokembed.skipgram.training import TrainingResult
from tokembed.vectors.storage import count_whole_words, load_checkpoint
from tokembed.workspace import checksum_of

REPEATS = 10  # of a text, for a long one
REPLACED = 0.1  # of its tokens, by others of the text


@dataclass(frozen=True)
class Text:
    """A folder of parts to train on, for so many epochs, and ids of the same kind of text, (N,), that are not in it."""

    name: str
    folder: Path
    epochs: int
    held_out: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True)
class Contender:
    """A way to use cores: so many machines, each of so many processes, each of so many threads."""

    machines: int = 1
    processes: int = 1
    threads: int = 1

    @property
    def name(self) -> str:
        """As a table calls it."""
        sizes = {"machines": self.machines, "processes": self.processes, "threads": self.threads}
        return next((f"{size} {unit}" for unit, size in sizes.items() if size > 1), "1 thread")


@dataclass(frozen=True)
class ProcessesRun:
    """One training: its speed over all epochs, its last epoch's mean loss, and the mean loss of a pair that is held out."""

    text: str
    name: str
    seed: int
    num_tokens: int
    tokens_per_second: float
    loss: float
    held_out_loss: float | None


def contenders(numbers: Sequence[int]) -> list[Contender]:
    """Return, for each number, so many threads, so many processes of a thread, and so many machines of one.

    >>> [each.name for each in contenders([1, 2])]
    ['1 thread', '2 threads', '2 processes', '2 machines']
    """
    kinds = ("threads", "processes", "machines")
    return list(dict.fromkeys(Contender(**{kind: number}) for number in numbers for kind in kinds))


def write_texts(folder: Path, name: str, ids: npt.NDArray[np.int32], tokenizer: BPETokenizerLoader) -> list[Text]:
    """Write parts of a text without its end, for ten epochs, and of the same text repeated, for one; the end is held out."""
    ids, held_out = hold_out(ids)
    texts = [
        Text(name, folder / "short", epochs=10, held_out=held_out),
        Text(f"{name}, {REPEATS} times", folder / "long", epochs=1, held_out=held_out),
    ]
    for text, stream in zip(texts, (ids, repeated(ids)), strict=True):
        write_parts(text.folder, stream, tokenizer)
    return texts


def repeated(ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return a stream, (N,), repeated, with other tokens of it in the place of some, (REPEATS * N,)."""
    random = np.random.default_rng(0)
    long = np.tile(ids, REPEATS)
    is_replaced = random.random(long.size) < REPLACED
    long[is_replaced] = random.choice(ids, int(is_replaced.sum()))
    return long


def write_parts(folder: Path, ids: npt.NDArray[np.int32], tokenizer: BPETokenizerLoader) -> None:
    """Write a stream, (N,), as a folder of one part."""
    folder.mkdir()
    np.save(folder / "text.ids.npy", ids)
    part = parts.Part("text", "", "text.ids.npy", ids.size, checksum_of(ids))
    counts = sampling.count_tokens(ids, tokenizer.vocab_size), count_whole_words(ids, tokenizer.id_to_token, tokenizer.rule)
    parts.write_manifest(folder, parts.Manifest("", tokenizer.fingerprint, (part,)), tokenizer, np.stack(counts))


def compare(script: Path, texts: Sequence[Text], ways: Sequence[Contender], rounds: int) -> Iterator[ProcessesRun]:
    """Train on each text by the training script, in each way in turn, `rounds` seeds each; yield each run."""
    for text in texts:
        manifest = parts.read_manifest(text.folder)
        tokenizer = parts.read_tokenizer(text.folder, manifest)
        for seed in range(1, rounds + 1):
            for way in ways:
                result = train(script, text, way, seed, tokenizer)
                held_out = None if text.held_out is None else loss_on(text.held_out, result)
                facts = manifest.num_tokens, result.tokens_per_second, result.epoch_losses[-1], held_out
                yield ProcessesRun(text.name, way.name, seed, *facts)


def train(script: Path, text: Text, way: Contender, seed: int, tokenizer: BPETokenizerLoader) -> TrainingResult:
    """Run the training script on a text's parts, by `torchrun` for several processes; return what it has saved."""
    with tempfile.TemporaryDirectory() as output:
        flags = {"parts": text.folder, "epochs": text.epochs, "seed": seed, "workers": way.threads, "output-dir": output}
        command = [str(script), *(part for name, value in flags.items() for part in (f"--{name}", str(value)))]
        jobs = [
            subprocess.Popen(
                [sys.executable, *launcher, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            for launcher in launchers(way)
        ]
        errors = [job.communicate()[1] for job in jobs]
        for job, error in zip(jobs, errors, strict=True):
            if job.returncode:
                raise ChildProcessError(f"{script.name} failed: {error.strip()[-500:]}")
        return load_checkpoint(next(Path(output).glob("*.safetensors")), tokenizer)


def launchers(way: Contender) -> list[list[str]]:
    """Return the arguments of Python that start the training script, a list for each machine.

    >>> launchers(Contender(threads=2))
    [[]]
    """
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(way.processes)]
    if way.machines == 1:
        return [[*torchrun, "--standalone"] if way.processes > 1 else []]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = ["--nnodes", str(way.machines), "--master-addr", "127.0.0.1", "--master-port", str(port)]
    return [[*torchrun, *meeting, "--node-rank", str(number)] for number in range(way.machines)]


def rows(runs: Sequence[ProcessesRun]) -> list[list[str]]:
    """Return, for each text and way, medians over the seeds: tokens per second, its ratio to as many threads, both losses.

    Ratios are of runs with the same seed.
    """
    found = []
    by_way = {(run.text, run.name): [each for each in runs if (each.text, each.name) == (run.text, run.name)] for run in runs}
    for (text, name), own in by_way.items():
        threads = by_way.get((text, f"{name.split()[0]} threads"), own)
        speed = f"{median_of(own, 'tokens_per_second') / 1e6:.2f} M"
        ratio = "" if threads is own else f"{ratio_of(own, threads, 'tokens_per_second'):.2f}"
        found.append([text, name, speed, ratio, *(_loss(own, threads, key) for key in ("loss", "held_out_loss"))])
    return found


def _loss(own: Sequence[ProcessesRun], threads: Sequence[ProcessesRun], key: str) -> str:
    if getattr(own[0], key) is None:
        return ""
    more = "" if threads is own else f" ({ratio_of(own, threads, key) - 1:+.1%})"
    return f"{median_of(own, key):.3f}{more}"


def ratio_of(own: Sequence[ProcessesRun], others: Sequence[ProcessesRun], key: str) -> float:
    """Return the median over turns of a field's ratio between two ways."""
    return float(statistics.median(getattr(a, key) / getattr(b, key) for a, b in zip(own, others, strict=True)))
