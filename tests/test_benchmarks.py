"""The benchmarks' own code: that what is timed is the same work, and that nothing is kept between the timer's ends."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_scripts import SCRIPT, run

from tokembed import BPEModel, BPETokenizerLoader, TrainingConfig, train_skipgram
from tokembed.benchmarks import encoding, ladder, large_texts, matrix, processes, results as results_module, scaling, training
from tokembed.bpe import whole_texts
from tokembed.figures import benchmarks, canvas

OPTIMIZATION = SCRIPT.with_name("visualize_optimization.py")


def test_every_step_of_the_ladder_gives_the_plain_encoders_ids(model: BPEModel, frankenstein: str) -> None:
    text = encoding.first_words(frankenstein, 300) + " Ünknown 未来 naïve x1 未"
    expected = BPETokenizerLoader(model).encode(text)
    for name, make in ladder.steps(model).items():
        assert list(make()(text)) == expected, name


def test_the_ladder_is_measured_from_the_naive_encoder_up(model: BPEModel, frankenstein: str) -> None:
    steps = encoding.climb(model, encoding.first_words(frankenstein, 200), rounds=1)
    assert [step.name for step in steps] == list(ladder.steps(model))
    assert steps[0].over_naive == steps[0].over_previous == 1.0
    product = 1.0
    for step in steps:
        product *= step.over_previous
        assert step.over_naive == pytest.approx(product)


def test_a_step_that_gives_other_ids_is_refused(model: BPEModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder.LocalNames, "encode", lambda self, text: [0])
    with pytest.raises(ValueError, match="'local variables' gives other ids"):
        encoding.climb(model, "a creature", rounds=1)


def test_a_slower_encoder_shows_in_the_numbers(model: BPEModel, pydocs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered between the timer's ends: a sleep in the wrapper comes out whole, in every round."""
    text, encode = pydocs[:20_000], whole_texts.BulkEncoder.encode

    def slow(self: whole_texts.BulkEncoder, *arguments: object) -> object:
        time.sleep(0.05)
        return encode(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(whole_texts.BulkEncoder, "encode", slow)
    (size,) = encoding.measure_sizes(model, [text], naive_up_to=0, rounds=2)
    assert size.array_seconds >= 0.05
    steps = {step.name: step for step in encoding.climb(model, text[:3000], rounds=2)}
    assert steps["threads"].seconds >= 0.05
    assert steps["local variables"].seconds < steps["threads"].seconds


def test_sizes_count_what_a_cache_does(model: BPEModel) -> None:
    (size,) = encoding.measure_sizes(model, ["the sea the sea the ice"], naive_up_to=10, rounds=1)
    assert (size.words, size.pieces, size.distinct_words) == (6, 6, 3)
    assert size.first_pass_rate == pytest.approx(3 / 6)
    assert size.four_passes_rate == pytest.approx(21 / 24)
    assert size.naive_seconds is not None
    assert 300 < size.cache_bytes < 2000


def test_exponents_of_time_are_fitted() -> None:
    runs = [scaling.ScalingRun("x", words, 2e-6 * words**1.2) for words in (1000, 2000, 4000, 8000)]
    assert scaling.exponent(runs) == pytest.approx(1.2)


CELLS = [
    matrix.Cell("code", "r50k_base", case, size, 1.0, ratio, ratio)
    for case, size, ratio in (
        (matrix.NEW, 60, 0.5),
        (matrix.NEW, 64_000, 2.0),
        (matrix.KNOWN, 64_000, 1.0),
        (matrix.FIRST, 9000, 1.5),
    )
]


def test_the_matrix_times_new_texts_and_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gigatoken")
    monkeypatch.setattr(matrix, "text_of", lambda kind: " ".join(f"word{i} {i}" for i in range(20_000)))
    cells = matrix.measure("numbers", matrix.OWN, sizes=[60, 1000], rounds=1)
    assert [(cell.case, cell.size) for cell in cells if cell.size != len(matrix.text_of("")) // 2] == [
        (matrix.NEW, 60), (matrix.KNOWN, 60), (matrix.NEW, 1000), (matrix.KNOWN, 1000), (matrix.IN_BATCH, matrix.BATCH),
    ]  # fmt: skip
    assert all(cell.seconds > 0 and cell.ratio == cell.peer_seconds / cell.seconds for cell in cells)


def test_the_matrix_tells_its_worst_cell() -> None:
    shown = results_module.TABLES["matrix"]({"tokenizer": {"matrix": [asdict(cell) for cell in CELLS]}})
    assert "1 below 0.7" in shown
    assert "the worst 0.50 (code, r50k_base, new text, 60 characters)" in shown
    assert "Ahead of gigatoken in 3 of 4 cells" in benchmarks.plot_matrix(
        [asdict(c) | {"ratio": c.ratio} for c in CELLS]
    ).get_title(loc="left")


def test_a_large_text_is_learned_from_and_encoded_beside_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gigatoken")
    for module in (large_texts, matrix):
        monkeypatch.setattr(module, "text_of", lambda kind: "some words of a text, and others. " * 300)
    monkeypatch.setattr(large_texts, "NUM_MERGES", (20, 30))
    runs = [*large_texts.measure_large("code", 30_000, [matrix.OWN], rounds=1)]
    assert [run.task for run in runs] == ["learn 20", "learn 30", matrix.OWN]
    assert all(run.num_bytes >= 30_000 and run.num_distinct > 9 and run.ratio > 0 for run in runs)
    shown = results_module.TABLES["large_texts"](
        {"large_texts": {"runs": [asdict(run) | {"ratio": run.ratio} for run in runs]}}
    )
    assert shown.count("\n") == 3
    assert f"({runs[1].ratio:.2f})" in shown


@pytest.fixture
def results(model: BPEModel, frankenstein: str) -> dict[str, object]:
    steps = encoding.climb(model, "a small text of some words", rounds=1)
    sizes = encoding.measure_sizes(model, [frankenstein[:2000], frankenstein[:9000]], naive_up_to=500, rounds=1)
    return {
        "machine": {"processor": "a processor", "cores": 2, "python": "3.11", "commit": "abc"},
        "text": {"name": "a text", "bytes": 10_000_000},
        "ladder": [asdict(step) for step in steps],
        "sizes": [asdict(size) for size in sizes],
        "matrix": [asdict(cell) for cell in CELLS],
        "encoders": [
            {"vocabulary": "a", "case": "cold", "timings": [{"name": "tokembed", "median": 0.02}]},
            {
                "vocabulary": "b",
                "case": "cold",
                "timings": [{"name": "tokembed", "median": 0.03}, {"name": "a peer", "median": 0.3}],
            },
        ],
    }


def test_results_are_drawn_from_their_file(tmp_path: Path, results: dict[str, object]) -> None:
    source = tmp_path / "results.json"
    source.write_text(json.dumps(results))
    done = run(tmp_path, "--results", source, "--output-dir", tmp_path / "plots", script=OPTIMIZATION)
    assert done.returncode == 0, done.stderr
    for name in ("tokenizer_optimization_results", "optimization_breakdown"):
        with Image.open(tmp_path / "plots" / f"{name}.png") as image:
            assert image.width == 1200


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '{"machine": 1}'])
def test_without_results_the_command_that_makes_them_is_named_or_the_fault(tmp_path: Path, content: str | None) -> None:
    source = tmp_path / "results.json"
    if content is not None:
        source.write_text(content)
    done = run(tmp_path, "--results", source, script=OPTIMIZATION)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert ("benchmark_tokenizer.py makes them" if content is None else "holds no results") in done.stderr


