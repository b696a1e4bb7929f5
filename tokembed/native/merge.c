/* Merging: the symbols of a piece to its tokens. The Python twin is `bpe/word_encoder.py`.
 *
 * The pair of lowest rank is merged first, the leftmost of equals, until no pair merges. Up to 64 symbols are looked through for
 * each merge. More are merged in little more than linear time: pairs wait in buckets of ranks, and only the bucket that is being
 * emptied is kept sorted, as a heap.
 *
 * A pair's `value` decides when it is merged. It is the merge's rank or, if ids follow the order of the merges, the id that it makes.
 */
#include "pieces.h"

enum { FEW = 64 };                     /* symbols that have a bit each in one number */
enum { FILTER_BITS = 20, FILTER_WORDS = 1 << (FILTER_BITS - 6) };
static const int32_t NO_PAIR = INT32_MAX;
static const uint64_t EMPTY = UINT64_MAX;

/* ---- the table of merges: left id, right id (21 bits each) and value (22) in one number ---- */

static inline uint64_t pair_key(int32_t left, int32_t right) { return (uint64_t)left << 21 | (uint64_t)right; }

/* Return the value of the pair (left, right), or NO_PAIR. */
static inline int32_t find_merge(merge_table merges, int32_t left, int32_t right) {
    uint64_t key = pair_key(left, right), hash = key * HASH_MULTIPLIER, bit = hash >> (64 - FILTER_BITS);
    /* Most pairs do not merge, and the bits that say so lie in a near cache. */
    if (!(merges.filter[bit >> 6] >> (bit & 63) & 1)) return NO_PAIR;
    for (size_t slot = (size_t)(hash >> merges.shift); merges.slots[slot] != EMPTY; slot = (slot + 1) & merges.mask)
        if (merges.slots[slot] >> 22 == key) return (int32_t)(merges.slots[slot] & 0x3FFFFF);
    return NO_PAIR;
}

static inline void prefetch_merge(merge_table merges, int32_t left, int32_t right) {
    __builtin_prefetch(merges.slots + ((pair_key(left, right) * HASH_MULTIPLIER) >> merges.shift));
}

/* Enter a pair; of two values for one pair the first counts. */
static void enter_merge(tk_vocab *vocab, int32_t left, int32_t right, int32_t value) {
    if (left < 256 && right < 256) {
        int32_t *first = vocab->first_merges + 256 * left + right;
        if (value < *first) *first = value;
    }
    if (value > vocab->merges.max_value) vocab->merges.max_value = value;
    merge_table merges = vocab->merges;
    uint64_t key = pair_key(left, right), hash = key * HASH_MULTIPLIER, bit = hash >> (64 - FILTER_BITS);
    size_t slot = (size_t)(hash >> merges.shift);
    for (; merges.slots[slot] != EMPTY; slot = (slot + 1) & merges.mask)
        if (merges.slots[slot] >> 22 == key) return;
    merges.slots[slot] = key << 22 | (uint64_t)value;
    merges.filter[bit >> 6] |= 1ULL << (bit & 63);
}

/* Give a vocabulary an empty table for so many merges; false: no memory. */
static bool make_merges(tk_vocab *vocab, size_t num_merges) {
    int shift = __builtin_clzll(2 * num_merges + 16);
    size_t num_slots = (size_t)1 << (64 - shift);
    uint64_t *slots = table_memory((num_slots + FILTER_WORDS) * sizeof *slots);
    vocab->merges = (merge_table){.slots = slots, .filter = slots + num_slots, .mask = num_slots - 1, .shift = shift};
    vocab->first_merges = malloc(256 * 256 * sizeof *vocab->first_merges);
    if (!slots || !vocab->first_merges) return false;
    memset(slots, 0xFF, num_slots * sizeof *slots);
    memset(vocab->merges.filter, 0, FILTER_WORDS * sizeof *slots);
    for (int i = 0; i < 256 * 256; i++) vocab->first_merges[i] = NO_PAIR;
    return true;
}

/* ---- few symbols ---- */

/* A value and, in the lowest 6 bits, the index of the pair's left symbol: the least of them is the next pair to merge. */
static inline int32_t candidate(int32_t value, int index) { return value == NO_PAIR ? NO_PAIR : value << 6 | index; }

