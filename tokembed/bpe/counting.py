"""Counting the distinct pieces of whole texts, on threads: what merges are learned from."""

from __future__ import annotations

from collections import Counter

from tokembed import native
from tokembed.bpe.splitting import SPLITTINGS, Splitting, surrogate_error, utf8


def count_pieces(text: str, splitting: Splitting = SPLITTINGS["words"], num_threads: int | None = None) -> dict[str, int]:
    """Count the distinct pieces of a text, as written (not lowered), in one pass on threads.

    Raises
    ------
    ValueError
        The text holds a lone surrogate; the message names its position.

    Examples
    --------
    >>> count_pieces("Low, low low")
    {'Low': 1, ',': 1, 'low': 2}
    """
    if not splitting.family or native.library() is None or len(text) >= 2**32:
        utf8(text)  # refuses surrogates
        return dict(Counter(splitting.pieces(text)))
    from tokembed.bpe.finding import compiled_rule, cuts, in_parts
    from tokembed.native import objects

    counters: list[objects.Counter] = []  # one for each thread

    def count_part(_: int, start: int, end: int) -> None:
        counter = counters.pop() if counters else objects.Counter(compiled_rule(splitting))
        counter.count(text, start, end)
        counters.append(counter)

    try:
        in_parts(cuts(text, num_threads), num_threads, count_part, lambda _: None)
    except objects.SurrogateError as error:
        raise surrogate_error(text, error.position) from None
    total: dict[str, int] = {}
    for counter in counters:
        for piece, count in counter.counts().items():
            total[piece] = total.get(piece, 0) + count
    return total
