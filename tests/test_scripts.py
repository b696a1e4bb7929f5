"""The scripts: what they print, what they write, how they fail.

They run in this process, as their last lines run them (`scripts.run`); a process of their own shows what only one can: its exit
status to the shell, pipes, what it imports.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import RAW, REPOSITORY, raw_file
from PIL import Image
from scripts import (
    CROSS_DOMAIN,
    EVALUATE,
    EVERY_SCRIPT,
    PRELUDE,
    SCRIPT,
    TOKENIZER,
    TRAIN_BPE,
    VISUALIZE_MERGES,
    files_in,
    run,
    run_in_process_of_its_own,
    start,
)

from tokembed import BPETokenizerLoader, Embeddings, TrainingConfig, cli, load_corpus, train_bpe, workspace
from tokembed.corpora import sources as corpus_module


def test_the_main_job_trains_reports_and_saves(tmp_path: Path) -> None:
    raw_file("pg84.txt")
    done = run(tmp_path, "--epochs", "2", raw=RAW)
    assert (done.returncode, done.stderr) == (0, "")
    assert "5,000 merges" in done.stdout
    assert "94,983" in done.stdout
    assert "nearest neighbours" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("saved")
    assert files_in(tmp_path) == {
        "frankenstein.txt", "frankenstein_bpe_5000.json", "frankenstein_bpe_5000.ids.npy", "frankenstein.safetensors",
    }  # fmt: skip
    embeddings = Embeddings.load(tmp_path / "models/checkpoints/01_tokenization/frankenstein.safetensors")
    assert embeddings.similarity("mother", "father") > embeddings.similarity("mother", "of")

    again = run(tmp_path, "--epochs", "1", raw=RAW)
    assert again.stdout.count("cached in") == 2
    other = run(tmp_path, "--epochs", "1", "--num-merges", "300", raw=RAW)
    assert "cached in" not in other.stdout


def test_without_a_dataset_or_a_network_the_embedded_corpus_stands_in_loudly(tmp_path: Path) -> None:
    done = run(tmp_path, "--epochs", "1")
    assert done.returncode == 0
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert len(warnings) == 1
    assert "PYDOCS" in warnings[0]
    assert "corpus     pydocs" in done.stdout
    assert (tmp_path / "models/checkpoints/01_tokenization/pydocs.safetensors").is_file()


@pytest.mark.parametrize(("dataset", "hint"), [("frankenstein", "pg84.txt"), ("wikitext2", "wikitext2/train.txt")])
def test_a_dataset_asked_for_and_not_to_be_had_is_an_error_that_says_where_to_put_it(
    tmp_path: Path, dataset: str, hint: str
) -> None:
    done = run(tmp_path, "--dataset", dataset)
    assert done.returncode == 2
    assert hint in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert files_in(tmp_path) == set()


BAD_FILES = {
    "missing.txt": None,
    "empty.txt": b"",
    "blank.txt": b"\n \n",
    "binary.txt": bytes(range(256)) * 10,
    "latin1.txt": "déjà vu ".encode("latin-1") * 100,
    "one_word.txt": b"word",
    "repeated.txt": b"word " * 1000,
}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--dataset", "shakespeare"],
        *(["--dataset", name] for name in BAD_FILES),
        ["--embedding-dim", "0"],
        ["--epochs", "-1"],
        ["--learning-rate", "nan"],
        ["--window-size", "0"],
        ["--num-merges", "-5"],
        ["--max-tokens", "0"],
        ["--device", "cuda"],
        ["--device", "abacus"],
        ["--engine", "steam"],
        ["--epochs", "many"],
        ["--dataset", ""],
        ["--output-dir", ""],
        ["--no-such-flag"],
    ],
    ids=" ".join,
)
def test_a_users_mistake_is_one_line_and_status_2_and_leaves_nothing(tmp_path: Path, arguments: list[str]) -> None:
    for name, content in BAD_FILES.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    before = files_in(tmp_path)
    done = run(tmp_path, *(arguments if "--dataset" in arguments else ["--dataset", "pydocs", *arguments]))
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith(("usage:", " ", "compiling"))]
    assert len(lines) == 1, done.stderr
    assert "error: " in lines[0]
    assert not {name for name in files_in(tmp_path) - before if name.endswith((".safetensors", ".tmp"))}


@pytest.mark.parametrize(
    ("script", "arguments", "status", "message"),
    [
        (TRAIN_BPE, ("--show-steps", "1", "--text", "low lower"), 0, ""),
        (SCRIPT, ("--no-such-flag",), 2, "error: unrecognized arguments: --no-such-flag (--help lists the flags)\n"),
        (SCRIPT, ("--dataset", "pydocs", "--epochs", "-1"), 2, "error: "),
        (VISUALIZE_MERGES, ("--dataset", "pydocs", "--output-dir", "file/deeper"), 1, "error: "),
    ],
    ids=["done", "mistyped", "a setting that cannot be", "the disk's fault"],
)
def test_the_shell_sees_the_status_and_one_line(
    tmp_path: Path, script: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    """The four ways out but `Ctrl-C`, which test_faults.py presses; the many cases of each are tried in this process."""
    (tmp_path / "file").write_text("in the way")
    done = run_in_process_of_its_own(tmp_path, *arguments, script=script)
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == bool(message)
    assert files_in(tmp_path) == {"file"}


@pytest.mark.parametrize("script", EVERY_SCRIPT, ids=lambda path: path.name)
def test_a_mistyped_flag_is_one_line_and_status_2(tmp_path: Path, script: Path) -> None:
    done = run(tmp_path, "--no-such-flag", script=script)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unrecognized arguments: --no-such-flag (--help lists the flags)\n"


def test_help_tells_both_defaults_of_what_follows_the_size_of_the_text(tmp_path: Path) -> None:
    told = " ".join(run(tmp_path, "--help").stdout.split())
    for name, small in cli.SMALL_TEXT.training.items():
        assert f"(default: {getattr(TrainingConfig, name)}; {small} for a text of up to 2 M characters)" in told
    assert f"default: {cli.SMALL_TEXT.tokens['num_merges']}; 10000 for a text over 2 M characters" in told
    merges_only = " ".join(run(tmp_path, "--help", script=TRAIN_BPE).stdout.split())
    assert "default: 2000; 10000 for a text over 2 M characters" in merges_only


@pytest.mark.parametrize("script", EVERY_SCRIPT, ids=lambda path: path.name)
def test_a_script_that_learns_merges_takes_all_settings_of_learning(tmp_path: Path, script: Path) -> None:
    done = run(tmp_path, "--help", script=script)
    learns = script.name == "report.py" or "--num-merges" in done.stdout
    assert ("--min-frequency" in done.stdout, "--no-lowercase" in done.stdout) == (learns, learns)


@pytest.mark.parametrize("flag", [("--no-lowercase",), ("--min-frequency", "3"), ("--epochs", "3"), ("--num-merges", "9")])
def test_what_only_trainings_heed_is_refused_where_vectors_are_looked_at(tmp_path: Path, flag: tuple[str, ...]) -> None:
    done = run(tmp_path, "--dataset", "pydocs", *flag, script=SCRIPT.with_name("visualize_embeddings.py"))
    assert (done.returncode, done.stdout) == (2, "")
    assert flag[0] in done.stderr
    assert "--dimensions" in done.stderr


def test_an_output_folder_that_cannot_be_written_is_status_1_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run(tmp_path, "--dataset", "pydocs", "--output-dir", tmp_path / "file" / "deeper")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert "tokenizer" not in done.stdout


def test_damaged_and_stale_caches_are_rebuilt(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("the cat saw the dog and the dog saw the cat . " * 50)
    arguments = ["--dataset", mine, "--epochs", "1", "--num-merges", "20"]
    assert run(tmp_path, *arguments).returncode == 0
    kept = tmp_path / "data/processed/01_tokenization"
    tokenizer, ids = kept / "mine_bpe_20.json", kept / "mine_bpe_20.ids.npy"

    good = tokenizer.read_text()
    tokenizer.write_text(good[:200])
    done = run(tmp_path, *arguments)
    assert (done.returncode, tokenizer.read_text()) == (0, good)
    assert "the kept tokenizer is damaged" in done.stderr

    whole = ids.read_bytes()
    ids.write_bytes(whole[: len(whole) // 2])
    assert run(tmp_path, *arguments).returncode == 0
    assert ids.read_bytes() == whole

    mine.write_text("the dog saw a bird . " * 50)  # another text under the same name
    done = run(tmp_path, *arguments)
    assert done.returncode == 0
    assert "cached in" not in done.stdout
    assert ids.read_bytes() != whole


def test_an_interrupted_run_keeps_its_epochs_and_resumes(tmp_path: Path) -> None:
    arguments = ["--dataset", "pydocs", "--epochs", "20", "--workers", "1", "--num-merges", "300", "--embedding-dim", "50"]
    job = start(tmp_path, *arguments)
    assert job.stdout is not None
    for line in job.stdout:
        if line.startswith(b"  2/20"):
            job.send_signal(signal.SIGINT)
            break
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 130
    assert b"--resume continues" in errors
    done = run(tmp_path, *arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert "resuming   after epoch" in done.stdout
    assert "\n  1/20" not in done.stdout
    saved = tmp_path / "models/checkpoints/01_tokenization/pydocs.safetensors"
    resumed = Embeddings.load(saved).vectors
    assert run(tmp_path, *arguments).returncode == 0
    assert np.array_equal(Embeddings.load(saved).vectors, resumed)
    refused = run(tmp_path, *arguments, "--resume", "--window-size", "3")
    assert (refused.returncode, "window_size was 10 and is 3 now" in refused.stderr) == (2, True)


# For each script that is named: what it prints for --help, and which of the heavy packages are there by then.
HELP = """
import contextlib, io, json, runpy, sys
found = {}
for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        runpy.run_path(script, run_name="__main__")
    found[script] = printed.getvalue(), sorted({"numpy", "torch", "matplotlib"} & set(sys.modules))
