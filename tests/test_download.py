from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from test_corpus import BOOK, EDITIONS

from tokembed import files, load_corpus
from tokembed.corpora import download as downloads, sources as corpora
from tokembed.corpora.corpus import CorpusNotFoundError

PAGE = EDITIONS["as it is today"].encode()
OTHER_BOOK = PAGE.replace(b"Letter 1", b"Chapter 1").replace(b"FRANKENSTEIN", b"DRACULA")


class Handler(BaseHTTPRequestHandler):
    """Answers by path; `/flaky` fails once first."""

    requests: ClassVar[list[str]] = []
    release = threading.Event()

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path == "/flaky" and self.requests.count("/flaky") == 1:
            self.send_error(503)
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/book")
            self.end_headers()
            return
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
            return
        bodies = {"/page": b"<html>Frankenstein has moved</html>", "/other": OTHER_BOOK, "/half": PAGE[: len(PAGE) // 2]}
        body = bodies.get(self.path, PAGE)
        self.send_response(200)
        if self.path != "/unmeasured":
            self.send_header("Content-Length", str(len(body) + (1000 if self.path == "/boast" else 0)))
        self.end_headers()
        if self.path == "/drip":
            for byte in body:
                self.wfile.write(bytes([byte]))
                if self.release.wait(0.02):
                    return
        self.wfile.write(body[: len(body) // 2] if self.path in ("/short", "/stall") else body)
        if self.path == "/stall":
            self.wfile.flush()
            self.release.wait(10)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Handler.requests.clear()
    Handler.release.clear()
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        Handler.release.set()
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize("page", ["/book", "/moved", "/flaky", "/unmeasured"])
def test_the_book_is_downloaded_cleaned_and_kept(server: str, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "GUTENBERG_URL", server + page)
    assert load_corpus("frankenstein").text == BOOK
    assert (files.raw_dir() / "pg84.txt").read_bytes() == PAGE
    assert (files.raw_dir() / "frankenstein.txt").read_text() == BOOK
    asked = len(Handler.requests)
    assert load_corpus("frankenstein").text == BOOK
    assert len(Handler.requests) == asked


@pytest.mark.parametrize(
    ("page", "reason", "tries"),
    [
        ("/short", "ended before", 3),
        ("/boast", "ended before", 3),
        ("/half", "not with the file", 1),
        ("/other", "not with the file", 1),
        ("/drip", "not complete after 1 s", 1),
        ("/loop", "infinite loop", 1),
        ("/stall", "timed out", 3),
        ("/page", "not with the file", 1),
        ("/missing", "Not Found", 1),
    ],
)
def test_what_is_not_the_whole_book_never_becomes_a_corpus(
    server: str, page: str, reason: str, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "GUTENBERG_URL", server + page)
    monkeypatch.setattr(downloads.download, "__kwdefaults__", {"timeout": 0.2})
    monkeypatch.setattr(downloads, "WHOLE_SECONDS", 1.0)
    with pytest.raises(CorpusNotFoundError, match=reason) as caught:
        load_corpus("frankenstein")
    assert "pg84.txt" in str(caught.value)
    assert len(Handler.requests) == tries or page == "/loop"
    assert not files.raw_dir().exists() or not list(files.raw_dir().iterdir())


def test_an_unreachable_host_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(downloads.DownloadError, match="could not download"):
        downloads.download("http://127.0.0.1:9/book", tmp_path / "book.txt", check=len)
    assert not list(tmp_path.glob("*.txt"))
