from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tokembed import files


def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    files.write_atomic(path, "first")

    def write_half() -> None:
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_half()
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        files.check_writable(tmp_path / "file" / "folder")


@pytest.mark.parametrize("where", [None, "the temporary file"])
def test_an_error_of_the_system_names_what_was_to_be_written(where: str | None, tmp_path: Path) -> None:
    path = tmp_path / "figure.png"

    def fail() -> None:
        with files.atomic_path(path) as temporary:
            raise OSError(28, "No space left on device", str(temporary) if where else None)

    with pytest.raises(OSError, match="No space left") as raised:
        fail()
    assert raised.value.filename == str(path)


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, files.atomic_path(tmp_path / "copy"):
        (tmp_path / "original").read_bytes()
    assert raised.value.filename == str(tmp_path / "original")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system", str(tmp_path / "tmpknqj8vw4"))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OSError, match="Read-only") as raised:
        files.check_writable(tmp_path)
    assert raised.value.filename == str(tmp_path)


def test_line_ends_are_written_as_they_are(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "f", "a\r\nb\n")
    assert (tmp_path / "f").read_bytes() == b"a\r\nb\n"


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    files.write_atomic(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "text"


def test_a_folder_a_pipe_and_a_device_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(ValueError, match="name a file to write"):
            files.write_atomic(path, "text")


def test_temporary_files_of_what_was_made_since_are_removed_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name, second in {
        "deep/.a.ids.0123abcd.tmp.npy": 1,
        "deep/a.ids.npy": 2,
        "deep/.b.0123abcd.tmp": 1,
        "deep/b": 2,
        "deep/.a.ids.4567abcd.tmp.npy": 3,  # another process is writing it
        ".never.0123abcd.tmp.npy": 1,
        ".hidden": 1,
    }.items():
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (second, second))
    files.remove_outrun(tmp_path)
    left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert left == [".a.ids.4567abcd.tmp.npy", ".hidden", ".never.0123abcd.tmp.npy", "a.ids.npy", "b"]
