"""The project's folders, and writing files so that no reader ever meets half of one."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

CHAPTER = "01_tokenization"
TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp(\.\w+|)")  # of `atomic_path`
SAFETENSORS_TEMPORARY = re.compile(r"\.tmp\w{6}")  # beside the file that it is told to write, to replace it in the end
ABANDONED_SECONDS = 3600.0  # a temporary file not written to for so long was left behind by a process that was killed


def project_root() -> Path:
    """Return the checkout that holds this package, or the current directory for an installed wheel."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "phase3_embeddings").is_dir() else Path.cwd()


def raw_dir() -> Path:
    """Corpora: what was downloaded, and what the user put there."""
    return project_root() / "data" / "raw" / CHAPTER


def processed_dir() -> Path:
    """Tokenizers and token ids made from the corpora."""
    return project_root() / "data" / "processed" / CHAPTER


def plots_dir() -> Path:
    """Every figure, and the tables beside them."""
    return project_root() / "visualizations" / "plots" / CHAPTER


def checkpoints_dir() -> Path:
    """Trained vectors."""
    return project_root() / "models" / "checkpoints" / CHAPTER


def raw_dirs(first: str | os.PathLike[str] | None = None) -> list[Path]:
    """Return the folders searched for a corpus, in order: `first` or `TOKEMBED_RAW_DIR`, then the project's own."""
    given = first or os.environ.get("TOKEMBED_RAW_DIR")
    return [Path(given), raw_dir()] if given else [raw_dir()]


def display_path(path: str | os.PathLike[str]) -> str:
    """Return `path` relative to the current directory where it lies below it, for messages."""
    path = Path(path)
    with contextlib.suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return str(path)


def as_line(text: str) -> str:
    r"""Return a text that a terminal can be given in one line, a file's name for one: what is not printable by its escape.

    >>> as_line("a\nb\x1b[31m")
    'a\\nb\\x1b[31m'
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def encodable(text: str) -> str:
    r"""Return text with lone surrogates as `\udce9`, as JSON writes them: names of files that are not UTF-8 hold some.

    >>> print(encodable("caf\udce9"))
    caf\udce9
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Make `folder` and write to it, before long work whose result is to go there; raise `OSError` if it can't be."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(f"{folder} can't be made a folder: a file is in the way") from None
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _naming(error, folder) from None


def _naming(error: OSError, path: Path) -> OSError:
    """Have an error of the system's name what was to be written, instead of a temporary file or nothing."""
    if error.errno:
        error.filename = display_path(path)
    return error


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it replaces `path` in one step.

    A crash, a full disk or `Ctrl-C` inside the block leaves the earlier file, or none, and no temporary one. A process that is
    killed leaves its temporary file too; the next to write `path` removes it, an hour later at the earliest, because another
    process may be writing it. Folders above `path` are made (`OSError` if they can't be); a link is followed; a folder, a
    pipe or a device of that name is a `ValueError`.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "not an ordinary file"
        raise ValueError(f"{display_path(path)} is {what}: name a file to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Dot first, suffix kept: a listing hides it, and libraries that look at the suffix still know the format.
    prefix, suffix = f".{path.stem}.", f".tmp{path.suffix}"
    _remove_abandoned(path.parent, prefix, suffix)
    temporary = path.parent / f"{prefix}{secrets.token_hex(4)}{suffix}"
    try:
        # As `open` makes files, so that the process's umask decides who may read it (`tempfile` makes them private).
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise _naming(error, path) from None
    mode = stat.S_IMODE(temporary.stat().st_mode)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)  # safetensors puts a private file in its place
        temporary.replace(path)
    except OSError as error:
        if error.filename in (None, str(temporary)):  # it is not of another file, which the block reads
            raise _naming(error, path) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def alone_in(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Let one process at a time look at a folder's files and replace them, where the system has such locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_atomic(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Write `data` (text as UTF-8, line ends as they are) to `path` in one step."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def remove_outrun(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files of a folder, and those below it, that are older than the file that they were to become.

    Each is of a process that was killed, and another has done its work since.
    """
    for temporary in Path(folder).rglob(".*"):
        if match := TEMPORARY.fullmatch(temporary.name):
            with contextlib.suppress(OSError):  # another process was faster, or the file was never made
                if temporary.stat().st_mtime < temporary.with_name("".join(match.groups())).stat().st_mtime:
                    temporary.unlink()


def _remove_abandoned(folder: Path, prefix: str, suffix: str) -> None:
    for file in folder.iterdir():
        is_ours = file.name.startswith(prefix) and file.name.endswith(suffix)
        if is_ours or (suffix.endswith(".safetensors") and SAFETENSORS_TEMPORARY.fullmatch(file.name)):
            with contextlib.suppress(OSError):  # another process was faster, or owns it
                if time.time() - file.stat().st_mtime > ABANDONED_SECONDS:
                    file.unlink()
