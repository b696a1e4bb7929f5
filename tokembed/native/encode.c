/* Encoding: text to token ids. The Python twin is `bpe/tokenizer.py` with its cache of words.
 *
 * Text repeats its words. So each thread has a table of the pieces that it has seen, with their tokens: a piece is merged once,
 * when it is new, and is found by its bytes ever after. A hit touches one cache line, which holds the key and up to three tokens.
 * Memory is slow but answers many requests at once, so the entries of the next 32 pieces are prefetched together. The table grows
 * up to a bound and is then emptied. Lower-casing, too, happens only when a piece is new.
 */
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "pieces.h"

enum { LOOK_AHEAD = 32 };   /* pieces whose entries are prefetched together */
enum { INLINE_TOKENS = 3 }; /* that fit into an entry; of more the entry has the offset in `tokens` */

struct tk_encoder {
    const tk_vocab *vocab;
    tk_python python;
    piece_table seen; /* value and more: three tokens, or the offset of more, and above 32 bits of `more` their number */
    int32_t *tokens;
    size_t tokens_size, tokens_used, max_bytes, max_kept; /* of the table, and of a piece in it */
    piece_key keys[LOOK_AHEAD]; /* of the next pieces, and where their entries may be */
    entry *entries[LOOK_AHEAD];
    uint32_t characters[TK_SHORT_TEXT]; /* a short text's code points, and their UTF-8 */
    uint8_t octets[4 * TK_SHORT_TEXT + TK_UTF8_SLACK];
    piece pieces[BLOCK_PIECES];
};

tk_encoder *tk_encoder_new(const tk_vocab *vocab, size_t max_bytes, const tk_python *python) {
    tk_encoder *encoder = calloc(1, sizeof *encoder);
    if (!encoder) return NULL;
    encoder->vocab = vocab;
    encoder->max_bytes = vocab->settings.numbers_pieces ? SIZE_MAX : max_bytes;
    encoder->max_kept = vocab->settings.numbers_pieces ? SIZE_MAX : TK_MAX_KEPT;
    encoder->python = *python;
    if (make_table(&encoder->seen, BLOCK_PIECES)) return encoder;
    tk_encoder_free(encoder);
    return NULL;
}

void tk_encoder_free(tk_encoder *encoder) {
    if (!encoder) return;
    free_table(&encoder->seen);
    free(encoder->tokens);
    free(encoder);
}

size_t tk_encoder_bytes(const tk_encoder *encoder) {
    return encoder->seen.num_slots * sizeof(entry) + encoder->seen.octets_size + encoder->tokens_size * sizeof(int32_t);
}

size_t tk_encoder_read(const tk_encoder *encoder, uint8_t *octets, int64_t *ends, int64_t *counts) {
    const piece_table *seen = &encoder->seen;
    const entry *end = seen->entries + seen->num_slots;
    if (!ends) return seen->num_entries;
    /* Entries lie in the order of their hashes: lengths first, then each piece to where the lengths say. */
    for (const entry *at = seen->entries; at < end; at++) {
        if (!at->high) continue;
        counts[at->value] = (int64_t)(at->more & UINT32_MAX);
        ends[at->value] = (int64_t)(is_long(at->high) ? long_length(seen->octets + (uint32_t)at->high) : at->high >> 56);
    }
    for (size_t i = 1; i < seen->num_entries; i++) ends[i] += ends[i - 1];
    for (const entry *at = seen->entries; octets && at < end; at++) {
        if (!at->high) continue;
        /* The key of a short piece is its bytes, on a little-endian machine. */
        const uint8_t *source = is_long(at->high) ? seen->octets + (uint32_t)at->high : (const uint8_t *)&at->low;
        int64_t start = at->value ? ends[at->value - 1] : 0;
        memcpy(octets + start, source, (size_t)(ends[at->value] - start));
    }
    return seen->num_entries;
}

/* ---- new pieces ---- */

/* Return how many tokens a piece may have. */
static inline size_t max_tokens(const tk_encoder *encoder, size_t length) {
    return encoder->vocab->settings.numbers_pieces ? 1 : 2 * length + 2;
}

