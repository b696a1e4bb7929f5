"""Which words to ask for their neighbours, and what they answer; or that there is nothing yet to ask."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tokembed.analysis.finding import Finding
from tokembed.bpe.splitting import END_OF_WORD, SPLITTINGS, Splitting, is_unspaced
from tokembed.bpe.tokenizer import BPETokenizerLoader
from tokembed.skipgram.training import TrainingResult
from tokembed.vectors.embeddings import Embeddings, unit_rows
from tokembed.vectors.storage import StreamFacts

# Of different kinds (beings, feelings, actions, nature, time), asked first where the corpus has them.
QUERY_WORDS = (
    "creature", "father", "miserable", "felt", "mountains", "night", "horror", "life",
    "king", "album", "season", "british", "river", "war", "player", "million",
    "function", "object", "statement", "import", "string", "class", "value", "error",
)  # fmt: skip

NUM_KEPT, NUM_KEPT_NEIGHBOURS = 8, 4  # words whose neighbours a checkpoint keeps for each epoch, and how many

# A vector that few occurrences trained is near to others by chance. In the novel a synonym (of the development list) is one of
# the five nearest in 25 % of cases among words that occur 15 times, though a third of the synonyms are rarer, and in 10 % among
# all (three seeds; 18 % from 10 occurrences on, 25 % from 20). On the test list it is 19 % and 12 %.
OFTEN = 15
FEWEST_SHOWN = 100

TOO_LITTLE = "too little text, or too few epochs"
NOISE_COSINE = (
    0.95  # on average; the novel's is 0.98 after three epochs, and 0.89 after five, when neighbours begin to make sense
)
NOISE_LENGTH = 0.3  # a product of two such vectors is below 0.1: half of them or more say nothing of what is beside them;
# vectors begin at 0.03 in 100 dimensions and 0.2 in 2, and trained ones are longer than 0.8


def noise_in(embeddings: Embeddings) -> str:
    """Say that vectors have not left their random start, or all point nearly the same way; "" if neither is so.

    In both cases what tells their cosines apart is noise.

    >>> noise_in(Embeddings(["ice</w>", "snow</w>"], [[1.0, 0.0], [0.99, 0.01]]))
    'all cosines are near 1 (1.000 on average): too little text, or too few epochs'
    """
    num_tokens = len(embeddings)
    if num_tokens < 2:
        return ""
    length = float(np.median(np.linalg.norm(embeddings.vectors.astype(np.float64), axis=1)))
    if length < NOISE_LENGTH:
        return f"the vectors have hardly left their random start (half are shorter than {length:.2f}): {TOO_LITTLE}"
    total = embeddings.unit_vectors.sum(axis=0, dtype=np.float64)  # its square is the sum of all cosines, each token's own too
    mean = (float(total @ total) - num_tokens) / (num_tokens * (num_tokens - 1))
    return f"all cosines are near 1 ({mean:.3f} on average): {TOO_LITTLE}" if mean > NOISE_COSINE else ""


def is_more_than_grammar(word: str) -> bool:
    """Tell, by its length, whether a word is more than grammar: four letters, or two of a script without spaces.

    >>> is_more_than_grammar("that"), is_more_than_grammar("the"), is_more_than_grammar("未来")
    (True, False, True)
    """
    return len(word) > (1 if is_unspaced(word) else 3)


def query_words(embeddings: Embeddings, count: int) -> list[str]:
    """Choose words to ask for neighbours: known ones that are well trained, filled up from the corpus' own."""
    counts = embeddings.counts if embeddings.counts is not None else np.ones(len(embeddings), dtype=np.int64)
    words = np.flatnonzero(embeddings.is_word)
    order = words[np.argsort(-counts[words], kind="stable")]
    by_count = list(dict.fromkeys(embeddings.word_of(embeddings.tokens[row]) for row in order))
    # Words of middle frequency mean something; the most frequent hundred are grammar.
    middle = set(by_count[50 : max(len(by_count) // 2, 100)])
    # In a text of another script English words are quotations.
    is_english = 2 * sum(map(str.isascii, middle)) >= len(middle)
    chosen = [word for word in QUERY_WORDS if word in middle][:count] if is_english else []
    rest = [word for word in by_count[100::25] if is_more_than_grammar(word) and word not in chosen]
    rest += [word for word in by_count if word not in chosen and word not in rest]
    return (chosen + rest)[:count]


def shown_words(embeddings: Embeddings) -> tuple[npt.NDArray[np.bool_], int]:
    """Return which tokens may be shown as neighbours, (V,), and how often they occur at least.

    Whole words that occur 15 times, or less often where there are too few of them; without counts, all whole words.

    >>> shown_words(Embeddings(["ice</w>", "snow</w>", "sn"], [[1.0], [1.0], [1.0]], counts=[20, 3, 20]))
    (array([ True,  True, False]), 0)
    """
    by_count = np.sort([] if embeddings.counts is None else embeddings.counts[embeddings.is_word])[::-1]
    if embeddings.counts is None or len(by_count) < FEWEST_SHOWN:
        return embeddings.is_word, 0
    least = min(OFTEN, int(by_count[FEWEST_SHOWN - 1]))
    return embeddings.is_word & (embeddings.counts >= least), least


def nearest_words(embeddings: Embeddings, query: str, topn: int) -> list[tuple[str, float]]:
    """Return what `most_similar` does, of `shown_words` alone; of a word's tokens, with and without a space, the nearer."""
    is_shown, _ = shown_words(embeddings)
    nearest: dict[str, tuple[str, float]] = {}
    for token, score in embeddings.most_similar(query, len(embeddings), words_only=True):
        if is_shown[embeddings.token_to_index[token]]:
            nearest.setdefault(embeddings.word_of(token), (token, score))
    nearest.pop(query, None)
    return [*nearest.values()][:topn]


def display_token(token: str, rule: Splitting = SPLITTINGS["words"]) -> str:
    """Return a token as people read it: a word as it is, a fragment with a hyphen where its word continues.

    >>> display_token("creature</w>"), display_token("creat")
    ('creature', 'creat-')
    >>> from tokembed.bpe.splitting import rule_of
    >>> display_token("Ġcreature", rule_of("gpt2")), display_token("ing", rule_of("gpt2"))
    ('creature', '-ing')
    """
    if rule.is_lossless:
        return ("" if rule.edges(token)[0] else "-") + rule.word_of(token)
    return rule.word_of(token) if token.endswith(END_OF_WORD) and token != END_OF_WORD else token + "-"


def describe_neighbours(
    embeddings: Embeddings, queries: Sequence[str] = (), *, words_only: bool = True, num_queries: int = 10, topn: int = 5
) -> Finding:
    """Report the tokens nearest to the words asked for, or to some words of the corpus.

    Of words, only those that occur often enough (`shown_words`).
    """
    chosen = list(queries) or query_words(embeddings, num_queries)
    nearest = nearest_words if words_only else Embeddings.most_similar
    found = [
        (query, [(display_token(token, embeddings.rule), score) for token, score in nearest(embeddings, query, topn)])
        for query in chosen
    ]
    labels = [with_fragments(embeddings, query) for query in chosen]
    width = max(14, *(min(len(label), 30) for label in labels))
    lines = ["nearest neighbours (cosine)" + (", fragments left out" if words_only else ", fragments (-) among them")]
    for label, (_, near) in zip(labels, found, strict=True):
        lines.append(f"  {label:<{width}} " + "  ".join(f"{word:>13} {score:.2f}" for word, score in near))
    composed = [label for label, query in zip(labels, chosen, strict=True) if label != query]
    made = "composed of n-grams" if embeddings.composition is not None else "means of the tokens that they are cut into"
    notes = [f"Not tokens, but {made}: {', '.join(composed)}."] if composed else []
    _, least = shown_words(embeddings)
    if words_only and least > 1:
        notes.append(f"Neighbours are words that occur {least} times or more.")
    note = " ".join(notes)
    rows = [(query, rank, word, round(score, 4)) for query, near in found for rank, (word, score) in enumerate(near, 1)]
    return Finding("nearest_neighbours", found, lines, note, ("query", "rank", "neighbour", "cosine"), rows)


def neighbour_measure(
    tokenizer: BPETokenizerLoader, facts: StreamFacts, num_queries: int = NUM_KEPT
) -> Callable[[TrainingResult], dict[str, list[str]]]:
    """Return what finds, in a training's rows, the `shown_words` nearest to a few of `query_words`; they are chosen once."""

    @functools.cache
    def words_and_rows(counts: bytes) -> tuple[list[str], npt.NDArray[np.intp], list[int]]:
        trained = np.frombuffer(counts, dtype=np.int64)
        nothing = np.zeros((len(trained), 1), dtype=np.float32)
        rows = Embeddings.of_trained_rows(tokenizer.id_to_token, nothing, trained, tokenizer, facts.word_counts)
        is_shown, _ = shown_words(rows)
        words = [rows.word_of(rows.tokens[row]) for row in np.flatnonzero(is_shown)]
        chosen = [words.index(query) for query in query_words(rows, num_queries) if query in words]
        return words, np.flatnonzero(trained)[is_shown], chosen

    def measure(result: TrainingResult) -> dict[str, list[str]]:
        words, rows, chosen = words_and_rows(result.counts.astype(np.int64).tobytes())
        if len(words) < 2:
            return {}
        unit = unit_rows(result.vectors[rows])
        cosines = unit[chosen] @ unit.T
        cosines[np.arange(len(chosen)), chosen] = -np.inf
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : min(NUM_KEPT_NEIGHBOURS, len(words) - 1)]
        return {words[query]: [words[place] for place in near] for query, near in zip(chosen, nearest.tolist(), strict=True)}

    return measure


def with_fragments(embeddings: Embeddings, word: str) -> str:
    """Return a word, and the tokens whose mean its vector is where it is no token of its own: "xyzzy (from x·y·zz·y)"."""
    tokens = embeddings.tokens_of(word)
    if len(tokens) == 1 and embeddings.word_of(tokens[0]) == embeddings.word_of(embeddings.rule.token_of(word)):
        return word
    if embeddings.composition is not None:
        return f"{word} (from its n-grams)"
    return f"{word} (from {'·'.join(embeddings.word_of(token) or token for token in tokens)})"


def neighbour_table(embeddings: Embeddings, num_queries: int = 8, topn: int = 5) -> str:
    """Return a text table: one word per line, then the words nearest to it with their cosines; or why there is none."""
    if noise := noise_in(embeddings):
        return f"\nnearest neighbours: none to show, since {noise}\n"
    _, *lines = describe_neighbours(embeddings, num_queries=num_queries, topn=topn).lines
    is_shown, least = shown_words(embeddings)
    heading = f"nearest neighbours (cosine), among {int(is_shown.sum()):,} whole words"
    heading += f" that occur {least} times or more" if least > 1 else ""
    return "\n".join(["", heading, *lines, ""])
