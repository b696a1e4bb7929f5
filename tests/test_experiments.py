from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tokembed import BPETokenizerLoader, TrainingConfig
from tokembed.analysis import experiments
from tokembed.skipgram.reference import softmax_step
from tokembed.skipgram.settings import TrainingDivergedError
from tokembed.vectors import evaluation

CONFIG = TrainingConfig(epochs=2, embedding_dim=16, workers=1)


def softmax_loss(targets: np.ndarray, contexts: np.ndarray, inputs: np.ndarray, outputs: np.ndarray) -> float:
    scores = targets[inputs] @ contexts.T
    return float((np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(inputs)), outputs]).sum())


def test_the_softmax_step_descends_the_numerical_gradient_of_its_loss() -> None:
    random = np.random.default_rng(0)
    targets, contexts = random.normal(size=(5, 3)), random.normal(size=(5, 3))
    inputs, outputs = np.array([0, 1, 1, 4]), np.array([2, 2, 0, 4])
    before = targets.copy(), contexts.copy()
    rate = 1e-3
    loss = softmax_step(targets, contexts, inputs, outputs, rate)
    assert loss == pytest.approx(softmax_loss(*before, inputs, outputs))
    for which, after in enumerate((targets, contexts)):
        for place in np.ndindex(after.shape):
            moved = [table.copy() for table in before]
            moved[which][place] += 1e-5
            up = softmax_loss(*moved, inputs, outputs)
            moved[which][place] -= 2e-5
            gradient = (up - softmax_loss(*moved, inputs, outputs)) / 2e-5
            # The reference rounds the rate to float32.
            assert after[place] - before[which][place] == pytest.approx(-rate * gradient, rel=1e-5, abs=1e-9)


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_a_softmax_that_a_repetitive_text_would_throw_off_is_held_and_divergence_is_said(
    tokenizer: BPETokenizerLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tokenizer.encode_array("a list is a sequence of items ; " * 400)
    config = replace(CONFIG, subsample=0.0, learning_rate=0.2, epochs=3)
    held = experiments.train_full_softmax(tokenizer, ids, config)
    assert held.losses[-1] < np.log(held.num_outputs)
    monkeypatch.setattr(experiments, "SOFTMAX_MAX_STEP", np.inf)
    with pytest.raises(TrainingDivergedError, match="diverged in epoch"):
        experiments.train_full_softmax(tokenizer, ids, config)


def test_objectives_are_compared_on_the_same_tokens(pydocs: str, tokenizer: BPETokenizerLoader) -> None:
    ids = tokenizer.encode_array(pydocs[:60_000])
    runs = list(experiments.compare_objectives(tokenizer, ids, CONFIG, negatives=(5, 10)))
    assert [run.name for run in runs] == ["full softmax", "5 negatives", "10 negatives"]
    trained = int((np.bincount(ids) >= CONFIG.min_count).sum())
    assert [run.num_outputs for run in runs] == [trained, 6, 11]
    assert runs[0].losses[0] < np.log(trained)
    assert runs[0].losses[1] < runs[0].losses[0]
    assert all(len(run.losses) == 2 and run.seconds_per_epoch > 0 for run in runs)


def test_dimensions_are_compared_with_every_seed(
    pydocs: str, tokenizer: BPETokenizerLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "LEAST_KNOWN", 0)  # help texts have none of the words
    ids = tokenizer.encode_array(pydocs[:60_000])
    config = replace(CONFIG, epochs=1)
    runs = list(experiments.compare_dimensions(tokenizer, ids, config, dimensions=(4, 20), num_seeds=2))
    assert [(dimension, seed) for dimension, seed, _ in runs] == [(4, 1), (4, 2), (20, 1), (20, 2)]
    assert all(0 <= score.auc <= 1 for *_, score in runs)
