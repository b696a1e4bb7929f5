"use strict";

/* Text to token ids, as `BPETokenizerLoader` does it in Python, with all merges of a tokenizer or with its first ones. */

const END_OF_WORD = "</w>";

/* The splitting rule "words": a run of word characters, or one mark. JavaScript's \w is ASCII and its \s is not Python's
   (which has U+001C to U+001F and U+0085, and does not have U+FEFF), so both are spelled out. */
const PIECES = /[\p{L}\p{N}_]+|[^\p{L}\p{N}_\x09-\x0d\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/gu;
const LONE_SURROGATE = /\p{Surrogate}/u; // in a u-pattern, halves of a pair are no surrogates
const MAX_CACHED_WORDS = 50_000;
const MAX_CACHED_LENGTH = 1000;
const MERGED_AWAY = -1;

/** Return the pieces of a text, as typed. */
function pieces(text) {
  return text.match(PIECES) ?? [];
}

/** Return how many characters (code points) a text has. */
function numCharacters(text) {
  return Array.from(text).length;
}

/** A vocabulary: an alphabet, and merges in rank order. Ids: the alphabet's, one for each merge, then bytes' or `<unk>`. */
class Tokenizer {
  /** `merges` holds the left and the right id of each merge, one after the other. */
  constructor({ alphabet, merges, lowercase, byteFallback }) {
    this.lowercase = lowercase;
    this.byteFallback = byteFallback;
    this.merges = merges;
    this.numMerges = merges.length / 2;
    this.firstMergeId = alphabet.length;
    this.endOfWordId = alphabet.length - 1;
    this.idToToken = [...alphabet];
    this.lengths = alphabet.map((character) => (character === END_OF_WORD ? 0 : 1)); // in characters of text
    this.pairRanks = new Map();
    for (let rank = 0; rank < this.numMerges; rank++) {
      const [left, right] = this.parts(rank);
      this.idToToken.push(this.idToToken[left] + this.idToToken[right]);
      this.lengths.push(this.lengths[left] + this.lengths[right]);
      this.pairRanks.set(pairKey(left, right), rank);
    }
    this.specialBase = this.idToToken.length;
    if (byteFallback) {
      for (let byte = 0; byte < 256; byte++) {
        this.idToToken.push(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
      }
    } else {
      this.idToToken.push("<unk>");
    }
    this.characterIds = new Map(alphabet.map((character, id) => [character, id]));
    this.tokenToId = new Map(this.idToToken.map((token, id) => [token, id]));
    this.cache = new Map();
    this.cachedMerges = this.numMerges; // how many merges the cached words were encoded with
  }

  /** Return the two ids that the merge of a rank joins. */
  parts(rank) {
    return [this.merges[2 * rank], this.merges[2 * rank + 1]];
  }

  /** Lower each character by itself, so that it never depends on its neighbours (a final sigma would). */
  lower(piece) {
    return this.lowercase ? Array.from(piece, (character) => character.toLowerCase()).join("") : piece;
  }

  /** Return the token ids of a text, by the first `numMerges` merges; throw a RangeError at a lone surrogate. */
  encode(text, numMerges = this.numMerges) {
    checkSurrogates(text);
    const ids = [];
    for (const piece of pieces(text)) {
      for (const id of this.encodeWord(piece, numMerges)) {
        ids.push(id);
      }
    }
    return ids;
  }

  /** Return [id, start, end] of each token of a text: spans of characters, as `BPETokenizerLoader.encode_with_offsets` gives. */
  encodeWithOffsets(text, numMerges = this.numMerges) {
    checkSurrogates(text);
    const found = [];
    let start = 0; // of the piece in characters, while its index counts UTF-16 units
    let index = 0;
    for (const match of text.matchAll(PIECES)) {
      const [piece] = match;
      start += numCharacters(text.slice(index, match.index));
      index = match.index;
      const ids = this.encodeWord(piece, numMerges);
      const spans = this.spans(ids, piece);
      ids.forEach((id, place) => found.push([id, start + spans[place][0], start + spans[place][1]]));
    }
    return found;
  }

  /** Return the span of each token of a piece, counted from its first character. */
  spans(ids, piece) {
    // A character may lower to several (U+0130 does): each of those stands for the one it came from.
    const lowered = Array.from(piece, (character) => Array.from(this.lower(character)));
    const origin = lowered.flatMap((characters, place) => characters.map(() => place));
    const characters = lowered.flat();
    let position = 0;
    let bytesLeft = 0;
    return ids.map((id) => {
      let length = 1;
      if (id >= this.specialBase && this.byteFallback) {
        if (bytesLeft === 0) {
          bytesLeft = utf8(characters[position]).length;
          position += 1;
        }
        bytesLeft -= 1;
      } else {
        length = id >= this.specialBase ? 1 : this.lengths[id];
        position += length;
      }
      return [origin[position - Math.max(length, 1)], origin[position - 1] + 1]; // </w> alone: the character before it
    });
  }

  /** Return the ids of one piece, remembered unless it is long. */
  encodeWord(piece, numMerges) {
    if (numMerges !== this.cachedMerges || this.cache.size >= MAX_CACHED_WORDS) {
      this.cache.clear();
      this.cachedMerges = numMerges;
    }
    const remembered = this.cache.get(piece);
    if (remembered) {
      return remembered;
    }
    const symbols = Array.from(this.lower(piece), (each) => this.characterIds.get(each) ?? unknown(each));
    symbols.push(this.endOfWordId);
    const merged = this.merge(symbols, numMerges);
    const ids = merged.flatMap((symbol) => (symbol < 0 ? this.fallbackIds(symbol) : symbol));
    if (piece.length <= MAX_CACHED_LENGTH) {
      this.cache.set(piece, ids);
    }
    return ids;
  }

  /** Return what stands for a character outside the alphabet: its UTF-8 bytes' tokens, or <unk>. */
  fallbackIds(symbol) {
    if (!this.byteFallback) {
      return [this.specialBase];
    }
    return Array.from(utf8(String.fromCodePoint(MERGED_AWAY - 1 - symbol)), (byte) => this.specialBase + byte);
  }

  /** Merge the pair of lowest rank, the leftmost first, until none is left: a heap of pairs over linked symbols, O(L log L). */
  merge(symbols, numMerges) {
    const following = symbols.map((_, place) => (place + 1 < symbols.length ? place + 1 : -1));
    const previous = symbols.map((_, place) => place - 1);
    const heap = [];
    const rankAt = (position) => {
      const [left, right] = [symbols[position], symbols[following[position]]];
      return left < 0 || right < 0 ? undefined : this.pairRanks.get(pairKey(left, right)); // unknown characters never merge
    };
    const offer = (position) => {
      const rank = following[position] < 0 ? undefined : rankAt(position);
      if (rank < numMerges) { // undefined is below nothing
        push(heap, rank * 2 ** 32 + position); // one number in the order (rank, position)
      }
    };
    symbols.forEach((_, position) => offer(position));
    while (heap.length > 0) {
      const entry = pop(heap);
      const rank = Math.floor(entry / 2 ** 32);
      const position = entry % 2 ** 32;
      const partner = following[position];
      // An entry is stale when either half has been merged since: then the pair there has another rank, or none.
      if (partner < 0 || rankAt(position) !== rank) {
        continue;
      }
      symbols[position] = this.firstMergeId + rank;
      symbols[partner] = MERGED_AWAY;
      following[position] = following[partner];
      if (following[position] >= 0) {
        previous[following[position]] = position;
        offer(position);
      }
      if (previous[position] >= 0) {
        offer(previous[position]);
      }
    }
    return symbols.filter((symbol) => symbol !== MERGED_AWAY);
  }

  /** Return the ranks of the merges that made these tokens, ascending: after which the cuts of their text change. */
  ranksOf(ids) {
    const ranks = new Set();
    const pending = [...ids];
    while (pending.length > 0) {
      const rank = pending.pop() - this.firstMergeId;
      if (rank >= 0 && rank < this.numMerges && !ranks.has(rank)) {
        ranks.add(rank);
        pending.push(...this.parts(rank));
      }
    }
    return [...ranks].sort((a, b) => a - b);
  }
}

/** Throw a RangeError at half of a surrogate pair, which is no character. */
function checkSurrogates(text) {
  const surrogate = LONE_SURROGATE.exec(text);
  if (surrogate) {
    const place = `character ${numCharacters(text.slice(0, surrogate.index)) + 1} is half of a pair (a lone surrogate)`;
    throw new RangeError(`${place}: it is not valid Unicode, so no token can stand for it`);
  }
}

/** Return one number for a pair of ids: both are below 2^21, so it is below 2^53 and exact. */
function pairKey(left, right) {
  return left * 0x200000 + right;
}

/** Return the symbol of a character outside the alphabet: a negative number that keeps its code point. */
function unknown(character) {
  return MERGED_AWAY - 1 - character.codePointAt(0);
}

/** Return the bytes of text. */
function utf8(text) {
  return new TextEncoder().encode(text);
}

/** Put a number on a binary heap whose least is first. */
function push(heap, number) {
  let place = heap.length;
  while (place > 0) {
    const parent = (place - 1) >> 1;
    if (heap[parent] <= number) {
      break;
    }
    heap[place] = heap[parent];
    place = parent;
  }
  heap[place] = number;
}

/** Take the least number off a binary heap. */
function pop(heap) {
  const least = heap[0];
  const number = heap.pop();
  let place = 0;
  while (heap.length > 0) {
    let child = 2 * place + 1;
    if (child + 1 < heap.length && heap[child + 1] < heap[child]) {
      child += 1;
    }
    if (child >= heap.length || heap[child] >= number) {
      heap[place] = number;
      break;
    }
    heap[place] = heap[child];
    place = child;
  }
  return least;
}
