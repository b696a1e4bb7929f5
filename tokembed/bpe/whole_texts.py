"""Encoding whole texts: the wrapper of the encoding kernel, its tables and threads.

A long text is cut between pieces into parts, threads take them one by one, and what they write is joined in order. Each thread
borrows a desk for its part, with a table of the pieces seen, which outlives the call, so that the next text finds its words
there. A table grows with what it holds up to a bound; when that is reached it is emptied, and fills again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tokembed.bpe import _layouts as layouts
from tokembed.bpe.finding import (
    NUM_CODE_POINTS,
    PART,
    SHORT_TEXT,
    WORTH_A_LOOK,
    CompiledRule,
    LongText,
    PieceFinder,
    Utf8,
    address_of,
    compiled_rule,
    in_parts,
    part_size,
    utf8_of,
)  # fmt: skip
from tokembed.bpe.model import BYTE_TOKENS, UNKNOWN_TOKEN, BPEModel
from tokembed.bpe.splitting import BYTE_CHARACTERS, END_OF_WORD, utf8
from tokembed.compilation import machine_code

Output = tuple[npt.NDArray[np.int32], int]  # a buffer, and how many tokens it holds

BUFFER_TOKENS, MAX_IDLE_BUFFERS = 1 << 18, 8  # most parts fit in one: a token has more than two bytes
FIRST_PLACE = 1  # of a long piece: 0 is what the key of one that is looked for has there
FIRST_SLOTS = 1 << 12  # of a table of pieces, 32 bytes each; half of them are used
FAST_GROWTH_BYTES = 1 << 21  # up to which it grows fourfold
SHARES = {"slots": 2, "long_pieces": 4, "tokens": 4}  # one half and two quarters of the bytes that a table may take


def table_of(num_slots: int) -> npt.NDArray[np.uint64]:
    """Return empty slots, (num_slots, 4), two to a cache line."""
    room = np.zeros(4 * num_slots + 8, dtype=np.uint64)
    start = -room.ctypes.data % 64 // 8
    return room[start : start + 4 * num_slots].reshape(-1, 4)


class PieceTable:
    """The pieces that one thread has seen, with their tokens, in at most `max_bytes`, and room for one that is new."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = {name: max_bytes // share for name, share in SHARES.items()}
        self._symbols = np.empty(layouts.MAX_TOKENS_OF_A_PIECE, dtype=np.int32)
        self._made = np.empty(layouts.MADE_SIZE, dtype=np.int32)
        self._keys = np.empty((layouts.LOOK_AHEAD, 4), dtype=np.uint64)
        self._arrays: dict[str, npt.NDArray[Any]] = {
            "slots": table_of(FIRST_SLOTS),
            "long_pieces": np.empty(1 << 14, dtype=np.uint8),
            "tokens": np.empty(1 << 14, dtype=np.int32),
        }
        self._record = np.zeros(1, dtype=layouts.TABLE)
        self.address, self.state = self._record.ctypes.data, self._record[0]
        for name, array in (("symbols", self._symbols), ("made", self._made), ("keys", self._keys)):
            self.state[name] = array.ctypes.data
        self.state["long_pieces_used"] = FIRST_PLACE
        self._enter_arrays()

    @property
    def num_bytes(self) -> int:
        """The memory that it takes."""
        return sum(array.nbytes for array in self._arrays.values())

    def make_room(self) -> None:
        """Let what is full grow; forget all pieces if it may not."""
        state, arrays = self.state, self._arrays
        is_full = {
            "slots": 2 * state["num_pieces"] >= state["num_slots"],
            "long_pieces": state["long_pieces_used"] + layouts.MAX_TABLE_BYTES > state["long_pieces_size"],
            "tokens": state["tokens_used"] + layouts.MAX_TOKENS_OF_A_PIECE > state["tokens_size"],
        }
        if any(is_full[name] and 2 * arrays[name].nbytes > self._max_bytes[name] for name in arrays):
            arrays["slots"][:] = 0
            state["num_pieces"] = state["tokens_used"] = 0
            state["long_pieces_used"] = FIRST_PLACE
            return
        old = dict(arrays)
        for name, array in old.items():
            if not is_full[name]:
                continue
            # Fresh memory is slow, and entering all pieces anew too: seldom while it is little.
            larger = len(array) * (4 if 4 * array.nbytes <= min(FAST_GROWTH_BYTES, self._max_bytes[name]) else 2)
            if name == "slots":
                arrays[name] = table_of(larger)
            else:
                arrays[name] = np.empty(larger, dtype=array.dtype)
                arrays[name][: len(array)] = array
        self._enter_arrays()
        if is_full["slots"]:
            move_entries = machine_code("tokembed.bpe._memory", "move_entries").call
            move_entries(old["slots"].ctypes.data, len(old["slots"]), arrays["slots"].ctypes.data, len(arrays["slots"]))

    def _enter_arrays(self) -> None:
        for name, size in (("slots", "num_slots"), ("long_pieces", "long_pieces_size"), ("tokens", "tokens_size")):
            self.state[name], self.state[size] = self._arrays[name].ctypes.data, len(self._arrays[name])


