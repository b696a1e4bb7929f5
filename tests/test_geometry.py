from __future__ import annotations

import itertools

import numpy as np
import pytest

from tokembed import Embeddings
from tokembed.analysis import geometry, projection, senses
from tokembed.vectors.embeddings import unit_rows


def test_one_hot_vectors_are_orthogonal_without_a_table() -> None:
    pairs = geometry.random_pairs(1_000_000, 1000)
    assert not geometry.one_hot_cosines(pairs).any()
    assert geometry.one_hot_cosines(np.array([[3, 3], [3, 4]])).tolist() == [1.0, 0.0]
    eye = np.eye(7, dtype=np.float32)
    pairs = geometry.random_pairs(7, 50)
    assert np.array_equal(geometry.one_hot_cosines(pairs), geometry.pair_cosines(eye, pairs))
    assert np.all(pairs[:, 0] != pairs[:, 1])
    assert pairs.max() < 7


def groups_of_vectors(spread: float) -> tuple[np.ndarray, list[str]]:
    random = np.random.default_rng(0)
    centers = random.normal(size=(3, 20))
    vectors = np.repeat(centers, 6, axis=0) + spread * random.normal(size=(18, 20))
    unit = unit_rows(vectors)
    return unit @ unit.T, [name for name in "abc" for _ in range(6)]


def test_the_permutation_test_finds_groups_that_are_there_and_none_that_are_not() -> None:
    cosines, groups = groups_of_vectors(0.5)
    found = geometry.separation(cosines, groups, 999)
    assert found.within > found.between
    assert found.p_value == pytest.approx(0.001)
    shuffled = np.random.default_rng(1).permutation(groups).tolist()
    assert geometry.separation(cosines, shuffled, 999).p_value > 0.05
    assert geometry.separation(cosines, groups, 999) == found, "one seed, one answer"
    with pytest.raises(ValueError, match="two or more"):
        geometry.separation(cosines, ["a"] * 18)


def test_clustering_puts_groups_side_by_side() -> None:
    cosines, groups = groups_of_vectors(0.3)
    mixed = np.random.default_rng(2).permutation(18)
    order = geometry.cluster_order(cosines[np.ix_(mixed, mixed)])
    seen = [groups[mixed[place]] for place in order]
    changes = sum(a != b for a, b in itertools.pairwise(seen))
    assert sorted(order) == list(range(18))
    assert changes == 2


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_projections_keep_groups_and_repeat_themselves(method: str) -> None:
    random = np.random.default_rng(0)
    vectors = (np.repeat(np.eye(3, 20), 8, axis=0) + 0.05 * random.normal(size=(24, 20))).astype(np.float32)
    points = projection.project(vectors, method)
    assert points.shape == (24, 2)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 1e9 * np.eye(24)
    assert np.all(distances.argmin(axis=1) // 8 == np.arange(24) // 8)
    assert np.array_equal(points, projection.project(vectors, method))
    assert projection.project(vectors[:4], method).shape == (4, 2)
    with pytest.raises(ValueError, match="tsne or pca"):
        projection.project(vectors, "umap")


@pytest.mark.parametrize("method", ["tsne", "pca"])
@pytest.mark.parametrize("num_vectors", [2, 4, 5, 30])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_vectors_of_one_direction_lie_on_one_point(method: str, num_vectors: int, scale: float) -> None:
    lengths = np.arange(1, num_vectors + 1)
    vectors = (scale * lengths[:, None] * np.array([[0.1, -0.2, 0.3]])).astype(np.float32)  # equal but for rounding
    assert np.array_equal(projection.project(vectors, method), np.zeros((num_vectors, 2)))


@pytest.mark.parametrize("num_vectors", [5, 6, 8, 30])
def test_few_vectors_and_equal_ones_are_laid_out_by_tsne_without_a_crash(num_vectors: int) -> None:
    one_differs = np.ones((num_vectors, 2), dtype=np.float32)
    one_differs[0, 0] = 2
    opposites = np.where(np.arange(num_vectors)[:, None] % 2, [[1.0, 0.0]], [[-1.0, 0.0]]).astype(np.float32)
    for vectors in (one_differs, opposites):
        for perplexity in (0.5, 1000.0):
            points = projection.project(vectors, "tsne", perplexity)
            assert points.shape == (num_vectors, 2)
            assert np.isfinite(points).all()


def test_what_no_map_can_be_made_of_is_refused() -> None:
    for shape in ((0, 5), (1, 5), (5, 1), (3, 1)):
        for method in ("tsne", "pca"):
            with pytest.raises(ValueError, match=rf"at least 2 vectors of at least 2 numbers, not {shape[0]} of {shape[1]}"):
                projection.project(np.ones(shape, dtype=np.float32), method)
    for perplexity in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="perplexity must be above 0"):
            projection.project(np.eye(9, dtype=np.float32), perplexity=perplexity)


def two_kinds(stray: float) -> Embeddings:
    """Words of two kinds along two axes; "monster" is a person, and lies this much along the other kind's axis."""
    people, feelings = {"victor": [1.0, 0.1], "clerval": [1.0, 0.0]}, {"wretched": [0.0, 1.0], "misery": [0.1, 1.0]}
    vectors = people | {"monster": [1.0 - stray, stray]} | feelings
    return Embeddings([word + "</w>" for word in vectors], np.array(list(vectors.values())))