print(json.dumps(found))
"""


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", HELP, *map(str, EVERY_SCRIPT)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert list(found) == [str(script) for script in EVERY_SCRIPT]
    for script, (printed, heavy) in found.items():
        assert heavy == [], f"{script}: something heavy was imported for --help"
        assert "uv run" in printed, script
    flags = ("--dataset", "--num-merges", "--embedding-dim", "--batch-size", "--workers", "--output-dir", "--max-tokens")
    assert all(flag in found[str(SCRIPT)][0] for flag in flags)


def test_a_reader_who_leaves_early_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -c '{PRELUDE}' {SCRIPT} --dataset pydocs --epochs 1 | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


# ---------------------------------------------------------------- phase 1


def test_merges_are_learned_shown_and_saved(tmp_path: Path) -> None:
    done = run(tmp_path, "--dataset", "pydocs", "--num-merges", "300", script=TRAIN_BPE)
    assert (done.returncode, "the first merges" in done.stdout, "alphabet" in done.stdout) == (0, True, True)
    assert files_in(tmp_path) == {"pydocs_bpe_300.json"}
    own = run(tmp_path, "--dataset", "pydocs", "--num-merges", "300", "--output", tmp_path / "own.json", script=TRAIN_BPE)
    assert own.returncode == 0
    assert BPETokenizerLoader(tmp_path / "own.json").tokenize("function") == ["function</w>"]


def test_steps_are_printed_as_a_textbook_does(tmp_path: Path) -> None:
    done = run(tmp_path, "--show-steps", "2", "--text", "low low lower", script=TRAIN_BPE)
    assert "merge 1: l + o -> lo, the most frequent pair: 3 times" in done.stdout
    assert "2 x  l o w </w>  ->  lo w </w>" in done.stdout
    assert files_in(tmp_path) == set()
    assert "0 merges of 9" in run(tmp_path, "--show-steps", "9", "--text", "x", script=TRAIN_BPE).stdout
    assert run(tmp_path, "--text", "x", script=TRAIN_BPE).returncode == 2


def test_merges_are_pictured_with_their_tables(tmp_path: Path) -> None:
    done = run(
        tmp_path, "--dataset", "pydocs", "--num-merges", "300", "--output-dir", tmp_path / "plots", script=VISUALIZE_MERGES
    )
    assert done.returncode == 0, done.stderr
    names = ("merge_progression", "token_lengths", "top_subwords")
    assert files_in(tmp_path / "plots") == {name + suffix for name in names for suffix in (".png", ".csv")}
    rows = (tmp_path / "plots" / "merge_progression.csv").read_text().splitlines()
    assert rows[0] == "merges,tokens_per_word"
    assert len(rows) == 302


# ---------------------------------------------------------------- phase 2


def test_the_test_sentences_are_made_and_shown(tmp_path: Path) -> None:
    done = run(tmp_path, "--dataset", "pydocs", script=TOKENIZER)
    assert done.returncode == 0, done.stderr
    assert "Victor felt overwhelming remorse for his creation." in done.stdout
    assert "test_sentences.txt" in files_in(tmp_path)
    assert "\x1b" not in done.stdout


def test_texts_come_from_arguments_a_file_or_standard_input(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a function\n", encoding="utf-8")
    common = ("--dataset", "pydocs", "--num-merges", "500")
    outputs = {
        run(tmp_path, "a function", *common, script=TOKENIZER).stdout,
        run(tmp_path, "--file", "mine.txt", *common, script=TOKENIZER).stdout,
        run(tmp_path, "-", *common, script=TOKENIZER, given=b"a function\n").stdout,
    }
    assert len(outputs) == 1
    assert "a</w>|function</w>" in outputs.pop()


def test_tokens_are_given_in_colour_as_json_and_as_a_page(tmp_path: Path) -> None:
    common = ("未 function", "--dataset", "pydocs", "--num-merges", "500")
    assert "\x1b[30;48;5;" in run(tmp_path, *common, "--color", "always", script=TOKENIZER).stdout
    data = json.loads(run(tmp_path, *common, "--json", "--html", tmp_path / "t.html", script=TOKENIZER).stdout)
    assert data["tokens"][-1]["token"] == "function</w>"
    assert "function&lt;/w&gt;" in (tmp_path / "t.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (("-",), b""),
        (("-",), b" \n\n"),
        (("-",), b"caf\xe9"),
        (("-",), b"\x00\x01"),
        (("--file", "none.txt"), b""),
        (("text", "--file", "none.txt"), b""),
        (("text", "--num-merges", "0"), b""),
    ],
)
def test_what_is_no_text_is_one_line_and_status_2(tmp_path: Path, arguments: tuple[str, ...], given: bytes) -> None:
    done = run(tmp_path, *arguments, "--dataset", "pydocs", script=TOKENIZER, given=given)
    assert done.returncode == 2
    assert len([line for line in done.stderr.splitlines() if "error: " in line]) == 1
    assert "Traceback" not in done.stderr


def test_kinds_of_text_and_vocabulary_sizes_are_compared(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text(load_corpus("pydocs").text[:120_000], encoding="utf-8")
    done = run(tmp_path, "--dataset", mine, "--num-merges", "500", "--output-dir", tmp_path / "plots", script=CROSS_DOMAIN)
    assert done.returncode == 0, done.stderr
    names = ("cross_domain", "vocabulary_efficiency", "pathological")
    assert files_in(tmp_path / "plots") == {name + suffix for name in names for suffix in (".png", ".csv")}
    assert "未来世界" in done.stdout
    rows = (tmp_path / "plots" / "vocabulary_efficiency.csv").read_text().splitlines()[1:]
    tokens = [float(row.split(",")[1]) for row in rows]
    assert tokens == sorted(tokens, reverse=True)
    (tmp_path / "tiny.txt").write_text("x")
    assert run(tmp_path, "--dataset", tmp_path / "tiny.txt", script=CROSS_DOMAIN).returncode == 2


@pytest.mark.parametrize("splitting", ["gpt2", "o200k"])
def test_both_scripts_learn_by_another_splitting_rule(tmp_path: Path, splitting: str) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("The cat saw the dog. " * 400, encoding="utf-8")
    flags = ("--dataset", mine, "--num-merges", "30", "--splitting", splitting)
    shown = run(tmp_path, "The cat saw  the dog", *flags, script=TOKENIZER)
    assert (shown.returncode, "The|␣cat|␣saw|␣  |␣the|␣dog" in shown.stdout) == (0, True), shown.stdout
    compared = run(tmp_path, *flags, "--output-dir", tmp_path / "plots", script=CROSS_DOMAIN)
    assert (compared.returncode, f"split as {splitting}." in compared.stdout) == (0, True), compared.stderr
    assert "|:|/|/|" in compared.stdout


VOCABULARIES = ("r50k_base", "cl100k_base", "o200k_base")


def test_a_text_is_shown_beside_the_cuts_of_published_vocabularies(tmp_path: Path) -> None:
    raw_file("vocabularies/o200k_base.tiktoken")
    copy = shutil.copy(raw_file("vocabularies/r50k_base.tiktoken"), tmp_path / "mine.tiktoken")
    common = ("It's 12345 未来", "--dataset", "pydocs", "--num-merges", "500", "--html", tmp_path / "t.html", "--compare")
    done = run(tmp_path, *common, copy, *VOCABULARIES[1:], raw=RAW, script=TOKENIZER)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "It's 12345 未来"
    assert [line.partition("  ")[0] for line in lines if re.match(r"\w.*, ", line)][:4] == [
        "pydocs, 500 merges", "GPT-2, r50k_base", "GPT-4, cl100k_base", "GPT-4o, o200k_base",
    ]  # fmt: skip
    assert "It  |'s |␣123 |45  |␣<0xE6><0x9C>|" in done.stdout
    assert "It's |␣  |123 |45  |␣  |未来" in done.stdout
    page = (tmp_path / "t.html").read_text(encoding="utf-8")
    assert all(title in page for title in ("GPT-2, r50k_base: 8 tokens", "GPT-4o, o200k_base: 6 tokens"))


@pytest.mark.parametrize("script", [TOKENIZER, CROSS_DOMAIN])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "gpt5",
            "error: 'gpt5' is neither a published vocabulary (r50k_base, cl100k_base, o200k_base) nor the rank file of one",
        ),
        ("r50k_base", "error: r50k_base: could not download"),
    ],
    ids=["unknown", "not to be had"],
)
def test_a_vocabulary_that_cannot_be_had_is_one_line_and_status_2(
    tmp_path: Path, script: Path, name: str, message: str
) -> None:
    done = run(tmp_path, "--dataset", "pydocs", "--compare", name, script=script)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(message)
    assert "--dataset" not in done.stderr, "another corpus is no help"
    assert name == "gpt5" or done.stderr.endswith("r50k_base.tiktoken\n"), "where to put it"


def test_the_costs_of_published_vocabularies_are_drawn_and_told(tmp_path: Path) -> None:
    raw_file("vocabularies/cl100k_base.tiktoken")
    mine = tmp_path / "mine.txt"
    mine.write_text(load_corpus("pydocs").text[:30_000], encoding="utf-8")
    flags = ("--dataset", mine, "--output-dir", tmp_path / "plots", "--compare", "cl100k_base")
    done = run(tmp_path, *flags, raw=RAW, script=CROSS_DOMAIN)
    assert done.returncode == 0, done.stderr
    assert {"vocabulary_costs.png", "vocabulary_costs.csv"} < files_in(tmp_path / "plots")
    assert "vocabulary_costs (.png, .csv)" in done.stdout
    assert "GPT-4 has" in done.stdout
    rows = (tmp_path / "plots" / "vocabulary_costs.csv").read_text().splitlines()
    assert rows[0] == "kind,vocabulary,tokens_per_100_characters"
    assert any(re.fullmatch(r"Chinese,GPT-4,\d+\.\d{3}", row) for row in rows)


@pytest.mark.parametrize("script", [VISUALIZE_MERGES, CROSS_DOMAIN])
def test_a_plots_folder_that_cannot_be_written_is_status_1(tmp_path: Path, script: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run(tmp_path, "--dataset", "pydocs", "--output-dir", tmp_path / "file" / "deeper", script=script)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)


def test_the_training_benchmark_runs_both_trainers(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text(load_corpus("pydocs").text[:60_000], encoding="utf-8")
    script = REPOSITORY / "phase3_embeddings" / "benchmark_training.py"
    done = run(tmp_path, "--dataset", mine, "--num-merges", "200", "--rounds", "2", "--epochs", "1", script=script)
    assert done.returncode == 0, done.stderr
    (saved,) = tmp_path.rglob("benchmark_training_mine.json")
    runs = json.loads(saved.read_text())["runs"]
    assert [run["name"] for run in runs] == ["tokembed", "gensim"] * 2
    # Both count the pairs of the same rule; subsampling and windows are drawn afresh.
    assert runs[0]["pairs_per_token"] == pytest.approx(runs[1]["pairs_per_token"], rel=0.02)


@pytest.mark.parametrize(
    ("flag", "names"),
    [
        ("--presets", {"fast", "balanced", "best"}),
        ("--sweep", {"2 negatives", "window 10"}),
        ("--batches", {"threads", "torch, batch 8,192"}),
    ],
)
def test_the_training_benchmark_compares_settings(tmp_path: Path, flag: str, names: set[str]) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text(load_corpus("pydocs").text[:40_000], encoding="utf-8")
    script = REPOSITORY / "phase3_embeddings" / "benchmark_training.py"
    flags = ("--dataset", mine, "--num-merges", "200", "--rounds", "2", "--epochs", "1", "--embedding-dim", "16")
    done = run(tmp_path, *flags, flag, script=script)
    assert done.returncode == 0, done.stderr
    (saved,) = tmp_path.rglob(f"benchmark_{flag[2:]}_mine.json")
    runs = json.loads(saved.read_text())["runs"]
    assert names <= {run["name"] for run in runs}
    assert all(sum(run["name"] == name for run in runs) == 2 for name in names)
    assert all(run["loss"] > 0 for run in runs)


def test_the_training_benchmark_times_large_tables_beside_gensims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokembed.benchmarks.training.LARGE_VOCABULARY", 3000)
    script = REPOSITORY / "phase3_embeddings" / "benchmark_training.py"
    done = run(tmp_path, "--large", "--rounds", "2", "--epochs", "1", "--embedding-dim", "16", script=script)
    assert done.returncode == 0, done.stderr
    (saved,) = tmp_path.rglob("benchmark_large.json")
    runs = json.loads(saved.read_text())["runs"]
    assert [run["name"] for run in runs] == ["tokembed", "gensim"] * 2
    assert all(run["tokens_per_second"] > 0 for run in runs)
    assert "times as fast, the median of 2 turns" in done.stdout


def test_vectors_are_trained_by_a_preset_and_scored(tmp_path: Path) -> None:
    flags = ("--dataset", "pydocs", "--preset", "best", "--num-merges", "1500", "--epochs", "1", "--vocabulary-threshold", "20")
    done = run(tmp_path, *flags)
    assert done.returncode == 0, done.stderr
    assert "1,500 merges" in done.stdout, "what is given wins over the preset"
    assert "3 negatives" in done.stdout
    assert "none merged that occurs less than 20 times" in done.stdout
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("list\ttuple\t9\nclass\tfunction\t5\nobject\tunheard\t1\n")
    questions = tmp_path / "questions.txt"
    questions.write_text(": plural\nobject objects class classes\n")
    done = run(tmp_path, "--dataset", "pydocs", "--word-pairs", pairs, "--analogies", questions, script=EVALUATE)
    assert done.returncode == 0, done.stderr
    assert "no AUC" in done.stdout, "help texts have none of the words"
    assert "3 of 3 pairs, 2 of words with a token each" in done.stdout
    synonyms = tmp_path / "synonyms.tsv"
    synonyms.write_text("class\ttype\nfunction\tmethod\n")
    assert "synonyms   AUC 0." in run(tmp_path, "--dataset", "pydocs", "--synonyms", synonyms, script=EVALUATE).stdout
    assert "of 1 questions" in done.stdout


def test_vectors_that_all_point_one_way_are_said_to_be_noise_and_not_shown_as_a_result(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text(" ".join(load_corpus("pydocs").text.split()[:300]), encoding="utf-8")
    said = "on average): too little text, or too few epochs"
    trained = run(tmp_path, "--dataset", "short.txt", "--preset", "balanced")
    assert re.search(r"nearest neighbours: none to show, since all cosines are near 1 \((0\.99|1\.00)\d ", trained.stdout)
    assert said in trained.stdout
    scored = run(tmp_path, "--dataset", "short.txt", script=EVALUATE)
    assert said in scored.stdout
    assert "AUC 1" not in scored.stdout
    drawn = run(tmp_path, "--dataset", "short.txt", script=SCRIPT.with_name("visualize_embeddings.py"))
    assert said in drawn.stdout
    pictures = {name for name in files_in(tmp_path) if name.endswith(".png")}
    assert pictures == {"similarity_distribution.png", "training_progress.png"}


@pytest.mark.parametrize("num_epochs", [1, 2])
def test_vectors_that_have_hardly_left_their_random_start_are_said_to_be_noise_and_not_shown(
    tmp_path: Path, num_epochs: int
) -> None:
    (tmp_path / "short.txt").write_text(" ".join(load_corpus("pydocs").text.split()[:300]), encoding="utf-8")
    trained = run(tmp_path, "--dataset", "short.txt", "--epochs", num_epochs, "--workers", "1")
    said = "too little text, or too few epochs"
    assert "nearest neighbours: none to show, since the vectors have hardly left their random start" in trained.stdout
    assert said in trained.stdout
    scored = run(tmp_path, "--dataset", "short.txt", script=EVALUATE)
    assert said in scored.stdout
    assert "AUC 0" not in scored.stdout
    assert "AUC 1" not in scored.stdout
    drawn = run(tmp_path, "--dataset", "short.txt", script=SCRIPT.with_name("visualize_embeddings.py"))
    pictures = list(tmp_path.rglob("*.png"))
    assert {path.stem for path in pictures} == {"similarity_distribution", "training_progress"}, drawn.stdout
    for path in pictures:
        with Image.open(path) as image:
            assert "Noise: the vectors have hardly left their random start" in image.info["Description"]
            assert said in image.info["Description"]


def test_a_file_to_score_by_that_is_not_there_is_named(tmp_path: Path, short_project: Path) -> None:
    shutil.copytree(short_project, tmp_path, dirs_exist_ok=True)
    done = run(tmp_path, "--dataset", "pydocs", "--word-pairs", "nope.tsv", script=EVALUATE)
    assert (done.returncode, done.stderr) == (2, "error: no such file: nope.tsv\n")


def test_vectors_that_no_one_trained_are_named_with_the_command_that_trains_them(tmp_path: Path) -> None:
    done = run(tmp_path, "--dataset", "wikitext2", script=EVALUATE)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "train_embeddings.py --dataset wikitext2" in done.stderr


def test_a_corpus_is_encoded_in_parts_as_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = load_corpus("pydocs").text[:50_000]
    (tmp_path / "mine.txt").write_text(text, encoding="utf-8")
    monkeypatch.setattr(corpus_module, "EAGER_CHARACTERS", 1000)
    monkeypatch.setattr(workspace, "PART_CHARACTERS", 700)
    corpus = load_corpus(tmp_path / "mine.txt")
    tokenizer, path, _ = workspace.tokenizer_for(corpus, 300)
    ids, ids_path, was_kept = workspace.token_ids_for(corpus, tokenizer, path)
    assert "text" not in corpus.__dict__, "the whole text was read"
    assert not was_kept
    assert ids.tolist() == tokenizer.encode(text)
    assert np.load(ids_path).tolist() == ids.tolist()
    assert tokenizer.merges == train_bpe(text, 300).merges
    assert workspace.token_ids_for(corpus, tokenizer, path)[2]


def test_vectors_of_one_text_are_never_shown_as_those_of_another(tmp_path: Path) -> None:
    words = load_corpus("pydocs").text
    for folder, text in (("a", words[:30_000]), ("b", words[30_000:60_000])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.txt").write_text(text, encoding="utf-8")
    train = ("--epochs", "1", "--num-merges", "200", "--embedding-dim", "8")
    assert run(tmp_path, "--dataset", "a/mine.txt", *train).returncode == 0
    assert run(tmp_path, "--dataset", "a/mine.txt", script=EVALUATE).returncode == 0
    for dataset, message in (
        ("b/mine.txt", "another text"),
        ("c/mine.txt", "no such file: c/mine.txt\n"),
        ("frankenstien", "did you mean"),
    ):
        done = run(tmp_path, "--dataset", dataset, script=EVALUATE)
        assert (done.returncode, message in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert run(tmp_path, "--dataset", "b/mine.txt", *train).returncode == 0
    for dataset in ("a/mine.txt", "b/mine.txt"):
        assert run(tmp_path, "--dataset", dataset, script=EVALUATE).returncode == 0, "both are kept"


def test_the_neighbours_that_training_prints_are_those_of_the_saved_vectors(tmp_path: Path) -> None:
    done = run(tmp_path, "--dataset", "pydocs", "--epochs", "6")
    embeddings = Embeddings.load(tmp_path / "models/checkpoints/01_tokenization/pydocs.safetensors")
    assert embeddings.composition is not None, "as is the default for a small text"
    rows = re.findall(r"^  (\w+) +(\w+) (\d\.\d\d) ", done.stdout, re.MULTILINE)
    assert len(rows) == 8
    for query, nearest, score in rows:
        assert f"{embeddings.similarity(query, nearest):.2f}" == score


def test_a_training_of_other_settings_is_kept_and_can_be_gone_on_with(tmp_path: Path) -> None:
    short = ("--dataset", "pydocs", "--num-merges", "200", "--embedding-dim", "8", "--max-tokens", "5000", "--workers", "1")
    folder = tmp_path / "models/checkpoints/01_tokenization"
    assert run(tmp_path, *short, "--epochs", "3").returncode == 0
    first = (folder / "pydocs.safetensors").read_bytes()
    wider = run(tmp_path, *short, "--epochs", "1", "--window-size", "3")
    assert "kept       the earlier training" in wider.stdout
    (aside,) = folder.glob("pydocs--*.safetensors")
    assert aside.read_bytes() == first
    longer = run(tmp_path, *short, "--epochs", "5", "--resume")
    assert longer.returncode == 0, longer.stderr
    assert "after epoch 3" in longer.stdout
    assert "5 epochs where 3 were planned" in longer.stdout
    assert len(list(folder.iterdir())) == 2, "both are kept"
    assert "replacing" in run(tmp_path, *short, "--epochs", "1").stdout
    named = run(tmp_path, *short, "--epochs", "1", "--name", "mine", "--seed", "7")
    assert "replacing" not in named.stdout
    assert "pydocs--mine.safetensors" in run(tmp_path, "--dataset", "pydocs", script=EVALUATE).stdout, "the latest"
    assert run(tmp_path, "--name", "a/b").returncode == 2


def test_a_closed_standard_input_is_one_line(tmp_path: Path) -> None:
    command = f"{sys.executable} -c '{PRELUDE}' {TOKENIZER} --dataset pydocs - <&-"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: standard input is closed: give texts, or --file\n")


def test_a_file_given_in_the_wrong_place_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("low low lower", encoding="utf-8")
    saved = tmp_path / "low.json"
    assert run(tmp_path, "--dataset", "mine.txt", "--no-lowercase", "--output", saved, script=TRAIN_BPE).returncode == 0
    assert "mine_bpe_2000_cased.json" in files_in(tmp_path)
    for arguments, message in (
        (
            ("--dataset", "low.json", "low"),
            "low.json is a tokenizer, not a text to learn from: phase2_analysis/tokenizer.py --tok",
        ),
        (("mine.txt", "--dataset", "mine.txt"), "mine.txt is a file: --file mine.txt shows its lines"),
    ):
        done = run(tmp_path, *arguments, script=TOKENIZER)
        assert (done.returncode, message in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert "low</w>" in run(tmp_path, "--tokenizer", saved, "low", script=TOKENIZER).stdout
    done = run(tmp_path, "--show-steps", "2", "--dataset", "mine.txt", script=TRAIN_BPE)
    assert (done.returncode, "given with --text" in done.stderr) == (2, True)
    assert "did you mean --num-merges?" in run(tmp_path, "--merges", "100", script=TRAIN_BPE).stderr


def test_a_text_without_spaces_between_words_is_said_to_be_one_for_byte_level_rules(tmp_path: Path) -> None:
    (tmp_path / "zh.txt").write_text("未来世界 的 a 人们\n" * 30, encoding="utf-8")
    assert "NOTE: 88% of the letters" in run(tmp_path, "--dataset", "zh.txt", script=TRAIN_BPE).stderr
    assert run(tmp_path, "--dataset", "zh.txt", "--splitting", "gpt2", script=TRAIN_BPE).stderr == ""
