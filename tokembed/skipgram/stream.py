"""The stream of ids that is trained on: one array, or the parts of it that a process has."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.integer[Any]]


class TokenStream:
    """A stretch of a stream, in arrays one after the other, each (N,) and perhaps memory-mapped.

    `first_position` is where it begins in the whole stream: what is drawn for a token depends on its place there, whichever
    process trains on it. Windows end where an array does.
    """

    def __init__(self, arrays: Sequence[Ids], first_position: int = 0) -> None:
        self.arrays = list(arrays)
        self.first_position = first_position
        self._starts = [0, *itertools.accumulate(len(array) for array in self.arrays)]

    @property
    def size(self) -> int:
        """The number of tokens."""
        return self._starts[-1]

    def blocks(self, first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
        """Yield the bounds of blocks of at most `size` tokens of `first` to `last` (exclusive), none across two arrays."""
        while first < last:
            end = min(first + size, last, self._starts[bisect.bisect_right(self._starts, first)])
            yield first, end
            first = end

    def locate(self, first: int) -> tuple[Ids, int]:
        """Return the array that holds a token, and the token of the stream that the array begins with."""
        index = bisect.bisect_right(self._starts, first) - 1
        return self.arrays[index], self._starts[index]

    def share(self, rank: int, size: int) -> TokenStream:
        """Return one of `size` equal shares.

        >>> TokenStream([np.arange(4), np.arange(8)]).share(0, 2).arrays
        [array([0, 1, 2, 3]), array([0, 1])]
        """
        first, last = (number * self.size // size for number in (rank, rank + 1))
        return TokenStream(self._between(first, last), self.first_position + first)

    def _between(self, first: int, last: int) -> list[Ids]:
        """Return the arrays of tokens `first` to `last` (exclusive)."""
        arrays = [
            array[max(first - start, 0) : max(last - start, 0)] for array, start in zip(self.arrays, self._starts, strict=False)
        ]
        return [array for array in arrays if len(array)]