/* Merge up to 64 symbols; return how many remain. Which symbols are left are the bits of one number. */
static size_t merge_few(const tk_vocab *vocab, int32_t *symbols, size_t size) {
    const merge_table merges = vocab->merges;
    const int32_t *first_merges = vocab->first_merges, *made_ids = vocab->made_ids;
    int32_t candidates[FEW];
    for (int i = 0; i + 1 < (int)size; i++) {
        uint32_t left = (uint32_t)symbols[i], right = (uint32_t)symbols[i + 1];
        int32_t value = left < 256 && right < 256 ? first_merges[256 * left + right]
                                                  : find_merge(merges, symbols[i], symbols[i + 1]);
        candidates[i] = candidate(value, i);
    }
    size_t padded = (size + 14) / 16 * 16; /* whole vectors: what is left over would be compared one by one */
    for (size_t i = size - 1; i < padded; i++) candidates[i] = NO_PAIR;
    uint64_t left = ALL_BITS >> (64 - size);
    for (;;) {
        int32_t best = NO_PAIR;
        for (size_t i = 0; i < padded; i++) best = candidates[i] < best ? candidates[i] : best;
        if (best == NO_PAIR) break;
        int index = best & 63;
        int32_t symbol = made_ids ? made_ids[best >> 6] : best >> 6;
        symbols[index] = symbol;
        uint64_t behind = left & ALL_BITS << index << 1;
        int partner = __builtin_ctzll(behind);
        left &= ~(1ULL << partner);
        candidates[partner] = candidates[index] = NO_PAIR;
        behind &= left;
        uint64_t before = left & ~(ALL_BITS << index);
        int previous = before ? 63 - __builtin_clzll(before) : 0;
        if (behind) {
            if (before) prefetch_merge(merges, symbols[previous], symbol); /* the second lookup, before the first completes */
            candidates[index] = candidate(find_merge(merges, symbol, symbols[__builtin_ctzll(behind)]), index);
        }
        if (before) candidates[previous] = candidate(find_merge(merges, symbols[previous], symbol), previous);
    }
    size_t kept = 0;
    for (; left; left &= left - 1) symbols[kept++] = symbols[__builtin_ctzll(left)];
    return kept;
}

/* ---- many symbols ---- */

/* A long piece: its symbols' links, and their pairs' values, by index; -1 is none. Pairs of a value wait in the bucket value >> width,
 * a list. While a bucket is emptied its pairs are in the heap, as value << 32 | index. */
typedef struct {
    merge_table merges;
    int32_t *symbols, *values, *previous, *following;
    int32_t *earlier, *later, *buckets;
    heap heap;
    int32_t bucket, width;
} long_piece;

/* Give the pair of `left` and `right` its value, that of none if there is no `right`, and have it wait for its turn. */
static void update_pair(long_piece *p, int32_t left, int32_t right) {
    int32_t old = p->values[left] >> p->width, value = NO_PAIR;
    if (p->values[left] != NO_PAIR && old > p->bucket) {
        int32_t *link = p->earlier[left] >= 0 ? p->later + p->earlier[left] : p->buckets + old;
        *link = p->later[left];
        if (p->later[left] >= 0) p->earlier[p->later[left]] = p->earlier[left];
    }
    if (right >= 0) value = find_merge(p->merges, p->symbols[left], p->symbols[right]);
    p->values[left] = value;
    if (value == NO_PAIR) return;
    if (value >> p->width <= p->bucket) {
        push(&p->heap, (ticket)value << 32 | (uint32_t)left);
        return;
    }
    int32_t *first = p->buckets + (value >> p->width);
    p->earlier[left] = -1;
    p->later[left] = *first;
    if (*first >= 0) p->earlier[*first] = left;
    *first = left;
}

