/* Learning merges: text to counts of pieces, and those to merges. The Python twin is `bpe/learning.py`.
 *
 * Learning rests on one fact: a merge that makes symbol X creates only pairs that hold X. So the positions of a pair are all known
 * when its younger symbol is made. They are stored once, as one run, and from then on the pair's count can only fall. Hence
 *
 * - the heap may be lazy: an entry's count is an upper bound, looked up again when it comes to the top;
 * - a pair below `min_frequency` when it is made can never be merged, and is not stored at all.
 *
 * The words lie in one flat array of symbols, linked both ways within each word. A merged symbol takes the position of its left half,
 * and the right half's position is dead (-1).
 *
 * Reference: Sennrich, Haddow, Birch (2016), Algorithm 1, for what is computed.
 */
#include "pieces.h"

/* ---- counting pieces ---- */

struct tk_counter {
    tk_rule rule;
    piece_table counts; /* value: how often the piece occurs; more: its number, by first occurrence */
    size_t num_octets;  /* of all distinct pieces */
    piece pieces[BLOCK_PIECES];
};

tk_counter *tk_counter_new(const tk_rule *rule) {
    tk_counter *counter = calloc(1, sizeof *counter);
    if (!counter) return NULL;
    counter->rule = *rule;
    if (make_table(&counter->counts, BLOCK_PIECES)) return counter;
    tk_counter_free(counter);
    return NULL;
}

void tk_counter_free(tk_counter *counter) {
    if (!counter) return;
    free_table(&counter->counts);
    free(counter);
}

bool tk_count(tk_counter *counter, const uint8_t *text, size_t size) {
    if (size > UINT32_MAX) return false; /* pieces have 32 bits for where they start */
    const uint8_t *last = size > 16 ? text + size - 15 : text; /* from which on no 16 bytes may be read */
    for (size_t start = 0, next; start < size; start = next) {
        size_t num_pieces = find_pieces(&counter->rule, text, start, size, counter->pieces, &next);
        for (size_t i = 0; i < num_pieces; i++) {
            const uint8_t *piece = text + start + counter->pieces[i].start;
            size_t length = counter->pieces[i].length;
            piece_key key = length <= MAX_INLINE && piece < last ? short_key(piece, length) : key_of(piece, length);
            entry *found = find_entry(&counter->counts, key, piece, length);
            if (!found->high) {
                if (!has_room(&counter->counts, length)) {
                    if (!grow_table(&counter->counts, length)) return false;
                    found = find_entry(&counter->counts, key, piece, length);
                }
                found->more = counter->counts.num_entries;
                enter_piece(&counter->counts, found, key, piece, length);
                counter->num_octets += length;
            }
            found->value++;
        }
    }
    return true;
}

size_t tk_counter_size(const tk_counter *counter, size_t *num_octets) {
    *num_octets = counter->num_octets;
    return counter->counts.num_entries;
}

/* Return a piece's length, and in `octets` its bytes. */
static size_t octets_of(const piece_table *table, const entry *entry, const uint8_t **octets) {
    if (!is_long(entry->high)) {
        *octets = (const uint8_t *)&entry->low; /* the key is the bytes, on a little-endian machine */
        return (size_t)(entry->high >> 56);
    }
    *octets = table->octets + (entry->high & UINT32_MAX);
    return long_length(*octets);
}

void tk_counter_read(const tk_counter *counter, uint8_t *octets, int64_t *ends, int64_t *counts) {
    const piece_table *table = &counter->counts;
    /* Entries lie in the order of their hashes: lengths first, then each piece to where the lengths say. */
    for (int pass = 0; pass < 2; pass++) {
        for (size_t slot = 0; slot < table->num_slots; slot++) {
            const entry *entry = table->entries + slot;
            if (!entry->high) continue;
            const uint8_t *source;
            size_t length = octets_of(table, entry, &source), number = (size_t)entry->more;
            counts[number] = (int64_t)entry->value;
            if (pass == 0)
                ends[number] = (int64_t)length;
            else
                memcpy(octets + ends[number] - length, source, length);
        }
        for (size_t i = 1; pass == 0 && i < table->num_entries; i++) ends[i] += ends[i - 1];
    }
}