/* Make room for one more piece. Forget all if what is full may not double; false: no memory. */
static bool make_room(tk_encoder *encoder, size_t length) {
    const piece_table *seen = &encoder->seen;
    size_t num_tokens = max_tokens(encoder, length), half = encoder->max_bytes / 2, quarter = encoder->max_bytes / 4;
    bool is_full = 2 * seen->num_entries >= seen->num_slots, is_past = 2 * seen->num_slots * sizeof(entry) > half;
    if ((is_full && is_past) || (!is_full && !has_room(seen, length) && 2 * seen->octets_size > quarter) ||
        (encoder->tokens_used + num_tokens > encoder->tokens_size && 2 * encoder->tokens_size * sizeof(int32_t) > quarter)) {
        clear_table(&encoder->seen);
        encoder->tokens_used = 0;
    }
    if (encoder->tokens_used + num_tokens > encoder->tokens_size) {
        size_t size = encoder->tokens_size ? 2 * encoder->tokens_size : 1 << 14;
        int32_t *tokens = grow_memory(encoder->tokens, encoder->tokens_size * sizeof *tokens, size * sizeof *tokens);
        if (!tokens) return false;
        encoder->tokens = tokens;
        encoder->tokens_size = size;
    }
    return grow_table(&encoder->seen, length);
}

/* Write the tokens of a new piece into its entry, which has room; return false if there is no memory to merge in. */
static bool fill_entry(tk_encoder *encoder, entry *empty, piece_key key, const uint8_t *text, size_t length) {
    const piece_table *whole = &encoder->vocab->whole_pieces;
    const entry *token = find_entry(whole, key, text, length);
    int32_t *tokens = encoder->tokens + encoder->tokens_used;
    ptrdiff_t count = 1;
    if (encoder->vocab->settings.numbers_pieces)
        tokens[0] = (int32_t)encoder->seen.num_entries;
    else if (token->high)
        tokens[0] = (int32_t)token->value;
    else
        count = tokens_of(encoder->vocab, text, length, tokens);
    if (count < 0) return false;
    enter_piece(&encoder->seen, empty, key, text, length);
    empty->more = (uint64_t)count << 32;
    if (count <= INLINE_TOKENS) {
        empty->value = (uint32_t)tokens[0] | (count > 1 ? (uint64_t)(uint32_t)tokens[1] << 32 : 0);
        empty->more |= count > 2 ? (uint32_t)tokens[2] : 0;
    } else {
        empty->value = encoder->tokens_used;
        encoder->tokens_used += (size_t)count + 1; /* tokens are copied two at a time, perhaps one too many */
    }
    return true;
}

/* ---- a text ---- */

static inline bool is_of(const entry *entry, piece_key key) { return entry->low == key.low && entry->high == key.high; }

/* Compute the keys of the next pieces, and prefetch their entries. From `last` on no 16 bytes may be read. */
static inline void look_ahead(tk_encoder *encoder, const uint8_t *block, const uint8_t *last, const piece *pieces, size_t count) {
    const piece_table *seen = &encoder->seen;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *text = block + pieces[i].start;
        size_t length = pieces[i].length;
        piece_key key = {ALL_BITS, ALL_BITS};
        if (length <= MAX_INLINE && text < last)
            key = short_key(text, length);
        else if (length <= encoder->max_kept)
            key = key_of(text, length);
        entry *found = seen->entries + first_slot(key, seen->num_slots);
        __builtin_prefetch(found);
        encoder->keys[i] = key;
        encoder->entries[i] = found;
    }
}

/* Prefetch where the new ones among the next pieces are looked up after `seen`. */
static inline void look_further_ahead(tk_encoder *encoder, size_t count) {
    const piece_table *whole = &encoder->vocab->whole_pieces;
    for (size_t i = 0; i < count; i++) {
        piece_key key = encoder->keys[i];
        const entry *found = encoder->entries[i];
        if (!is_of(found, key) && !is_of(found + 1, key)) __builtin_prefetch(whole->entries + first_slot(key, whole->num_slots));
    }
}

/* Write the tokens of the pieces of a block; return where they end, or NULL if there is no memory. */
static int32_t *encode_block(tk_encoder *encoder, const uint8_t *block, const uint8_t *last, size_t num_pieces, int32_t *ids) {
    bool counts = encoder->vocab->settings.numbers_pieces;
    size_t num_seen = SIZE_MAX; /* before the last pieces that were looked up */
    for (size_t done = 0; done < num_pieces;) {
        const piece *pieces = encoder->pieces + done;
        size_t count = min_size(LOOK_AHEAD, num_pieces - done), i;
        look_ahead(encoder, block, last, pieces, count);
        if (encoder->seen.num_entries != num_seen) look_further_ahead(encoder, count); /* new pieces come in swarms */
        num_seen = encoder->seen.num_entries;
        for (i = 0; i < count; i++) {
            piece_key key = encoder->keys[i];
            entry *found = encoder->entries[i];
            if (!is_of(found, key)) found++; /* the other one of the cache line */
            if (!is_of(found, key)) {
                const uint8_t *text = block + pieces[i].start;
                size_t length = pieces[i].length;
                if (length > encoder->max_kept) { /* it comes back too rarely to be worth an entry */
                    ptrdiff_t written = tokens_of(encoder->vocab, text, length, ids);
                    if (written < 0) return NULL;
                    ids += written;
                    continue;
                }
                found = find_entry(&encoder->seen, key, text, length);
                if (!found->high) {
                    if (!has_room(&encoder->seen, length) || encoder->tokens_used + max_tokens(encoder, length) > encoder->tokens_size) {
                        if (!make_room(encoder, length)) return NULL;
                        break; /* entries have moved: look ahead anew, from this piece on */
                    }
                    if (!fill_entry(encoder, found, key, text, length)) return NULL;
                }
            }
            if (counts) found->more++;
            size_t num_tokens = (size_t)(found->more >> 32);
            if (num_tokens <= INLINE_TOKENS) {
                memcpy(ids, &found->value, 16); /* three tokens, of which the output has as many as there are */
            } else {
                const int32_t *tokens = encoder->tokens + found->value;
                for (size_t k = 0; k < num_tokens; k += 2) memcpy(ids + k, tokens + k, 8);
            }
            ids += num_tokens;
        }
        done += i;
    }
    return ids;
}

