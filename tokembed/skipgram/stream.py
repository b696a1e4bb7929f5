"""The stream of ids that is trained on: one array, or the parts of it that a process has."""

from __future__ import annotations

import bisect
import itertools
import mmap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.integer[Any]]
FORGET_TOKENS = 1 << 20  # at a time: 4 MB


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
        """Yield the bounds of blocks of at most `size` tokens of `first` to `last` (exclusive), none across two arrays.

        The memory of mapped tokens that lie far enough behind is given back: some thread may still be on the last of them.
        """
        while first < last:
            end = min(first + size, last, self._starts[bisect.bisect_right(self._starts, first)])
            yield first, end
            if end // FORGET_TOKENS > first // FORGET_TOKENS:
                behind = (end // FORGET_TOKENS - 1) * FORGET_TOKENS
                for array in self._between(behind - FORGET_TOKENS, behind):
                    forget(array)
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


def forget(ids: Ids) -> None:
    """Give the memory of a memory-mapped array, (N,), back to the system, which reads it from the file again when it is needed.

    Other arrays stay, and so do maps that can be written to: theirs may be the only copy.
    """
    owner: Any = ids
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    if isinstance(owner, np.memmap) and owner.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        # A map begins at a page, less than one before the array.
        first_page = owner.ctypes.data // mmap.PAGESIZE
        place = ids.ctypes.data // mmap.PAGESIZE - first_page
        num_bytes = ids.ctypes.data + ids.nbytes - (first_page + place) * mmap.PAGESIZE
        owner.base.madvise(mmap.MADV_DONTNEED, place * mmap.PAGESIZE, num_bytes)