/* ---- learning ---- */

/* A pair of symbols: left id << 32 | right id, how often it occurs (weighted), and its run of positions in the pool. */
typedef struct {
    int64_t key, count, start;
    int32_t size;
} pair;

/* What comes next, the largest count first; its count is an upper bound. */
typedef struct {
    int64_t count;
    int32_t pair;
} candidate;

/* The pairs that a merge creates with one partner: on side 0 the partner stands before the new symbol, on side 1 after it. */
typedef struct {
    int64_t count;
    int64_t next; /* where the pair's next position goes in the pool; -1 if the pair is too rare */
    int32_t size;
} side;

struct tk_learner {
    /* By position, N of them. */
    int32_t *symbols, *previous, *following; /* -1: a dead position; the first one of a word; the last one */
    int64_t *weights;                        /* the word's frequency */
    size_t num_positions;
    /* By pair. */
    pair *pairs;
    int32_t *slots; /* a hash table of pairs, -1 if empty; a power of two, twice as many as there may be pairs */
    candidate *heap;
    size_t num_pairs, max_pairs, heap_size;
    int32_t *pool; /* the positions of all pairs */
    int64_t pool_used;
    /* By symbol. */
    side *sides[2];
    int32_t *partners; /* those of the merge in hand: an id for side 1, -1 - id for side 0 */
    int64_t alphabet_size, min_frequency;
    /* What was learned. */
    int32_t *merges; /* (M, 2) */
    int64_t *applications;
    size_t num_merged, max_merges;
};

static inline int64_t key_of_pair(int32_t left, int32_t right) { return (int64_t)left << 32 | right; }

static inline size_t slot_of(const tk_learner *learner, int64_t key) {
    uint64_t mixed = (uint64_t)key * HASH_MULTIPLIER;
    return (size_t)(mixed ^ mixed >> 32) & (2 * learner->max_pairs - 1);
}

/* Return the index of a pair, or -1; `slot` becomes its slot, or the empty one where it belongs. */
static inline int32_t find_pair(const tk_learner *learner, int64_t key, size_t *slot) {
    *slot = slot_of(learner, key);
    for (;; *slot = (*slot + 1) & (2 * learner->max_pairs - 1)) {
        int32_t index = learner->slots[*slot];
        if (index < 0 || learner->pairs[index].key == key) return index;
    }
}

/* Append a pair that is not in the table. */
static inline pair *append_pair(tk_learner *learner, int64_t key) {
    size_t slot;
    find_pair(learner, key, &slot);
    learner->slots[slot] = (int32_t)learner->num_pairs;
    pair *appended = learner->pairs + learner->num_pairs++;
    *appended = (pair){.key = key};
    return appended;
}

/* Make room for at least so many pairs; false: no memory. */
static bool reserve_pairs(tk_learner *learner, size_t count) {
    size_t max_pairs = learner->max_pairs ? learner->max_pairs : 1 << 16;
    while (max_pairs < count) max_pairs *= 2;
    if (max_pairs == learner->max_pairs) return true;
    if (max_pairs > INT32_MAX) return false;
    pair *pairs = realloc(learner->pairs, max_pairs * sizeof *pairs);
    if (pairs) learner->pairs = pairs;
    candidate *heap = realloc(learner->heap, max_pairs * sizeof *heap);
    if (heap) learner->heap = heap;
    int32_t *slots = malloc(2 * max_pairs * sizeof *slots);
    if (!pairs || !heap || !slots) {
        free(slots);
        return false;
    }
    free(learner->slots);
    learner->slots = slots;
    learner->max_pairs = max_pairs;
    memset(slots, 0xFF, 2 * max_pairs * sizeof *slots);
    for (size_t i = 0; i < learner->num_pairs; i++) {
        size_t slot;
        find_pair(learner, learner->pairs[i].key, &slot);
        slots[slot] = (int32_t)i;
    }
    return true;
}

