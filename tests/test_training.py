from __future__ import annotations

import importlib
import re
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchgen
import yaml
from scripts import SCRIPT, SHORT_JOB, main_of
from torch.utils._python_dispatch import TorchDispatchMode

from tokembed import (
    BPETokenizerLoader,
    Embeddings,
    TrainingConfig,
    TrainingResult,
    cli,
    device as devices,
    files,
    load_corpus,
    select_device,
    train_bpe,
    train_skipgram,
)
from tokembed.analysis.neighbours import nearest_words, neighbour_measure
from tokembed.skipgram import torch_engine, training
from tokembed.skipgram.settings import MAX_BATCH
from tokembed.skipgram.stream import TokenStream
from tokembed.skipgram.torch_engine import TorchEngine
from tokembed.skipgram.training import TrainingDivergedError
from tokembed.vectors.storage import Checkpointer, StreamFacts, load_checkpoint, read_neighbours

SMALL = TrainingConfig(embedding_dim=24, epochs=2, workers=1, engine="hogwild")


@pytest.fixture(scope="module")
def ids(frankenstein: str, tokenizer: BPETokenizerLoader) -> np.ndarray:
    return tokenizer.encode_array(frankenstein)


def test_one_seed_and_one_worker_give_equal_bits(ids: np.ndarray, tokenizer: BPETokenizerLoader) -> None:
    first, second = (train_skipgram(ids[:30_000], tokenizer.vocab_size, SMALL) for _ in range(2))
    assert np.array_equal(first.target_vectors, second.target_vectors)
    assert np.array_equal(first.context_vectors, second.context_vectors)
    assert first.epoch_losses == second.epoch_losses
    other = train_skipgram(ids[:30_000], tokenizer.vocab_size, replace(SMALL, seed=2))
    assert not np.array_equal(first.target_vectors, other.target_vectors)


def test_more_workers_make_the_same_pairs_and_about_the_same_loss(ids: np.ndarray, tokenizer: BPETokenizerLoader) -> None:
    one, four = (train_skipgram(ids, tokenizer.vocab_size, replace(SMALL, workers=workers)) for workers in (1, 4))
    assert one.num_pairs == four.num_pairs
    # Over seeds the last epoch's loss spreads by 0.1 %.
    assert four.epoch_losses[-1] == pytest.approx(one.epoch_losses[-1], rel=0.01)


def test_both_engines_make_as_many_pairs_and_reach_the_same_loss(ids: np.ndarray, tokenizer: BPETokenizerLoader) -> None:
    config = replace(SMALL, epochs=3, batch_size=128)
    hogwild = train_skipgram(ids, tokenizer.vocab_size, config)
    batches = train_skipgram(ids, tokenizer.vocab_size, replace(config, engine="torch", device="cpu"))
    assert np.sum(batches.num_pairs) == pytest.approx(np.sum(hogwild.num_pairs), rel=0.01)
    # At the default settings and five epochs they differ by 0.35 %; these fewer and smaller ones have not settled as far.
    assert batches.epoch_losses[-1] == pytest.approx(hogwild.epoch_losses[-1], rel=0.015)


@pytest.mark.parametrize("engine", ["hogwild", "torch"])
def test_training_lowers_the_loss_and_brings_companions_together(engine: str) -> None:
    """Two groups of tokens that never meet: vectors within a group end closer than across."""
    random = np.random.default_rng(0)
    runs = [random.integers(0, 5, 20) + 5 * random.integers(0, 2) for _ in range(400)]
    stream = np.concatenate(runs)
    config = TrainingConfig(
        embedding_dim=8,
        epochs=8,
        window_size=3,
        num_negative_samples=4,
        batch_size=64,
        subsample=0,
        workers=1,
        engine=engine,
        device="cpu",
    )
    result = train_skipgram(stream, 11, config)
    assert result.epoch_losses[-1] < 0.97 * result.epoch_losses[0]
    vectors = result.target_vectors[:10]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    within = np.mean([cosines[:5, :5].mean(), cosines[5:, 5:].mean()])
    assert within > cosines[:5, 5:].mean() + 0.5
    assert result.counts[10] == 0
    assert result.tokens_per_second > 0 < result.pairs_per_second