KINDS = {"victor": "character", "clerval": "character", "monster": "character", "wretched": "emotion", "misery": "emotion"}


def test_what_is_said_of_the_monster_follows_the_cosines() -> None:
    comparison = projection.Comparison(("monster", "creature"), "wretched", "character", "people")
    for stray, ends in ((0.9, "wretched than to people"), (0.1, "people than to wretched")):
        sentence, measured = projection.compared(two_kinds(stray), KINDS, comparison)
        assert sentence == f"monster lies nearer to {ends}"
        cosine = two_kinds(stray).similarity("monster", "wretched")
        mean = np.mean([two_kinds(stray).similarity("monster", other) for other in ("victor", "clerval")])
        assert f"monster {cosine:.2f}, {mean:.2f})" in measured
    assert projection.compared(two_kinds(0.9), {}, comparison) == ("", "")
    assert projection.COMPARISONS["frankenstein"] == comparison


def test_words_nearest_to_another_kind_are_counted_and_named() -> None:
    assert projection.own_kind_share(two_kinds(0.9), KINDS) == (
        "4 of 5 words lie nearest to their own kind",
        "by mean cosine 4 of 5 words lie nearest to their own kind; monster (emotion) to another",
    )
    assert projection.own_kind_share(two_kinds(0.1), KINDS)[0] == "all 5 words lie nearest to their own kind"


def test_the_heatmap_has_each_kinds_words_together_24_at_most_around_the_mean_between_kinds() -> None:
    random = np.random.default_rng(0)
    unit = unit_rows(random.normal(size=(36, 8)))
    cosines, kinds = unit @ unit.T, {f"w{place}": "abcd"[place % 4] for place in range(36)}
    drawn = geometry.heatmap(cosines, kinds)
    assert [name for name, _ in itertools.groupby(drawn.kinds)] == list("abcd")
    assert sorted(drawn.words) == sorted(list(kinds)[:24]), "the first of each kind"
    places = [list(kinds).index(word) for word in drawn.words]
    assert np.array_equal(drawn.cosines, cosines[np.ix_(places, places)])
    assert drawn.between == pytest.approx(geometry.separation(cosines, list(kinds.values()), 9).between)


def sense_embeddings() -> Embeddings:
    """Two fields of words, one axis each, and a word between them."""
    random = np.random.default_rng(0)
    first, second = ("bulb", "glow", "shade", "beam"), ("feather", "cork", "foam", "straw")
    vectors = [
        *(np.array([1.0, 0.0, 0.0]) + 0.1 * random.normal(size=3) for _ in first),
        *(np.array([0.0, 1.0, 0.0]) + 0.1 * random.normal(size=3) for _ in second),
        np.array([1.0, 1.0, 0.0]), np.array([0.2, 0.1, 1.0]), np.array([0.1, 0.3, 1.0]),
    ]  # fmt: skip
    words = (*first, *second, "light", "saw", "feeling")
    return Embeddings([word + "</w>" for word in words], np.array(vectors))


def test_contexts_tell_two_senses_of_one_vector_apart() -> None:
    shining = "the sun, bulb and glow : light in shade or beam . " * 8
    not_heavy = "a weight of feather and cork : light as foam or straw . " * 8
    gap = "and so on " * 10
    lesson = senses.polysemy(sense_embeddings(), shining + gap + not_heavy, "light")
    assert lesson is not None
    assert [len(uses.texts) for uses in lesson.uses] == [8, 8]
    assert "LIGHT in shade" in lesson.uses[0].texts[0]
    assert lesson.context_cosine < 0 < lesson.random_cosine
    assert lesson.p_value < 0.01
    sides = {word: side for word, _, side in lesson.neighbours}
    assert {sides["bulb"], sides["beam"]} == {0}
    assert {sides["cork"], sides["foam"]} == {1}


def test_a_sense_without_uses_is_shown_as_such() -> None:
    lesson = senses.polysemy(sense_embeddings(), "the sun and glow : light in shade", "light")
    assert lesson is not None
    assert [len(uses.texts) for uses in lesson.uses] == [1, 0]
    assert not lesson.can_be_compared
    assert np.isnan(lesson.context_cosine)
    assert senses.polysemy(sense_embeddings(), "", "nature") is None
    lines = senses.sense_lines(lesson)
    assert "  not heavy: no use in this text was found" in lines
    assert not [line for line in lines if "(not heavy)" in line]


def test_a_word_that_a_text_uses_in_neither_sense_is_left_out_and_one_line_says_so() -> None:
    found = senses.describe_senses(sense_embeddings(), "saw a feather and cork " * 9)
    assert [line.partition(":")[0] for line in found.lines] == ["words of two senses"]
    assert (found.data, list(found.rows)) == (None, [])


def test_words_of_a_corpus_without_a_list_are_grouped_by_the_vectors_and_said_so() -> None:
    random = np.random.default_rng(0)
    tokens = [f"word{chr(97 + n % 26)}{chr(97 + n // 26)}</w>" for n in range(200)]
    embeddings = Embeddings(tokens, random.normal(size=(200, 5)), counts=np.arange(200, 0, -1))
    kinds, are_listed = geometry.words_of_kinds(embeddings, "unknown")
    assert not are_listed
    assert set(kinds) <= {token.removesuffix("</w>") for token in tokens}
    assert all(kind.startswith("like ") for kind in kinds.values())