/* Tell whether `a` is merged before `b`: the larger count, then the smaller (left id, right id). */
static inline bool comes_first(const tk_learner *learner, candidate a, candidate b) {
    return a.count > b.count || (a.count == b.count && learner->pairs[a.pair].key < learner->pairs[b.pair].key);
}

static void push(tk_learner *learner, candidate added) {
    size_t hole = learner->heap_size++;
    for (; hole > 0 && comes_first(learner, added, learner->heap[(hole - 1) / 2]); hole = (hole - 1) / 2)
        learner->heap[hole] = learner->heap[(hole - 1) / 2];
    learner->heap[hole] = added;
}

/* Replace the heap's top. */
static void replace_top(tk_learner *learner, candidate added) {
    candidate *heap = learner->heap;
    size_t hole = 0, child;
    for (; (child = 2 * hole + 1) < learner->heap_size; hole = child) {
        if (child + 1 < learner->heap_size && comes_first(learner, heap[child + 1], heap[child])) child++;
        if (!comes_first(learner, heap[child], added)) break;
        heap[hole] = heap[child];
    }
    heap[hole] = added;
}

/* Push the pairs from `first` on, but for those too rare ever to be merged. */
static void push_pairs(tk_learner *learner, size_t first) {
    for (size_t i = first; i < learner->num_pairs; i++)
        if (learner->pairs[i].count >= learner->min_frequency) push(learner, (candidate){learner->pairs[i].count, (int32_t)i});
}

/* Count the alphabet's pairs, and write each one's positions into its run of the pool, in ascending order. */
static bool place_first_pairs(tk_learner *learner) {
    size_t slot;
    for (size_t at = 0; at < learner->num_positions; at++) {
        if (learner->following[at] < 0) continue;
        int64_t key = key_of_pair(learner->symbols[at], learner->symbols[learner->following[at]]);
        int32_t index = find_pair(learner, key, &slot);
        if (index < 0 && !reserve_pairs(learner, learner->num_pairs + 1)) return false;
        pair *found = index < 0 ? append_pair(learner, key) : learner->pairs + index;
        found->count += learner->weights[at];
        found->size++;
    }
    for (size_t i = 0; i < learner->num_pairs; i++) {
        learner->pairs[i].start = learner->pool_used;
        learner->pool_used += learner->pairs[i].size;
        learner->pairs[i].size = 0;
    }
    for (size_t at = 0; at < learner->num_positions; at++) {
        if (learner->following[at] < 0) continue;
        int64_t key = key_of_pair(learner->symbols[at], learner->symbols[learner->following[at]]);
        pair *found = learner->pairs + find_pair(learner, key, &slot);
        learner->pool[found->start + found->size++] = (int32_t)at;
    }
    return true;
}

