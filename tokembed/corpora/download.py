"""Fetch one file over HTTP: whole, checked, and in one step, or not at all."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from tokembed import files

TIMEOUT_SECONDS = 20.0  # without a byte
WHOLE_SECONDS = 300.0  # for all of it: a server that sends a byte now and then never times out
MAX_BYTES = 64 << 20
ATTEMPTS = 3
USER_AGENT = "tokembed (a project to learn tokenization with)"


class DownloadError(OSError):
    """The file could not be had; the message has the address and the reason."""


def download(url: str, path: Path, check: Callable[[bytes], object], *, timeout: float = TIMEOUT_SECONDS) -> None:
    """Download `url` to `path` if `check` accepts its bytes.

    `check` raises `ValueError` when they are not what was wanted (an error page, another book). A transfer that is stalled
    (no byte for `timeout` seconds, or not complete after `WHOLE_SECONDS`), short or refused is a `DownloadError`; what may
    pass is tried again first, `ATTEMPTS` times in all. Whatever happens, `path` holds the whole checked file or is left as it
    was.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            data = _fetch(url, timeout)
            break
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it is the answer too, and holds the connection
            if attempt == ATTEMPTS or not _is_worth_another_try(error):
                raise DownloadError(f"could not download {url} ({_reason(error)})") from error
            time.sleep(2.0 ** (attempt - 1))
    try:
        check(data)
    except ValueError as error:
        raise DownloadError(f"{url} answered, but not with the file ({error})") from error
    files.write_atomic(path, data)


def _fetch(url: str, timeout: float) -> bytes:
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})
    deadline = time.monotonic() + WHOLE_SECONDS
    with urllib.request.urlopen(request, timeout=timeout) as response:
        length = response.headers.get("Content-Length")
        expected = int(length) if length and length.isdigit() else None
        data = bytearray()
        with tqdm(total=expected, unit="B", unit_scale=True, desc="download", disable=None, leave=False) as bar:
            while part := response.read1(1 << 16):  # what has come, without waiting for the rest of a block
                data += part
                bar.update(len(part))
                if len(data) > MAX_BYTES:
                    raise DownloadError(f"larger than {MAX_BYTES >> 20} MiB")
                if time.monotonic() > deadline:
                    raise DownloadError(f"not complete after {WHOLE_SECONDS:.0f} s")
    if expected is not None and len(data) != expected:
        raise http.client.IncompleteRead(b"", expected - len(data))
    return bytes(data)


def _is_worth_another_try(error: Exception) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code == 429
    if isinstance(error, urllib.error.URLError):  # an unknown host or a refused connection stays so; a time-out may pass
        return isinstance(error.reason, TimeoutError)
    return not isinstance(error, DownloadError)


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended before the whole file had come"
    return str(getattr(error, "reason", None) or error) or type(error).__name__