/* Do as `merge_few` does for any number of symbols; return -1 if there is no memory for it. */
static ptrdiff_t merge_many(const tk_vocab *vocab, int32_t *symbols, size_t length) {
    int32_t end = (int32_t)length, num_buckets, width = 0;
    while ((vocab->merges.max_value >> width) + 1 > end) width++;
    num_buckets = (vocab->merges.max_value >> width) + 1;
    size_t size = 2 * length * sizeof(ticket) + (5 * length + (size_t)num_buckets) * sizeof(int32_t);
    ticket *memory = length < INT32_MAX ? malloc(size) : NULL;
    if (!memory) return -1;
    int32_t *rows = (int32_t *)(memory + 2 * length);
    long_piece p = {
        .merges = vocab->merges, .symbols = symbols, .heap = {memory, 0}, .bucket = -1, .width = width, .values = rows,
        .previous = rows + length, .following = rows + 2 * length, .earlier = rows + 3 * length, .later = rows + 4 * length,
        .buckets = rows + 5 * length,
    };
    memset(p.buckets, 0xFF, (size_t)num_buckets * sizeof(int32_t));
    for (int32_t i = end - 1; i >= 0; i--) {
        p.previous[i] = i - 1;
        p.following[i] = i + 1 < end ? i + 1 : -1;
        p.values[i] = NO_PAIR;
        update_pair(&p, i, p.following[i]);
    }
    for (p.bucket = 0; p.bucket < num_buckets; p.bucket++) {
        for (int32_t i = p.buckets[p.bucket]; i >= 0; i = p.later[i]) push(&p.heap, (ticket)p.values[i] << 32 | (uint32_t)i);
        while (p.heap.size > 0) {
            ticket least = pop(&p.heap);
            int32_t value = (int32_t)(least >> 32), index = (int32_t)(least & UINT32_MAX);
            if (p.values[index] != value) continue; /* a neighbour was merged since */
            int32_t partner = p.following[index], after = p.following[partner], before = p.previous[index];
            symbols[index] = vocab->made_ids ? vocab->made_ids[value] : value;
            p.following[index] = after;
            if (after >= 0) p.previous[after] = index;
            update_pair(&p, partner, -1);
            update_pair(&p, index, after);
            if (before >= 0) update_pair(&p, before, index);
        }
    }
    ptrdiff_t kept = 0;
    for (int32_t i = 0; i >= 0; i = p.following[i]) symbols[kept++] = symbols[i];
    free(memory);
    return kept;
}

/* ---- one piece ---- */

/* The tokens of a piece so far. Those from `start` on are symbols that are not merged yet. */
typedef struct {
    int32_t *tokens;
    size_t start, size;
} token_list;

/* Merge the symbols; false: no memory. */
static bool merge_symbols(const tk_vocab *vocab, token_list *list) {
    size_t count = list->size - list->start;
    int32_t *symbols = list->tokens + list->start;
    ptrdiff_t merged = (ptrdiff_t)count;
    if (count > FEW)
        merged = merge_many(vocab, symbols, count);
    else if (count > 1)
        merged = (ptrdiff_t)merge_few(vocab, symbols, count);
    list->start = list->size = list->start + (size_t)merged;
    return merged >= 0;
}

/* Append a character. An unknown one becomes its bytes' tokens, or <unk>: no merge reaches over those. */
static inline bool append_character(const tk_vocab *vocab, uint32_t character, token_list *list) {
    const tk_vocab_settings *settings = &vocab->settings;
    int32_t known = settings->symbol_ids[character];
    if (known > 0) {
        list->tokens[list->size++] = known - 1;
        return true;
    }
    if (!merge_symbols(vocab, list)) return false;
    uint8_t octets[4];
    size_t num_octets = settings->byte_base < 0 ? 0 : write_character(character, octets);
    for (size_t i = 0; i < num_octets; i++) list->tokens[list->size++] = settings->byte_base + octets[i];
    if (num_octets == 0) list->tokens[list->size++] = settings->unknown;
    list->start = list->size;
    return true;
}

/* Append a word's characters, lowered, and the end of a word. */
static bool append_word(const tk_vocab *vocab, const uint8_t *text, size_t length, token_list *list) {
    const int32_t *lower_steps = vocab->settings.lower_steps;
    size_t num_bytes;
    for (const uint8_t *end = text + length; text < end; text += num_bytes) {
        uint32_t character = character_at(text, &num_bytes);
        if (lower_steps && character == 0x130) { /* the one character that lowers to two: i and a combining dot */
            if (!append_character(vocab, 'i', list)) return false;
            character = 0x307;
        } else if (lower_steps) {
            character += (uint32_t)lower_steps[character];
        }
        if (!append_character(vocab, character, list)) return false;
    }
    list->tokens[list->size++] = vocab->settings.end_of_word;
    return true;
}

ptrdiff_t tokens_of(const tk_vocab *vocab, const uint8_t *text, size_t length, int32_t *tokens) {
    token_list list = {.tokens = tokens};
    if (vocab->settings.rule.family == TK_WORDS) {
        if (!append_word(vocab, text, length, &list)) return TK_NO_MEMORY;
    } else {
        for (size_t i = 0; i < length; i++) tokens[list.size++] = vocab->settings.symbol_ids[text[i]];
    }
    return merge_symbols(vocab, &list) ? (ptrdiff_t)list.size : TK_NO_MEMORY;
}