tk_learner *tk_learner_new(const tk_words *words, size_t alphabet_size, size_t max_merges, int64_t min_frequency) {
    tk_learner *learner = calloc(1, sizeof *learner);
    if (!learner) return NULL;
    size_t n = (size_t)words->starts[words->num_words], num_symbols = alphabet_size + max_merges;
    learner->num_positions = n;
    learner->alphabet_size = (int64_t)alphabet_size;
    learner->min_frequency = min_frequency;
    learner->max_merges = max_merges;
    learner->symbols = malloc((n + 1) * sizeof(int32_t));
    learner->previous = malloc((n + 1) * sizeof(int32_t));
    learner->following = malloc((n + 1) * sizeof(int32_t));
    learner->weights = malloc((n + 1) * sizeof(int64_t));
    learner->pool = malloc((3 * n + 1) * sizeof(int32_t)); /* a position's pair, and at most two new ones per merge */
    learner->sides[0] = calloc(num_symbols + 1, sizeof(side));
    learner->sides[1] = calloc(num_symbols + 1, sizeof(side));
    learner->partners = malloc((2 * num_symbols + 1) * sizeof(int32_t));
    learner->merges = malloc((2 * max_merges + 1) * sizeof(int32_t));
    learner->applications = malloc((max_merges + 1) * sizeof(int64_t));
    bool is_made = learner->symbols && learner->previous && learner->following && learner->weights && learner->pool &&
                   learner->sides[0] && learner->sides[1] && learner->partners && learner->merges && learner->applications &&
                   reserve_pairs(learner, 1);
    for (size_t word = 0; is_made && word < words->num_words; word++) {
        int64_t first = words->starts[word], end = words->starts[word + 1];
        for (int64_t at = first; at < end; at++) {
            learner->symbols[at] = words->symbols[at];
            learner->weights[at] = words->counts[word];
            learner->previous[at] = at > first ? (int32_t)at - 1 : -1;
            learner->following[at] = at + 1 < end ? (int32_t)at + 1 : -1;
        }
    }
    if (is_made && place_first_pairs(learner)) {
        push_pairs(learner, 0);
        return learner;
    }
    tk_learner_free(learner);
    return NULL;
}

void tk_learner_free(tk_learner *learner) {
    if (!learner) return;
    free(learner->symbols);
    free(learner->previous);
    free(learner->following);
    free(learner->weights);
    free(learner->pairs);
    free(learner->slots);
    free(learner->heap);
    free(learner->pool);
    free(learner->sides[0]);
    free(learner->sides[1]);
    free(learner->partners);
    free(learner->merges);
    free(learner->applications);
    free(learner);
}

/* Take a weight off a pair's count; a pair too rare to be stored has none. */
static inline void lower_count(tk_learner *learner, int32_t left, int32_t right, int64_t weight) {
    size_t slot;
    int32_t index = find_pair(learner, key_of_pair(left, right), &slot);
    if (index >= 0) learner->pairs[index].count -= weight;
}

/* Replace (left, right) by `symbol` at the positions of `run`, from the left, and lower its old neighbours' counts.
 *
 * The positions at which it happened move to the front of `run`. Returns their number; `applied` becomes their summed weight. */
static size_t replace_pair(tk_learner *learner, const pair *merged, int32_t symbol, int32_t *run, int64_t *applied) {
    int32_t *symbols = learner->symbols, left = (int32_t)(merged->key >> 32), right = (int32_t)(merged->key & UINT32_MAX);
    size_t num_replaced = 0;
    *applied = 0;
    for (int32_t i = 0; i < merged->size; i++) {
        int32_t at = run[i], partner = learner->following[at];
        if (symbols[at] != left || partner < 0 || symbols[partner] != right) continue; /* an earlier merge took it */
        int64_t weight = learner->weights[at];
        int32_t before = learner->previous[at], after = learner->following[partner];
        /* Pairs that hold `symbol` are counted afterwards, all at once. */
        if (before >= 0 && symbols[before] != symbol) lower_count(learner, symbols[before], left, weight);
        if (after >= 0) {
            lower_count(learner, right, symbols[after], weight);
            learner->previous[after] = at;
        }
        learner->following[at] = after;
        symbols[at] = symbol;
        symbols[partner] = -1;
        run[num_replaced++] = at;
        *applied += weight;
    }
    return num_replaced;
}

/* Count an occurrence of a pair by its partner, who is listed when first met. */
static inline size_t count_side(tk_learner *learner, int number, int32_t partner, int64_t weight, size_t num_partners) {
    side *met = learner->sides[number] + partner;
    if (met->size == 0) learner->partners[num_partners++] = number ? partner : -1 - partner;
    met->count += weight;
    met->size++;
    return num_partners;
}

