/* Learning merges from counted words. The Python twin is `bpe/learning.py`.
 *
 * Learning rests on one fact: a merge that makes symbol X creates only pairs that hold X. So the positions of a pair are all known
 * when its younger symbol is made. They are stored once, as one run, and from then on the pair's count can only fall. Hence the heap
 * may be lazy: an entry's count is an upper bound, looked up again when it comes to the top.
 *
 * The words lie in one flat array of symbols, linked both ways within each word. A merged symbol takes the position of its left half,
 * and the right half's position is dead (-1).
 *
 * Reference: Sennrich, Haddow, Birch (2016), Algorithm 1, for what is computed.
 */
#include "pieces.h"

/* A symbol of a word, linked to its neighbours within the word by their indices; -1 is none. */
typedef struct {
    int32_t symbol; /* -1 once a merge took it */
    int32_t previous, following;
    int64_t weight; /* the word's frequency */
} position;

/* A pair of symbols, left id << 32 | right id: how often it occurs (weighted), and its run of positions in the pool. */
typedef struct {
    uint64_t key;
    int64_t count, start;
    int32_t size;
} pair;

struct tk_learner {
    position *positions; /* of all words, one after the other */
    size_t num_positions;
    pair *pairs;
    int32_t *slots; /* a hash table of pairs, -1 if empty; a power of two, twice as many as there may be pairs */
    size_t num_pairs, max_pairs;
    heap heap;     /* what comes next: the largest count, then the smallest key */
    int32_t *pool; /* the positions of all pairs */
    int64_t pool_used, min_frequency;
    size_t alphabet_size, num_merged, max_merges;
    int32_t *merges; /* (M, 2), and how often each applied */
    int64_t *applications;
};

static inline uint64_t key_of_pair(int32_t left, int32_t right) { return (uint64_t)left << 32 | (uint32_t)right; }

/* Return the index of a pair, or -1; `slot` becomes its slot, or the empty one where it belongs. */
static inline int32_t find_pair(const tk_learner *learner, uint64_t key, size_t *slot) {
    size_t mask = 2 * learner->max_pairs - 1;
    uint64_t mixed = key * HASH_MULTIPLIER;
    for (*slot = (size_t)(mixed ^ mixed >> 32) & mask;; *slot = (*slot + 1) & mask) {
        int32_t index = learner->slots[*slot];
        if (index < 0 || learner->pairs[index].key == key) return index;
    }
}

/* Make room for at least so many pairs; false: no memory. */
static bool reserve_pairs(tk_learner *learner, size_t count) {
    size_t max_pairs = learner->max_pairs ? learner->max_pairs : 1 << 16;
    while (max_pairs < count) max_pairs *= 2;
    if (max_pairs == learner->max_pairs) return true;
    if (max_pairs > INT32_MAX) return false;
    pair *pairs = realloc(learner->pairs, max_pairs * sizeof *pairs);
    if (pairs) learner->pairs = pairs;
    ticket *numbers = realloc(learner->heap.numbers, max_pairs * sizeof *numbers);
    if (numbers) learner->heap.numbers = numbers;
    int32_t *slots = realloc(learner->slots, 2 * max_pairs * sizeof *slots);
    if (slots) learner->slots = slots;
    if (!pairs || !numbers || !slots) return false;
    learner->max_pairs = max_pairs;
    memset(slots, 0xFF, 2 * max_pairs * sizeof *slots);
    for (size_t i = 0, slot; i < learner->num_pairs; i++) {
        find_pair(learner, pairs[i].key, &slot);
        slots[slot] = (int32_t)i;
    }
    return true;
}

/* Return a pair, appended if it is new; there is room. */
static inline pair *get_pair(tk_learner *learner, uint64_t key) {
    size_t slot;
    int32_t index = find_pair(learner, key, &slot);
    if (index >= 0) return learner->pairs + index;
    learner->slots[slot] = (int32_t)learner->num_pairs;
    learner->pairs[learner->num_pairs] = (pair){.key = key};
    return learner->pairs + learner->num_pairs++;
}

/* What is merged first is the least: the larger count, then the smaller (left id, right id). */
static inline ticket ticket_of(const pair *pair) { return (ticket)(INT64_MAX - pair->count) << 64 | pair->key; }

/* Give the pairs from `first` on, which are counted, their runs in the pool, and push those that are not too rare to be merged. */
static void place_pairs(tk_learner *learner, size_t first) {
    for (pair *added = learner->pairs + first; added < learner->pairs + learner->num_pairs; added++) {
        if (added->count >= learner->min_frequency) push(&learner->heap, ticket_of(added));
        added->start = learner->pool_used;
        learner->pool_used += added->size;
        added->size = 0;
    }
}

/* Count the alphabet's pairs and then, in a second pass, write each one's positions into its run. */
static bool place_first_pairs(tk_learner *learner) {
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < learner->num_positions; i++) {
            const position *at = learner->positions + i;
            if (at->following < 0) continue;
            if (!reserve_pairs(learner, learner->num_pairs + 1)) return false;
            pair *found = get_pair(learner, key_of_pair(at->symbol, learner->positions[at->following].symbol));
            if (pass == 0)
                found->count += at->weight;
            else
                learner->pool[found->start + found->size] = (int32_t)i;
            found->size++;
        }
        if (pass == 0) place_pairs(learner, 0);
    }
    return true;
}