def test_pairs_are_those_that_windows_and_subsampling_leave(ids: np.ndarray, tokenizer: BPETokenizerLoader) -> None:
    """A window uniform in 1..W makes W + 1 pairs a kept token; each token is kept by its keep probability."""
    result = train_skipgram(ids, tokenizer.vocab_size, replace(SMALL, epochs=1))
    from tokembed.skipgram.sampling import keep_probability

    kept = (result.counts * keep_probability(result.counts, SMALL.subsample)).sum()
    assert result.num_pairs[0] == pytest.approx(kept * (SMALL.window_size + 1), rel=0.01)


def test_a_read_only_memory_map_is_trained_from(tmp_path: Any, ids: np.ndarray, tokenizer: BPETokenizerLoader) -> None:
    np.save(tmp_path / "ids.npy", ids[:20_000])
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    expected = train_skipgram(ids[:20_000], tokenizer.vocab_size, SMALL)
    assert np.array_equal(train_skipgram(mapped, tokenizer.vocab_size, SMALL).target_vectors, expected.target_vectors)


def test_on_epoch_is_told_of_every_epoch(ids: np.ndarray, tokenizer: BPETokenizerLoader) -> None:
    told: list[tuple[int, float, float]] = []
    result = train_skipgram(ids[:5000], tokenizer.vocab_size, SMALL, on_epoch=lambda *news: told.append(news))
    assert [epoch for epoch, _, _ in told] == [1, 2]
    assert [loss for _, loss, _ in told] == result.epoch_losses


def test_a_rate_far_too_high_is_an_error_not_a_file_of_nan(ids: np.ndarray, tokenizer: BPETokenizerLoader) -> None:
    with pytest.raises(TrainingDivergedError, match="lower the learning rate"), np.errstate(all="ignore"):
        train_skipgram(ids, tokenizer.vocab_size, replace(SMALL, learning_rate=1e6, min_learning_rate=1e6))


EXTREMES: list[dict[str, Any]] = [
    {"learning_rate": 1e6}, {"learning_rate": 50.0}, {"learning_rate": 1e-300},
    {"num_negative_samples": 3000}, {"window_size": 1500}, {"ns_exponent": 100.0}, {"ns_exponent": -100.0},
    {"ns_exponent": -3.0}, {"subsample": 1e308}, {"subsample": 1e-320}, {"embedding_dim": 1}, {"embedding_dim": 2**31 - 1},
    {"batch_size": 2**31 - 1}, {"seed": 2**70}, {"workers": 50},
]  # fmt: skip


@pytest.mark.parametrize("engine", ["hogwild", "torch"])
@pytest.mark.parametrize("extreme", EXTREMES, ids=str)
def test_settings_at_their_extremes_give_finite_vectors_or_say_what_is_wrong(extreme: dict[str, Any], engine: str) -> None:
    stream = np.random.default_rng(0).integers(0, 20, 2000)
    kept: list[TrainingResult] = []
    message = "lower"
    config = replace(SMALL, engine=engine, device="cpu", **{"embedding_dim": 8, "min_count": 1, **extreme})
    try:
        kept.append(train_skipgram(stream, 20, config, on_checkpoint=kept.append))
    except (ValueError, MemoryError, TrainingDivergedError) as error:
        message = str(error)
    assert re.search("lower|higher|allocate", message)
    assert all(np.isfinite(result.vectors).all() and np.isfinite(result.epoch_losses).all() for result in kept)


@pytest.mark.parametrize("engine", ["hogwild", "torch"])
def test_a_vocabulary_of_two_tokens_is_learned(engine: str) -> None:
    config = replace(SMALL, engine=engine, device="cpu", min_count=1)
    for stream in ([0, 1] * 500, [0] * 20_000 + [1]):
        assert np.isfinite(train_skipgram(stream, 2, config).vectors).all()