class _Desk:
    """What one thread works with."""

    def __init__(self, rule: CompiledRule, fields: dict[str, int], max_table_bytes: int) -> None:
        self.finder, self.table = PieceFinder(rule), PieceTable(max_table_bytes)
        for name, value in {**self.finder.fields, **fields}.items():
            self.table.state[name] = value
        self.output = np.empty(SHORT_TEXT, dtype=np.int32)
        self.octets = np.empty(4 * PART, dtype=np.uint8)  # of most parts of a text; not resident until it is used
        # numpy takes a microsecond to tell an address.
        self.table_address, self.output_address = self.table.address, self.output.ctypes.data


class BulkEncoder:
    """Encode whole texts by the layouts.

    Parameters
    ----------
    model : BPEModel
        One whose splitting rule the kernels know; see `Splitting.family`.
    max_table_bytes : int
        How much memory a thread's table of pieces may take.
    """

    def __init__(self, model: BPEModel, max_table_bytes: int) -> None:
        self._rule, self._max_table_bytes = compiled_rule(model.rule), max_table_bytes
        ids, merge_ids = model.vocab, model.merge_ids
        made = merge_ids[:, 2]
        # Where ids follow the merges' order they serve as ranks.
        is_in_order = model.merges_tie or bool(np.all(made[1:] == made[:-1] + 1))
        self._merges = layouts.merge_table(len(made))
        self._first_merges = np.full((256, 256), layouts.NO_PAIR, dtype=np.int32)
        values = made.copy() if is_in_order else np.arange(len(made), dtype=np.int32)
        self._made_ids = np.empty(0, dtype=np.int32) if is_in_order else made.copy()
        if model.rule.is_lossless:
            self._symbol_ids = np.array([ids[character] for character in BYTE_CHARACTERS], dtype=np.int32)
            end_of_word, byte_base, unknown = -1, -1, -1
        else:
            # Zeros are not resident until they are touched: of 1.1 million entries only a few pages are.
            self._symbol_ids = np.zeros(NUM_CODE_POINTS, dtype=np.int32)
            for index, character in enumerate(model.alphabet[:-1]):
                self._symbol_ids[ord(character)] = index + 1
            end_of_word = ids[END_OF_WORD]
            byte_base, unknown = ids.get(BYTE_TOKENS[0], -1), ids.get(UNKNOWN_TOKEN, -1)
        self._lower_steps = lower_steps() if model.lowers else np.empty(0, dtype=np.int32)
        self._rules = np.zeros(1, dtype=layouts.RULES)
        self._rules[0] = (
            self._merges.ctypes.data, layouts.shift_of(self._merges), self._first_merges.ctypes.data, _address(self._made_ids),
            self._symbol_ids.ctypes.data, not model.rule.is_lossless, _address(self._lower_steps), end_of_word, byte_base,
            unknown,
        )  # fmt: skip
        merging = "tokembed.bpe._merging_kernels"
        pairs = merge_ids[:, :2].copy()
        machine_code(merging, "enter_merges").call(self._rules.ctypes.data, pairs.ctypes.data, values.ctypes.data, len(values))
        whole = model.whole_pieces
        self._octets = b"\0" + b"".join(whole)  # none begins at 0, see `FIRST_PLACE`
        self._whole_pieces = table_of(1 << (2 * len(whole) + 1).bit_length())
        #: What a desk's table must know of all this: fields of its record.
        self._fields = {
            "merger": machine_code(merging, "tokens_of").address,
            "rules": self._rules.ctypes.data,
            "whole_pieces": self._whole_pieces.ctypes.data,
            "num_whole_slots": len(self._whole_pieces),
            "whole_octets": address_of(self._octets),
        }
        encoding = "tokembed.bpe._encoding_kernels"
        self._encode_text = machine_code(encoding, "encode_text").call
        desk = self._new_desk()
        starts, its_ids = 1 + np.cumsum([0, *map(len, whole)]), np.array([*whole.values()], dtype=np.int32)
        is_checked = not (model.ignore_merges or model.reaches_all)
        enter_whole_pieces = machine_code(encoding, "enter_whole_pieces").call
        enter_whole_pieces(desk.table_address, is_checked, starts.ctypes.data, its_ids.ctypes.data, len(whole))
        self._desks = [desk]  # insert and pop are atomic
        self._buffers: list[npt.NDArray[np.int32]] = []

    def encode(self, text: str, num_threads: int | None = None) -> npt.NDArray[np.int32]:
        """Return the token ids of a text; raise `ValueError` at a lone surrogate."""
        if self._desks and isinstance(text, str) and len(text) <= SHORT_TEXT:  # else a desk is to be made first
            if len(text) < WORTH_A_LOOK:  # of 60 characters every call counts
                octets = utf8(text)
                desk, address, size = self._take_desk(0), address_of(octets), len(octets)
            else:
                desk = self._take_desk(0)
                try:
                    octets, address, size = utf8_of(text, desk.octets)
                except ValueError:  # no other error leaves the desk as it was
                    self._put_back(desk, 0)
                    raise
            used = self._encode_text(desk.table_address, address, 0, size, size, desk.output_address, SHORT_TEXT)
            ids = desk.output[:used].copy()
            self._put_back(desk, 0)
            if used >= 0:
                return ids
        long_text = LongText(text)

        def encode_part(worker: int, start: int, end: int) -> list[Output]:
            desk = self._take_desk(worker)
            part = long_text.part(start, end, desk.octets)
            outputs = self._run(desk, part, 0, part.size)
            self._put_back(desk, worker)  # not after an error: the table may be half written
            return outputs

        return self._encode_parts(len(text), long_text.cuts(self._rule, num_threads), num_threads, encode_part)

    def encode_batch(
        self, texts: Iterable[str], num_threads: int | None = None
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the token ids of all texts in one array, and where each text's begin, the last one's end too: (N + 1,)."""
        octets = [utf8(text) for text in texts]
        byte_ends = np.cumsum([0, *map(len, octets)])
        source = Utf8.of(b"".join(octets))
        offsets = np.zeros(len(octets) + 1, dtype=np.int64)

        def encode_part(worker: int, first: int, last: int) -> list[Output]:
            desk = self._take_desk(worker)
            desk.finder.set_text_ends(byte_ends[1:], first, last)
            state = desk.table.state
            state["token_ends"], state["num_token_ends"], state["num_before"] = offsets[first + 1 :].ctypes.data, 0, 0
            outputs = self._run(desk, source, int(byte_ends[first]), int(byte_ends[last]))
            desk.finder.set_text_ends(byte_ends, 0, 0)
            self._put_back(desk, worker)
            return outputs

        step = part_size(source.size, num_threads)
        bounds = np.unique([0, *np.searchsorted(byte_ends, np.arange(step, source.size, step)), len(octets)]).tolist()
        ids = self._encode_parts(source.size, bounds, num_threads, encode_part)
        for first, last in itertools.pairwise(bounds):
            offsets[first + 1 : last + 1] += offsets[first]
        return ids, offsets

    def _take_desk(self, worker: int) -> _Desk:
        # The first worker takes the first and puts it back there, the others the last: each finds the pieces that it has seen.
        try:
            return self._desks.pop(-1 if worker else 0)
        except IndexError:
            return self._new_desk()

    def _new_desk(self) -> _Desk:
        return _Desk(self._rule, self._fields, self._max_table_bytes)

    def _put_back(self, desk: _Desk, worker: int) -> None:
        self._desks.insert(len(self._desks) if worker else 0, desk)

    def _take_buffer(self, size: int) -> npt.NDArray[np.int32]:
        # Fresh memory costs more than filling it, so a part's output goes into a used buffer and is copied out from there.
        if size > BUFFER_TOKENS:
            return np.empty(size, dtype=np.int32)
        try:
            return self._buffers.pop()
        except IndexError:
            return np.empty(BUFFER_TOKENS, dtype=np.int32)

    def _run(self, desk: _Desk, text: Utf8, start: int, end: int) -> list[Output]:
        """Encode one part of a text; return its tokens, in order."""
        state, outputs = desk.table.state, list[Output]()
        buffer, used = self._take_buffer(0), 0
        while True:
            place = buffer.ctypes.data + 4 * used
            written = self._encode_text(desk.table_address, text.address, start, end, text.size, place, buffer.size - used)
            used += int(state["num_written"])
            if written >= 0:
                return [*outputs, (buffer, used)]
            if state["reason"] == layouts.NO_MEMORY:
                raise MemoryError
            if state["reason"] == layouts.TABLE_FULL:
                desk.table.make_room()
            else:
                outputs.append((buffer, used))
                buffer, used = self._take_buffer(int(state["needed"])), 0
            start = -1

    def _encode_parts(
        self, size: int, bounds: list[int], num_threads: int | None, encode_part: Callable[[int, int, int], list[Output]]
    ) -> npt.NDArray[np.int32]:
        """Encode the parts between `bounds` on threads; return the tokens of all."""
        # Most text has three characters per token or more; where it has fewer, the array grows.
        tokens = np.empty(size // 3 + 64, dtype=np.int32)
        num_tokens = 0

        def append(outputs: list[Output]) -> None:
            nonlocal num_tokens
            for buffer, used in outputs:
                if num_tokens + used > tokens.size:
                    tokens.resize(3 * (num_tokens + used) // 2, refcheck=False)
                tokens[num_tokens : num_tokens + used] = buffer[:used]
                num_tokens += used
                if buffer.size == BUFFER_TOKENS and len(self._buffers) < MAX_IDLE_BUFFERS:
                    self._buffers.append(buffer)

        in_parts(bounds, num_threads, encode_part, append)
        tokens.resize(num_tokens, refcheck=False)
        return tokens


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.ctypes.data) if array.size else 0


@lru_cache(maxsize=1)
def lower_steps() -> npt.NDArray[np.int32]:
    """Return by how much each code point moves when lowered by itself, shape (0x110000,); the kernel knows U+0130 apart."""
    steps = np.zeros(NUM_CODE_POINTS, dtype=np.int32)
    # Surrogates have no case; U+0130 lowers to two characters; a sigma's lower case depends on its neighbours in a str.
    every = np.delete(np.arange(NUM_CODE_POINTS, dtype="<u4"), [0x130, 0x3A3, *range(0xD800, 0xE000)])
    lowered = np.frombuffer(every.tobytes().decode("utf-32-le").lower().encode("utf-32-le"), dtype="<u4")
    changed = every != lowered
    steps[every[changed]] = lowered[changed].astype(np.int32) - every[changed].astype(np.int32)
    steps[0x3A3] = ord("σ") - 0x3A3
    return steps
