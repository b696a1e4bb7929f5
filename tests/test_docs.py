"""The pages in docs/ tell the truth: their code runs, and prints what they say."""

from __future__ import annotations

import code
import contextlib
import doctest
import io
import re
from pathlib import Path

import pytest
from conftest import RAW, REPOSITORY, has_vocabularies, raw_file

from tokembed import BPEModel
from tokembed.analysis import tokenization

DOCS = REPOSITORY / "docs"
BLOCKS = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


CHAPTERS = re.split(r"^(?=## )", (DOCS / "walkthrough.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
NEEDS_VOCABULARIES = [chapter for chapter in CHAPTERS if "from_tiktoken" in chapter]


def run_chapters(chapters: list[str]) -> int:
    """Run the code of chapters, compare what it prints, and return how many outputs were compared.

    Output marked "for instance" depends on the Python and the processor: of that, the number of lines.
    """
    namespace: dict[str, object] = {}
    printed = ""
    num_compared = 0
    for kind, content in BLOCKS.findall("".join(chapters)):
        if kind == "python":
            assert printed == "", "output that the page does not show"
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(content, namespace)
            printed = output.getvalue()
        elif content.startswith("# for instance\n"):
            assert printed.count("\n") == content.count("\n") - 1
            printed = ""
        else:
            assert printed == content
            printed = ""
            num_compared += 1
    return num_compared


def test_the_walkthrough_runs_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_chapters([chapter for chapter in CHAPTERS if chapter not in NEEDS_VOCABULARIES]) > 10


def test_the_walkthroughs_chapter_on_published_vocabularies_does_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself: the others need no files."""
    if not has_vocabularies():
        pytest.skip("needs the published vocabularies in TOKEMBED_RAW_DIR")
    monkeypatch.setenv("TOKEMBED_RAW_DIR", str(RAW))
    assert len(NEEDS_VOCABULARIES) == 1
    assert run_chapters(NEEDS_VOCABULARIES) > 4


def test_the_api_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = DOCS / "api.md"
    result = doctest.testfile(str(path), module_relative=False, optionflags=doctest.ELLIPSIS, encoding="utf-8")
    assert result.failed == 0
    assert result.attempted > 40


def test_the_api_page_has_every_public_name() -> None:
    import tokembed

    page = (DOCS / "api.md").read_text(encoding="utf-8")
    assert [name for name in tokembed.__all__ if f"`{name}" not in page] == []


def test_the_pages_links_lead_somewhere() -> None:
    pages = [*DOCS.glob("*.md"), *REPOSITORY.glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_walkthrough_has_three_pictures_or_more_and_all_alt_texts_of_the_pages_say_a_finding() -> None:
    for page in [*DOCS.glob("*.md"), REPOSITORY / "README.md"]:
        pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
        assert all(len(alt.split()) >= 10 for alt, _ in pictures), page.name
        assert page.name != "walkthrough.md" or len(pictures) >= 3
        for _, target in pictures:
            assert (page.parent / target).stat().st_size < 500_000, target


def test_the_numbers_in_the_alt_texts_are_those_of_the_novel(frankenstein: str, model: BPEModel) -> None:
    raw_file("pg84.txt")
    stages = tokenization.describe_merge_progression(model, frankenstein).data.stages
    sizes = {count: len(tokens) for count, tokens in stages}
    page = (DOCS / "walkthrough.md").read_text(encoding="utf-8")
    said = f"a sentence of {sizes[0]} tokens has {sizes[47]} after them, {sizes[200]} after 200 merges, and {sizes[2000]} after"
    assert f"![47 merges do half of the work of 2,000: {said} 2,000]" in page


def test_the_walkthroughs_code_can_be_pasted_into_an_interactive_session() -> None:
    """There a block ends at a blank line, and only there."""
    faults: list[str] = []

    class Console(code.InteractiveConsole):
        def runcode(self, _: object) -> None:
            pass

        def write(self, data: str) -> None:
            faults.append(data)

    console = Console()
    for kind, content in BLOCKS.findall((DOCS / "walkthrough.md").read_text(encoding="utf-8")):
        for line in [*content.splitlines(), ""] if kind == "python" else []:
            console.push(line)
    assert faults == []