ptrdiff_t tk_encode(tk_encoder *encoder, const uint8_t *text, size_t size, int32_t *ids) {
    const int32_t *first = ids;
    if (size > UINT32_MAX) return TK_TOO_LONG; /* pieces have 32 bits for where they start */
    const uint8_t *last = size > 16 ? text + size - 15 : text;
    for (size_t start = 0, next; start < size; start = next) {
        size_t num_pieces = find_pieces(&encoder->vocab->settings.rule, text, start, size, encoder->pieces, &next);
        ids = encode_block(encoder, text + start, last, num_pieces, ids);
        if (!ids) return TK_NO_MEMORY;
    }
    return ids - first;
}

ptrdiff_t tk_encode_texts(tk_encoder *encoder, const uint8_t *texts, const int64_t *starts, size_t count, int32_t *ids,
                          int64_t *ends) {
    ptrdiff_t total = 0;
    for (size_t i = 0; i < count; i++) {
        ptrdiff_t written = tk_encode(encoder, texts + starts[i], (size_t)(starts[i + 1] - starts[i]), ids + total);
        if (written < 0) return written;
        ends[i] = total += written;
    }
    return total;
}

/* ---- a str ---- */

/* Write sixteen code points as bytes, if they are ASCII; return whether they are. */
static inline bool narrow(const uint32_t *characters, uint8_t *octets) {
#if defined(__AVX512F__) /* written out, since GCC narrows one by one */
    __m512i all = _mm512_loadu_si512(characters);
    _mm_storeu_si128((__m128i *)octets, _mm512_cvtepi32_epi8(all));
    return _mm512_cmpgt_epu32_mask(all, _mm512_set1_epi32(0x7F)) == 0;
#else
    uint32_t all = 0;
    for (int j = 0; j < 16; j++) all |= characters[j];
    for (int j = 0; j < 16; j++) octets[j] = (uint8_t)characters[j];
    return all < 0x80;
#endif
}

ptrdiff_t tk_utf8(const uint32_t *characters, size_t count, uint8_t *octets) {
    enum { AT_ONCE = 16 };
    uint8_t *first = octets;
    for (size_t i = 0; i < count;) {
        if (i + AT_ONCE <= count && narrow(characters + i, octets)) {
            octets += AT_ONCE;
            i += AT_ONCE;
            continue;
        }
        for (size_t stop = min_size(i + AT_ONCE, count); i < stop; i++) {
            if (characters[i] >= 0xD800 && characters[i] < 0xE000) return TK_SURROGATE - (ptrdiff_t)i;
            octets += write_character(characters[i], octets);
        }
    }
    return octets - first;
}

ptrdiff_t tk_encode_ascii(tk_encoder *encoder, void *text) {
    ptrdiff_t size;
    const char *octets = encoder->python.as_utf8(text, &size); /* no copy: the str's own buffer is UTF-8 */
    return octets ? tk_encode(encoder, (const uint8_t *)octets, (size_t)size, encoder->python.ids) : TK_NO_MEMORY;
}

ptrdiff_t tk_encode_str(tk_encoder *encoder, void *text) {
    /* Not as UTF-8: Python would keep that with the str for good. */
    if (!encoder->python.as_ucs4(text, encoder->characters, TK_SHORT_TEXT, 0)) return TK_NO_MEMORY;
    ptrdiff_t size = tk_utf8(encoder->characters, (size_t)encoder->python.length(text), encoder->octets);
    return size < 0 ? size : tk_encode(encoder, encoder->octets, (size_t)size, encoder->python.ids);
}