@pytest.mark.parametrize("engine", ["hogwild", "torch"])
def test_a_vector_that_is_not_finite_is_never_handed_out_even_if_the_loss_is(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of an epoch may overflow when its loss has been taken already."""
    module, name = {
        "hogwild": ("tokembed.skipgram.hogwild", "HogwildEngine"),
        "torch": ("tokembed.skipgram.torch_engine", "TorchEngine"),
    }[engine]
    kind = getattr(importlib.import_module(module), name)
    honest = kind.train

    def train(self: Any, *arguments: Any) -> Any:
        result = honest(self, *arguments)
        self.tables()[1][3, 2] = np.inf
        return result

    monkeypatch.setattr(kind, "train", train)
    kept: list[TrainingResult] = []
    config = replace(SMALL, engine=engine, device="cpu", min_count=1)
    with pytest.raises(TrainingDivergedError, match="not finite"):
        train_skipgram([0, 1, 2, 3, 4] * 200, 5, config, on_checkpoint=kept.append)
    assert not kept


@pytest.mark.parametrize(
    ("stream", "vocab_size", "message"),
    [
        ([], 5, "empty"),
        ([[1, 2]], 5, "one row"),
        ([1.5, 2.0], 5, "integers"),
        ([1, 5], 5, "holds 5"),
        ([1, -1], 5, "holds -1"),
        ([1] * 100, 5, "nothing to learn: 1 of 1"),
        ([1, 2, 3], 5, "nothing to learn: 0 of 3"),
    ],
)
def test_a_stream_that_cannot_be_trained_on_is_refused(stream: Any, vocab_size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_skipgram(stream, vocab_size, SMALL)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("embedding_dim", 0), ("embedding_dim", 2.5), ("epochs", -1), ("window_size", 0), ("num_negative_samples", 0),
        ("batch_size", 0), ("learning_rate", float("nan")), ("learning_rate", 0), ("learning_rate", float("inf")),
        ("subsample", -1.0), ("min_count", 0), ("seed", -1), ("workers", -2), ("engine", "magic"), ("device", "tpu"),
        ("epochs", True), ("ns_exponent", "high"), ("ns_exponent", 1e308), ("batch_size", 10**23), ("embedding_dim", 2**31),
        ("workers", 1025), ("min_learning_rate", 0.5),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        TrainingConfig(**{name: value})


def test_threads_that_the_system_does_not_start_are_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def start_none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start_none)
    with pytest.raises(OSError, match=r"no further thread \(can't start new thread\): give fewer workers"):
        train_skipgram([0, 1, 2] * 50, 3, replace(SMALL, workers=2))


def test_numpys_numbers_become_pythons() -> None:
    config = TrainingConfig(epochs=np.int64(1), min_count=np.int32(1), learning_rate=np.float32(0.5), seed=np.uint8(7))
    assert config == TrainingConfig(epochs=1, min_count=1, learning_rate=0.5, seed=7)
    assert {type(value) for value in asdict(config).values()} == {int, float, str, bool}


def test_the_learning_rate_falls_linearly() -> None:
    config = TrainingConfig(learning_rate=0.1, min_learning_rate=0.0)
    assert [config.rate_after(share) for share in (0.0, 0.5, 1.0)] == pytest.approx([0.1, 0.05, 0.0])
    assert TrainingConfig(learning_rate=1e-6).rate_after(1.0) == 1e-6


def test_every_setting_is_a_flag_with_the_same_default() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    cli.add_training_flags(parser)
    assert cli.config_from_flags(parser.parse_args([])) == TrainingConfig()
    with pytest.raises(ValueError, match=r"^--window-size must be at least 1"):
        cli.config_from_flags(parser.parse_args(["--window-size", "0"]))
    with pytest.raises(ValueError, match=r"^--device is unusable: unknown device 'gpu'"):
        cli.config_from_flags(parser.parse_args(["--device", "gpu"]))


def test_devices_are_chosen_and_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_accelerator", lambda: None)
    assert training.choose_engine(TrainingConfig()) == ("hogwild", "cpu")
    assert training.choose_engine(TrainingConfig(engine="torch", device="cpu")) == ("torch", "cpu")
    assert select_device("cpu").type == "cpu"
    assert select_device("auto").type in ("mps", "cuda", "cpu")
    for device in ("cuda", "mps", "cuda:3"):
        with pytest.raises(ValueError, match="not available here"):
            training.choose_engine(TrainingConfig(device=device))
    with pytest.raises(ValueError, match="runs on the CPU"):
        training.choose_engine(TrainingConfig(engine="hogwild", device="cuda"))
    for name in ("tpu", "cpu:1", "cuda:x"):
        with pytest.raises(ValueError, match="unknown device"):
            select_device(name)


def test_without_torch_choosing_a_device_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="`pip install torch` installs it"):
        select_device("cpu")


def test_training_on_the_cpu_imports_no_torch() -> None:
    code = (
        "import sys; from tokembed import device; device.find_accelerator = lambda: None\n"
        "from tokembed import train_skipgram, TrainingConfig\n"
        "train_skipgram([0, 1, 2] * 50, 3, TrainingConfig(epochs=1)); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------- which engine is faster


class _FakeAccelerator(TorchEngine):
    """The torch engine on the CPU, as if on an accelerator, with a delay after each block, or so fast that it hardly trains."""

    delay = 0.0
    trained_share = 1.0

    def __init__(self, stream: TokenStream, counts: np.ndarray, config: TrainingConfig, device: str) -> None:
        assert device == "cuda"
        super().__init__(stream, counts, config, "cpu")

    def train(self, epoch: int, first: int, last: int, report: Any) -> tuple[int, float]:
        def report_late(tokens: int, pairs: int, loss: float) -> None:
            time.sleep(self.delay)
            report(int(tokens / self.trained_share), pairs, loss)

        return super().train(epoch, first, first + int((last - first) * self.trained_share), report_late)


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> type[_FakeAccelerator]:
    """A machine that seems to have an accelerator."""

    class Fake(_FakeAccelerator):
        pass

    monkeypatch.setattr(devices, "find_accelerator", lambda: "cuda")
    monkeypatch.setattr(devices, "select_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(torch_engine, "TorchEngine", Fake)
    monkeypatch.setattr(training, "RACE_SECONDS", 0.05)
    return Fake


@pytest.mark.parametrize(
    ("delay", "trained_share", "faster", "device"), [(0.1, 1.0, "hogwild", "cpu"), (0.0, 0.001, "torch", "cuda")]
)
def test_with_an_accelerator_the_faster_engine_trains_as_if_asked_for(
    ids: np.ndarray,
    tokenizer: BPETokenizerLoader,
    accelerator: type[_FakeAccelerator],
    delay: float,
    trained_share: float,
    faster: str,
    device: str,
) -> None:
    accelerator.delay, accelerator.trained_share = delay, trained_share
    choices: list[training.Choice] = []
    config = replace(SMALL, engine="auto")
    result = train_skipgram(ids[:40_000], tokenizer.vocab_size, config, on_choice=choices.append)
    asked = train_skipgram(ids[:40_000], tokenizer.vocab_size, replace(config, engine=faster))
    assert np.array_equal(result.target_vectors, asked.target_vectors)
    assert np.array_equal(result.context_vectors, asked.context_vectors)
    assert (result.epoch_losses, result.engine) == (asked.epoch_losses, asked.engine)
    [choice] = choices
    assert choice[:2] == (faster, device)
    assert choice.speeds[faster] == max(choice.speeds.values()) > min(choice.speeds.values()) > 0


def test_the_script_says_both_speeds_and_takes_batches_that_suit_the_accelerator_unless_given(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    accelerator: type[_FakeAccelerator],
) -> None:
    accelerator.trained_share = 0.001
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "project_root", Path.cwd)
    sizes = []
    for flags in ((), ("--batch-size", "600")):
        assert main_of(SCRIPT)([*SHORT_JOB, *flags]) == 0
        line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("training "))
        found = re.search(
            r"torch engine on cuda · the faster here, in tokens/s: hogwild [\d,]+, torch [\d,]+ · batches of (\d+)", line
        )
        assert found, line
        sizes.append(int(found[1]))
    assert 600 < sizes[0] <= MAX_BATCH
    assert sizes[1] == 600


def test_nothing_is_timed_where_engine_or_device_is_given(
    ids: np.ndarray, tokenizer: BPETokenizerLoader, accelerator: type[_FakeAccelerator]
) -> None:
    choices: list[training.Choice] = []
    for given in ({"engine": "torch"}, {"device": "cuda"}, {"engine": "hogwild"}, {"device": "cpu"}):
        config = replace(SMALL, **{"engine": "auto", "epochs": 1, **given})
        train_skipgram(ids[:5000], tokenizer.vocab_size, config, on_choice=choices.append)
    assert choices == [("torch", "cuda", {})] * 2 + [("hogwild", "cpu", {})] * 2


# ---------------------------------------------------------------- stopping and going on


@pytest.mark.parametrize("engine", ["hogwild", "torch"])
def test_a_resumed_run_ends_bit_equal_to_one_never_stopped(ids: np.ndarray, tokenizer: BPETokenizerLoader, engine: str) -> None:
    config = replace(SMALL, epochs=4, engine=engine, device="cpu")
    stream = ids[:20_000]
    states: list[TrainingResult] = []
    whole = train_skipgram(stream, tokenizer.vocab_size, config, on_checkpoint=states.append)
    assert [len(state.epoch_losses) for state in states] == [1, 2, 3, 4]
    for state in states:
        resumed = train_skipgram(stream, tokenizer.vocab_size, config, resume=state)
        assert np.array_equal(resumed.target_vectors, whole.target_vectors)
        assert np.array_equal(resumed.context_vectors, whole.context_vectors)
        assert resumed.epoch_losses == whole.epoch_losses


def test_a_checkpoint_on_disk_is_as_good_as_the_state(tmp_path: Path, ids: np.ndarray, tokenizer: BPETokenizerLoader) -> None:
    keep = Checkpointer(tmp_path / "run.safetensors", tokenizer, ids[:20_000])
    states: list[TrainingResult] = []

    def stop_after_one(result: TrainingResult) -> None:
        keep(result)
        states.append(result)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_skipgram(ids[:20_000], tokenizer.vocab_size, SMALL, on_checkpoint=stop_after_one)
    loaded = load_checkpoint(keep.path, tokenizer, ids[:20_000])
    assert loaded.config == SMALL
    resumed = train_skipgram(ids[:20_000], tokenizer.vocab_size, SMALL, resume=loaded)
    assert np.array_equal(resumed.target_vectors, train_skipgram(ids[:20_000], tokenizer.vocab_size, SMALL).target_vectors)
    with pytest.raises(ValueError, match="other tokens"):
        load_checkpoint(keep.path, tokenizer, ids[:19_999])
    with pytest.raises(ValueError, match="another tokenizer"):
        load_checkpoint(keep.path, BPETokenizerLoader(train_bpe("ab ab", 1)), ids[:20_000])


def test_neighbours_are_kept_for_each_epoch_of_a_resumed_run_and_those_of_a_file_without_any_are_none(
    tmp_path: Path, ids: np.ndarray, tokenizer: BPETokenizerLoader
) -> None:
    config = replace(SMALL, epochs=1)
    plain = Checkpointer(tmp_path / "run.safetensors", tokenizer, ids[:5000])
    train_skipgram(ids[:5000], tokenizer.vocab_size, config, on_checkpoint=plain)
    assert read_neighbours(plain.path) == [{}]
    facts = StreamFacts.of(ids[:5000], tokenizer)
    measure = neighbour_measure(tokenizer, facts, 2)
    keep = Checkpointer(plain.path, tokenizer, facts, None, measure, resumed=True)
    state = load_checkpoint(plain.path, tokenizer, facts)
    result = train_skipgram(ids[:5000], tokenizer.vocab_size, replace(config, epochs=2), on_checkpoint=keep, resume=state)
    first, second = read_neighbours(plain.path)
    assert first == {}
    rows = tokenizer.id_to_token, result.vectors, result.counts
    embeddings = Embeddings.of_trained_rows(*rows, tokenizer, facts.word_counts)
    assert len(second) == 2
    for word, near in second.items():
        expected = nearest_words(embeddings, word, len(near))
        assert near == [embeddings.word_of(token) for token, _ in expected]


@pytest.mark.parametrize(("name", "value"), [("epochs", 1), ("learning_rate", 0.1), ("seed", 9), ("embedding_dim", 8)])
def test_other_settings_are_refused_by_name(ids: np.ndarray, tokenizer: BPETokenizerLoader, name: str, value: Any) -> None:
    state = train_skipgram(ids[:5000], tokenizer.vocab_size, SMALL)
    with pytest.raises(ValueError, match=f"cannot resume: {name} was"):
        train_skipgram(ids[:5000], tokenizer.vocab_size, replace(SMALL, **{name: value}), resume=state)
    assert (
        train_skipgram(ids[:5000], tokenizer.vocab_size, replace(SMALL, workers=2), resume=state).epoch_losses
        == state.epoch_losses
    )
    with pytest.raises(ValueError, match="the tokens are not those"):
        train_skipgram(ids[:4000], tokenizer.vocab_size, SMALL, resume=state)


def test_more_epochs_than_planned_go_on_with_the_rates_of_a_longer_plan(ids: np.ndarray, tokenizer: BPETokenizerLoader) -> None:
    state = train_skipgram(ids[:5000], tokenizer.vocab_size, SMALL)
    longer = train_skipgram(ids[:5000], tokenizer.vocab_size, replace(SMALL, epochs=SMALL.epochs + 2), resume=state)
    assert longer.epoch_losses[: SMALL.epochs] == state.epoch_losses
    assert len(longer.epoch_losses) == SMALL.epochs + 2


def test_early_stopping_ends_training_when_the_loss_no_longer_falls(ids: np.ndarray, tokenizer: BPETokenizerLoader) -> None:
    config = replace(SMALL, epochs=60, early_stopping=2, min_learning_rate=0.025)
    losses = train_skipgram(ids[:3000], tokenizer.vocab_size, config).epoch_losses
    if len(losses) < 60:
        assert training.has_stopped_early(losses, 2)
        assert not training.has_stopped_early(losses[:-1], 2)
    assert min(losses) < losses[0]
    state = train_skipgram(ids[:3000], tokenizer.vocab_size, replace(SMALL, epochs=3))
    stuck = replace(
        state, epoch_losses=[1.0, 2.0], num_pairs=[1, 1], seconds=[1.0, 1.0], config=replace(SMALL, epochs=9, early_stopping=1)
    )
    assert train_skipgram(ids[:3000], tokenizer.vocab_size, stuck.config, resume=stuck).epoch_losses == [1.0, 2.0]


def test_the_last_good_checkpoint_survives_divergence(ids: np.ndarray, tokenizer: BPETokenizerLoader) -> None:
    states: list[TrainingResult] = []
    config = replace(SMALL, learning_rate=1e6, min_learning_rate=1e6)
    with pytest.raises(TrainingDivergedError), np.errstate(all="ignore"):
        train_skipgram(ids, tokenizer.vocab_size, config, on_checkpoint=states.append)
    assert all(np.isfinite(state.epoch_losses).all() for state in states)


@pytest.mark.parametrize(("batch_size", "learning_rate"), [(64, 0.05), (8192, 0.05), (8192, 0.1)])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_batch_of_any_size_learns_and_does_not_diverge(batch_size: int, learning_rate: float, seed: int) -> None:
    """Without damping the large ones end in NaN: a frequent token's row gets thousands of steps from one stale vector."""
    text = load_corpus("pydocs").text  # few different tokens, each of them frequent: it diverged where others did not
    tokenizer = BPETokenizerLoader(train_bpe(text, 2000))
    config = replace(SMALL, engine="torch", device="cpu", batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    result = train_skipgram(tokenizer.encode_array(text)[:50_000], tokenizer.vocab_size, config)
    assert result.epoch_losses[-1] < 0.6 * 11 * np.log(2)
    assert np.isfinite(result.target_vectors).all()


def test_summed_vectors_are_those_of_the_result_and_of_its_checkpoint(
    tmp_path: Path, ids: np.ndarray, tokenizer: BPETokenizerLoader
) -> None:
    plain = train_skipgram(ids[:20_000], tokenizer.vocab_size, replace(SMALL, epochs=1))
    summed = replace(plain, config=replace(plain.config, add_context_vectors=True))
    assert np.array_equal(summed.vectors, plain.target_vectors + plain.context_vectors)
    assert np.array_equal(plain.vectors, plain.target_vectors)
    for result in (plain, summed):
        path = tmp_path / "vectors.safetensors"
        Checkpointer(path, tokenizer, ids[:20_000])(result)
        expected = Embeddings.from_training(result, tokenizer).vectors
        assert np.array_equal(Embeddings.load(path).vectors, expected)


class _Operators(TorchDispatchMode):
    """Notes the name of every operator that runs inside."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(operator.name().removeprefix("aten::").removesuffix(".default"))
        return operator(*args, **(kwargs or {}))


def _operators_of_mps() -> set[str]:
    """Return the operators that this torch has for MPS, itself or made of others, by its own list of native functions."""
    path = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where it is built: ten times as fast
    functions = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    own: dict[str, str] = {}
    delegates: dict[str, str] = {}
    for function in functions:
        name = function["func"].split("(")[0]
        keys = function.get("dispatch")
        own[name] = "CompositeImplicitAutograd" if keys is None else " ".join(keys)
        if "structured_delegate" in function:
            delegates[name] = function["structured_delegate"]
    return {
        name
        for name, keys in own.items()
        if "Composite" in keys or "MPS" in keys or ("MPS" in own.get(delegates.get(name, ""), ""))
    }


def test_the_torch_engine_uses_only_operators_that_mps_has(ids: np.ndarray, tokenizer: BPETokenizerLoader) -> None:
    with _Operators() as used:
        train_skipgram(ids[:20_000], tokenizer.vocab_size, replace(SMALL, engine="torch", device="cpu"))
    assert {"index_add_", "bmm", "where.self", "rand.generator"} <= used.names
    on_mps = _operators_of_mps()
    assert "_fused_adagrad_" not in on_mps, "a list on which everything stands proves nothing"
    assert sorted(used.names - on_mps) == [], sorted(used.names)


def test_ids_that_change_while_training_change_nothing(ids: np.ndarray, tokenizer: BPETokenizerLoader) -> None:
    stream = ids[:5000].astype(np.int32)
    expected = train_skipgram(stream, tokenizer.vocab_size, SMALL).vectors
    changed = train_skipgram(stream, tokenizer.vocab_size, SMALL, on_epoch=lambda *_: stream.fill(2_000_000_000)).vectors
    assert np.array_equal(changed, expected)


def test_processes_that_torchrun_did_not_start_are_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from tokembed.skipgram.distributed import ProcessGroup

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match="torchrun"):
        ProcessGroup(SMALL)
