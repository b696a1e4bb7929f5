"""Kill a job, again and again, and look at what it leaves: every file must be whole, the earlier one or the new one.

uv run python tests/kill.py --times 500

The job downloads (from a server of its own), learns a tokenizer, encodes, trains with a checkpoint per epoch, draws, and writes
a page, each time with other settings, so that every file is replaced by another. Half of the kills come at a random moment,
half at a random one of the operations on files that it is made of. Needs a POSIX system.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import itertools
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tokembed import BPEModel, BPETokenizerLoader, Corpus, Embeddings, TrainingConfig, files, train_skipgram, workspace
from tokembed.analysis.tokenization import Progression
from tokembed.corpora.download import download
from tokembed.figures import canvas
from tokembed.figures.tokenization import plot_merge_progression
from tokembed.pages.token_view import page
from tokembed.vectors.storage import Checkpointer, load_checkpoint

FILE_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.truncate", "os.chmod", "tempfile.mkstemp", "shutil.rmtree"}
WORDS = ["the", "old", "man", "saw", "a", "young", "woman", "and", "her", "child", "walk", "home", "by", "sea", "at", "night"]
BODY = b"all of it or nothing\n" * 20_000


def job(seed: int, address: str) -> None:
    """Make every kind of file there is, of settings and text that depend on the seed."""
    chance = random.Random(seed)
    download(f"{address}/{seed}", files.raw_dir() / "download.txt", check=len)
    text = " ".join(chance.choices(WORDS, k=2000))
    corpus = Corpus("text", None, lambda: iter([text]))
    tokenizer, path, _ = workspace.tokenizer_for(corpus, 40)
    ids, _, _ = workspace.token_ids_for(corpus, tokenizer, path)
    config = TrainingConfig(epochs=3, embedding_dim=16, min_count=1, seed=seed, engine="hogwild", workers=1)
    checkpoint = files.checkpoints_dir() / "text.safetensors"
    keep = Checkpointer(checkpoint, tokenizer, ids)
    result = train_skipgram(ids, tokenizer.vocab_size, config, on_checkpoint=keep)
    embeddings = Embeddings.from_training(result, tokenizer, ids)
    embeddings.save(checkpoint.with_name("vectors.safetensors"))
    embeddings.save_word2vec_format(checkpoint.with_name("vectors.txt"))
    axes = plot_merge_progression(Progression(np.linspace(5, 1, 40 + seed % 7), []))
    canvas.save(axes, files.plots_dir(), "figure", "a caption", ["a", "b"], [(i, seed) for i in range(100)])
    files.write_atomic(files.plots_dir() / "page.html", page(tokenizer, [text], "a page"))


def check_files(folder: Path) -> int:
    """Read every file in a folder but the temporary ones, and return how many there were; raise on the first damaged one."""
    readers = {
        ".json": BPEModel.load,
        ".npy": lambda path: np.load(path, allow_pickle=False),
        ".safetensors": Embeddings.load,
        ".png": lambda path: __import__("matplotlib.image").image.imread(path),
        ".csv": lambda path: _require(path.read_text().count("\n") == 101),
        ".html": lambda path: _require(path.read_text().endswith("</html>\n")),
    }
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    for path in files:
        try:
            if path.name == "download.txt":
                _require(path.read_bytes() == BODY)
            elif path.name == "vectors.txt":
                lines = path.read_text().splitlines()
                _require(int(lines[0].split()[0]) == len(lines) - 1 and len(lines[-1].split()) == 17)
            else:
                readers[path.suffix](path)
        except Exception as error:
            raise SystemExit(f"DAMAGED: {path.name}: {error!r}") from error
    return len(files)


def _require(is_whole: bool) -> None:
    if not is_whole:
        raise ValueError("not all of it is there")


def killed_job(seed: int, address: str, after_seconds: float | None, at_event: int | None) -> bool:
    """Run the job in a process that is killed after a time, or at its n-th operation on files; tell whether it was."""
    child = os.fork()
    if child == 0:
        tqdm.set_lock(threading.RLock())  # its own is shared by forked processes: one killed while it holds it stops all others
        if at_event is not None:
            countdown = itertools.count(1)
            on_file_event(lambda: next(countdown) == at_event and os.kill(os.getpid(), signal.SIGKILL))
        try:
            job(seed, address)
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    if after_seconds is not None:
        time.sleep(after_seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"the job failed by itself, seed {seed}")
    return os.WIFSIGNALED(status)


def on_file_event(react: Callable[[], object]) -> None:
    """Call `react` before each operation on a file of the project, for as long as this process lives."""
    folder = str(files.project_root())

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in FILE_EVENTS and folder in str(arguments):
            react()

    sys.addaudithook(hook)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        try:
            for start in range(0, len(BODY), 1 << 15):
                self.wfile.write(BODY[start : start + (1 << 15)])
                time.sleep(1e-3)
        except OSError:  # the reader was killed
            pass

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def server() -> Iterator[str]:
    """Serve the download; yield the address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50, help="kills (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    args = parser.parse_args(argv)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        os.environ.pop(name, None)
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name, server() as address:
        folder = Path(name)
        files.project_root = lambda: folder  # type: ignore[assignment]
        num_events = _events_of_a_job(address)
        start = time.perf_counter()
        job(0, address)
        seconds = time.perf_counter() - start
        num_kills = num_files = turn = 0
        while num_kills < args.times:
            turn += 1
            if turn % 2:
                was_killed = killed_job(turn, address, chance.uniform(0, 1.3 * seconds), None)
            else:
                was_killed = killed_job(turn, address, None, chance.randint(1, num_events))
            num_kills += was_killed
            num_files += check_files(folder)
        job(turn + 1, address)
        check_files(folder)
        tokenizer = BPETokenizerLoader(files.processed_dir() / "text_bpe_40.json")
        assert load_checkpoint(files.checkpoints_dir() / "text.safetensors", tokenizer).config.seed == turn + 1
        num_left = _leave_nothing_abandoned(folder, functools.partial(job, turn + 2, address))
    print(f"{num_kills} kills, {num_files:,} files read, 0 damaged; {num_left} temporary files left behind, all removed later")
    return 0


def _events_of_a_job(address: str) -> int:
    """Run the job once; return of how many operations on files it is made."""
    num_events = itertools.count()
    on_file_event(lambda: next(num_events))
    job(0, address)
    return next(num_events)


def _leave_nothing_abandoned(folder: Path, run: functools.partial[None]) -> int:
    """Make the killed jobs' temporary files look old, run the job, and see that they are gone; return how many there were."""
    left = [path for path in folder.rglob(".*") if path.is_file()]
    for path in left:
        os.utime(path, (0, 0))
    run()
    still = [path.name for path in folder.rglob(".*") if path.is_file()]
    if still:
        raise SystemExit(f"left behind for ever: {still}")
    return len(left)


if __name__ == "__main__":
    sys.exit(main())