/* Store the pairs that the new symbol makes at the replaced positions. (symbol, symbol) is counted on side 0 alone. */
static void store_new_pairs(tk_learner *learner, int32_t symbol, const int32_t *replaced, size_t num_replaced) {
    const int32_t *symbols = learner->symbols, *previous = learner->previous, *following = learner->following;
    size_t num_partners = 0, first_new = learner->num_pairs;
    for (size_t i = 0; i < num_replaced; i++) {
        int32_t at = replaced[i], before = previous[at], after = following[at];
        if (before >= 0) num_partners = count_side(learner, 0, symbols[before], learner->weights[at], num_partners);
        if (after >= 0 && symbols[after] != symbol)
            num_partners = count_side(learner, 1, symbols[after], learner->weights[at], num_partners);
    }
    for (size_t i = 0; i < num_partners; i++) {
        int number = learner->partners[i] >= 0;
        int32_t partner = number ? learner->partners[i] : -1 - learner->partners[i];
        side *met = learner->sides[number] + partner;
        met->next = -1;
        if (met->count >= learner->min_frequency) {
            pair *added = append_pair(learner, number ? key_of_pair(symbol, partner) : key_of_pair(partner, symbol));
            added->count = met->count;
            added->size = met->size;
            added->start = met->next = learner->pool_used;
            learner->pool_used += met->size;
        }
        met->count = 0;
        met->size = 0;
    }
    for (size_t i = 0; i < num_replaced; i++) {
        int32_t at = replaced[i], before = previous[at], after = following[at];
        side *met = before >= 0 ? learner->sides[0] + symbols[before] : NULL;
        if (met && met->next >= 0) learner->pool[met->next++] = before;
        met = after >= 0 && symbols[after] != symbol ? learner->sides[1] + symbols[after] : NULL;
        if (met && met->next >= 0) learner->pool[met->next++] = at;
    }
    push_pairs(learner, first_new);
}

ptrdiff_t tk_learn(tk_learner *learner, size_t until) {
    until = min_size(until, learner->max_merges);
    while (learner->num_merged < until && learner->heap_size > 0) {
        candidate top = learner->heap[0];
        pair *merged = learner->pairs + top.pair;
        if (merged->count != top.count && merged->count >= learner->min_frequency) {
            replace_top(learner, (candidate){merged->count, top.pair});
            continue;
        }
        bool is_stale = merged->count != top.count;
        /* A position makes two pairs at most, and a symbol stands on two sides: of many positions few pairs may come. */
        size_t num_symbols = (size_t)learner->alphabet_size + learner->num_merged + 1;
        if (!is_stale && !reserve_pairs(learner, learner->num_pairs + 2 * min_size((size_t)merged->size, num_symbols)))
            return TK_NO_MEMORY;
        if (--learner->heap_size > 0) replace_top(learner, learner->heap[learner->heap_size]);
        if (is_stale) continue;

        merged = learner->pairs + top.pair;
        int32_t symbol = (int32_t)(learner->alphabet_size + (int64_t)learner->num_merged), *run = learner->pool + merged->start;
        size_t num_replaced = replace_pair(learner, merged, symbol, run, learner->applications + learner->num_merged);
        merged->count = 0;
        learner->merges[2 * learner->num_merged] = (int32_t)(merged->key >> 32);
        learner->merges[2 * learner->num_merged + 1] = (int32_t)(merged->key & UINT32_MAX);
        learner->num_merged++;
        store_new_pairs(learner, symbol, run, num_replaced);
    }
    return (ptrdiff_t)learner->num_merged;
}

void tk_learner_read(const tk_learner *learner, int32_t *merges, int64_t *applications) {
    memcpy(merges, learner->merges, 2 * learner->num_merged * sizeof *merges);
    memcpy(applications, learner->applications, learner->num_merged * sizeof *applications);
}