tk_learner *tk_learner_new(const tk_words *words, size_t alphabet_size, size_t max_merges, int64_t min_frequency) {
    tk_learner *learner = calloc(1, sizeof *learner);
    if (!learner) return NULL;
    size_t n = (size_t)words->starts[words->num_words];
    *learner = (tk_learner){
        .num_positions = n, .alphabet_size = alphabet_size, .min_frequency = min_frequency, .max_merges = max_merges,
        .positions = malloc((n + 1) * sizeof(position)),
        .pool = malloc((3 * n + 1) * sizeof(int32_t)), /* a position's pair, and at most two new ones per merge */
        .merges = malloc(2 * (max_merges + 1) * sizeof(int32_t)),
        .applications = malloc((max_merges + 1) * sizeof(int64_t)),
    };
    bool is_made = learner->positions && learner->pool && learner->merges && learner->applications && reserve_pairs(learner, 1);
    for (size_t word = 0; is_made && word < words->num_words; word++) {
        int64_t first = words->starts[word], end = words->starts[word + 1];
        for (int64_t i = first; i < end; i++)
            learner->positions[i] = (position){
                words->symbols[i], i > first ? (int32_t)i - 1 : -1, i + 1 < end ? (int32_t)i + 1 : -1, words->counts[word],
            };
    }
    if (is_made && place_first_pairs(learner)) return learner;
    tk_learner_free(learner);
    return NULL;
}

void tk_learner_free(tk_learner *learner) {
    if (!learner) return;
    void *all[] = {learner->positions, learner->pairs, learner->slots, learner->heap.numbers, learner->pool, learner->merges,
                   learner->applications, learner};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* Take a weight off the count of a pair that is there. */
static inline void lower_count(tk_learner *learner, int32_t left, int32_t right, int64_t weight) {
    size_t slot;
    learner->pairs[find_pair(learner, key_of_pair(left, right), &slot)].count -= weight;
}

/* Replace (left, right) by `symbol` at the positions of `run`, from the left, and lower its old neighbours' counts.
 *
 * The positions at which it happened move to the front of `run`. Returns their number; `applied` becomes their summed weight. */
static size_t replace_pair(tk_learner *learner, const pair *merged, int32_t symbol, int32_t *run, int64_t *applied) {
    position *positions = learner->positions;
    int32_t left = (int32_t)(merged->key >> 32), right = (int32_t)(merged->key & UINT32_MAX);
    size_t num_replaced = 0;
    *applied = 0;
    for (int32_t i = 0; i < merged->size; i++) {
        position *at = positions + run[i], *partner = positions + at->following;
        if (at->symbol != left || at->following < 0 || partner->symbol != right) continue; /* an earlier merge took it */
        int32_t before = at->previous, after = partner->following;
        /* Pairs that hold `symbol` are counted afterwards, all at once. */
        if (before >= 0 && positions[before].symbol != symbol) lower_count(learner, positions[before].symbol, left, at->weight);
        if (after >= 0) {
            lower_count(learner, right, positions[after].symbol, at->weight);
            positions[after].previous = run[i];
        }
        at->following = after;
        at->symbol = symbol;
        partner->symbol = -1;
        *applied += at->weight;
        run[num_replaced++] = run[i];
    }
    return num_replaced;
}

/* Store the pairs that the new symbol makes: count them and then, in a second pass, write their positions. */
static void store_new_pairs(tk_learner *learner, int32_t symbol, const int32_t *replaced, size_t num_replaced) {
    const position *positions = learner->positions;
    size_t first_new = learner->num_pairs;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < 2 * num_replaced; i++) { /* each position has a pair on either side */
            const position *at = positions + replaced[i / 2];
            int32_t left = i % 2 ? replaced[i / 2] : at->previous, right = i % 2 ? at->following : replaced[i / 2];
            if (left < 0 || right < 0 || (i % 2 && positions[right].symbol == symbol)) continue; /* met from the other side */
            pair *met = get_pair(learner, key_of_pair(positions[left].symbol, positions[right].symbol));
            if (pass == 0)
                met->count += at->weight;
            else
                learner->pool[met->start + met->size] = left;
            met->size++;
        }
        if (pass == 0) place_pairs(learner, first_new);
    }
}

ptrdiff_t tk_learn(tk_learner *learner, size_t until) {
    until = min_size(until, learner->max_merges);
    while (learner->num_merged < until && learner->heap.size > 0) {
        ticket top = pop(&learner->heap);
        size_t slot;
        int32_t index = find_pair(learner, (uint64_t)top, &slot);
        pair *merged = learner->pairs + index;
        if (merged->count < learner->min_frequency) continue;
        if (ticket_of(merged) != top) { /* its count fell since it was pushed */
            push(&learner->heap, ticket_of(merged));
            continue;
        }
        /* A position makes two pairs at most, and a symbol stands on two sides: of many positions few pairs may come. */
        size_t num_symbols = learner->alphabet_size + learner->num_merged + 1;
        if (!reserve_pairs(learner, learner->num_pairs + 2 * min_size((size_t)merged->size, num_symbols))) return TK_NO_MEMORY;
        merged = learner->pairs + index;
        int32_t symbol = (int32_t)(learner->alphabet_size + learner->num_merged), *run = learner->pool + merged->start;
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