/* ---- vocabularies ---- */

/* Enter the pieces that are a token each, less those that merges make something else of; false: no memory. */
static bool enter_whole_pieces(tk_vocab *vocab) {
    const tk_vocab_settings *settings = &vocab->settings;
    int32_t tokens[2 * TK_MAX_KEPT + 2];
    for (size_t t = 0; t < settings->num_pieces; t++) {
        const uint8_t *text = settings->pieces + settings->piece_starts[t];
        size_t length = (size_t)(settings->piece_starts[t + 1] - settings->piece_starts[t]);
        if (length == 0 || length > TK_MAX_KEPT) continue;
        if (settings->checks_pieces) {
            ptrdiff_t count = tokens_of(vocab, text, length, tokens);
            if (count < 0) return false;
            if (count != 1 || tokens[0] != settings->piece_ids[t]) continue;
        }
        if (!has_room(&vocab->whole_pieces, length) && !grow_table(&vocab->whole_pieces, length)) return false;
        piece_key key = key_of(text, length);
        entry *found = find_entry(&vocab->whole_pieces, key, text, length);
        if (found->high == 0) enter_piece(&vocab->whole_pieces, found, key, text, length);
        found->value = (uint64_t)settings->piece_ids[t];
        found->more = 1ULL << 32; /* token */
    }
    return true;
}

tk_vocab *tk_vocab_new(const tk_vocab_settings *settings) {
    tk_vocab *vocab = calloc(1, sizeof *vocab);
    if (!vocab) return NULL;
    vocab->settings = *settings;
    size_t num_slots = (size_t)1 << (64 - __builtin_clzll(2 * settings->num_pieces + 1));
    bool is_made = make_merges(vocab, settings->num_merges) && make_table(&vocab->whole_pieces, num_slots < 2 ? 2 : num_slots);
    if (is_made && !settings->ids_are_ranks) {
        vocab->made_ids = malloc((settings->num_merges + 1) * sizeof *vocab->made_ids);
        is_made = vocab->made_ids != NULL;
    }
    for (size_t rank = 0; is_made && rank < settings->num_merges; rank++) {
        const int32_t *merge = settings->merges + 3 * rank; /* left, right, made */
        enter_merge(vocab, merge[0], merge[1], settings->ids_are_ranks ? merge[2] : (int32_t)rank);
        if (!settings->ids_are_ranks) vocab->made_ids[rank] = merge[2];
    }
    if (is_made && enter_whole_pieces(vocab)) return vocab;
    tk_vocab_free(vocab);
    return NULL;
}

void tk_vocab_free(tk_vocab *vocab) {
    if (!vocab) return;
    free(vocab->merges.slots);
    free(vocab->first_merges);
    free(vocab->made_ids);
    free_table(&vocab->whole_pieces);
    free(vocab);
}

bool tk_derive_merges(const uint8_t *tokens, const int64_t *starts, size_t num_tokens, const int32_t *symbol_ids, int32_t first_id,
                      int32_t *pairs) {
    tk_vocab vocab = {.settings = {.rule = {.family = TK_GPT2}, .symbol_ids = symbol_ids}};
    size_t longest = 0;
    for (size_t t = 0; t < num_tokens; t++)
        if ((size_t)(starts[t + 1] - starts[t]) > longest) longest = (size_t)(starts[t + 1] - starts[t]);
    int32_t *symbols = malloc((2 * longest + 2) * sizeof *symbols);
    bool is_done = symbols && make_merges(&vocab, num_tokens);
    for (size_t t = 0; is_done && t < num_tokens; t++) {
        size_t length = (size_t)(starts[t + 1] - starts[t]);
        ptrdiff_t count = length ? tokens_of(&vocab, tokens + starts[t], length, symbols) : 0;
        is_done = count >= 0;
        pairs[2 * t] = pairs[2 * t + 1] = -1;
        if (count != 2) continue;
        pairs[2 * t] = symbols[0];
        pairs[2 * t + 1] = symbols[1];
        enter_merge(&vocab, symbols[0], symbols[1], first_id + (int32_t)t);
    }
    free(symbols);
    free(vocab.merges.slots);
    free(vocab.first_merges);
    return is_done;
}