def test_scaling_is_measured_and_drawn(tmp_path: Path) -> None:
    done = run(
        tmp_path, "--dataset", "pydocs", "--num-merges", "300", "--rounds", "1", script=SCRIPT.with_name("benchmark_scaling.py")
    )
    assert done.returncode == 0, done.stderr
    saved = json.loads((tmp_path / "visualizations/plots/01_tokenization/benchmark_scaling.json").read_text())
    assert len(saved["runs"]) == 12
    assert set(saved["exponents"]) == {"learning merges", "encoding", "training, an epoch"}
    assert (tmp_path / "visualizations/plots/01_tokenization/scaling.png").is_file()
    canvas.save(benchmarks.plot_scaling(saved["runs"], saved["exponents"]), tmp_path, "again", "")


def test_a_loss_on_other_text_moves_no_vector_and_is_that_of_the_vectors() -> None:
    ids = np.random.default_rng(0).integers(0, 50, 4000).astype(np.int32)
    result = train_skipgram(ids, 50, TrainingConfig(epochs=1, embedding_dim=16, workers=1))
    before = result.target_vectors.copy()
    assert training.loss_on(ids[:1000], result) == training.loss_on(ids[:1000], result)
    assert np.array_equal(result.target_vectors, before)
    blank = replace(result, target_vectors=np.zeros_like(before), context_vectors=np.zeros_like(before))
    assert training.loss_on(ids, blank) == pytest.approx(11 * np.log(2), rel=0.03), "less where a negative is the positive"


def test_a_repeated_text_has_a_tenth_of_its_tokens_replaced_by_others_of_it() -> None:
    ids = np.arange(3000, dtype=np.int32)
    long = processes.repeated(ids).reshape(-1, ids.size)
    assert (long != ids).mean() == pytest.approx(0.1, abs=0.01)
    assert np.isin(long, ids).all()


@pytest.mark.parametrize("numbers", [["1"], pytest.param(["1", "2"], marks=pytest.mark.endurance)])
def test_processes_are_measured_beside_threads_on_the_same_parts(tmp_path: Path, numbers: list[str]) -> None:
    flags = ("--dataset", "pydocs", "--num-merges", "300", "--rounds", "1", "--numbers", *numbers)
    done = run(tmp_path, *flags, script=SCRIPT.with_name("benchmark_processes.py"))
    assert done.returncode == 0, done.stderr
    (saved,) = tmp_path.rglob("benchmark_processes_pydocs.json")
    runs = [processes.ProcessesRun(**each) for each in json.loads(saved.read_text())["runs"]]
    assert [run.name for run in runs] == 2 * [each.name for each in processes.contenders([int(number) for number in numbers])]
    assert runs[-1].num_tokens == 10 * runs[0].num_tokens
    assert all(row[3:5] != ["", ""] for row in processes.rows(runs) if "processes" in row[1])
    assert all(math.isfinite(run.held_out_loss or math.nan) for run in runs)
