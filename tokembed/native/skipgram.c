/* Skip-gram with negative sampling, for threads that share two tables (Hogwild).
 *
 * At each position of the stream, its neighbours are the n targets (rows U of the target table). The token there is their
 * common positive; with K negatives that they share too it makes the m = 1 + K outputs (rows V of the context table).
 * With the learning rate η, labels Y (1 for the positive, 0 for a negative) and all products taken from the rows as they were
 * before the position:
 *
 *     S = U Vᵀ              (n, m)   scores
 *     E = η (Y - σ(S))      (n, m)   errors
 *     U += E V,  V += Eᵀ U  (n, D), (m, D)
 *
 * Threads write without locks: they seldom meet in a row, and a lost update is noise among millions. A hash of
 * (seed, epoch, position) decides which tokens are kept and how wide their windows are; negatives come from a generator that is
 * seeded per block. So the pairs don't depend on the number of threads, and a single thread repeats itself bit for bit.
 *
 * n targets, m outputs, D the padded dimension (a multiple of 16 floats: one cache line), W the window, K the negatives.
 *
 * References: Recht, Ré, Wright, Niu (2011), Hogwild!; Ji, Satish, Li, Dubey (2016), Parallelizing Word2Vec in Shared and
 * Distributed Memory (shared negatives as matrix products). The Python twin is `skipgram/reference.py`.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tokembed.h"

/* A vector of floats as wide as the processor's registers, and integers of the same width. */
#if !defined(__clang__) && __GNUC__ < 12
#define SHUFFLE8(x, y, ...) __builtin_shuffle(x, y, (int32_t __attribute__((vector_size(32)))){__VA_ARGS__})
enum { LANES = 8 };
#else
#define SHUFFLE8(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#if defined(__AVX512F__)
#define HAS_SIXTEEN_LANES
enum { LANES = 16 };
#else
enum { LANES = 8 };
#endif
#endif
typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef float eight __attribute__((vector_size(32)));

enum { LINE = 16 };              /* floats in a cache line */
enum { TILE_U = 2, TILE_V = 4 }; /* rows that a tile of the score matrix multiplies at once */
enum { MAX_WIDTH = 8 };          /* vectors of a row that add_product keeps in registers */
enum { LOSS_POSITIONS = 64 };    /* whose losses are summed in 32 bits */

static const uint64_t GOLDEN = 0x9E3779B97F4A7C15;

/* What training on a block takes. Tiles read whole fours of rows, and errors are computed in whole vectors. */
enum { MAX_TARGETS = 2 * TK_MAX_WINDOW + TILE_U, MAX_OUTPUTS = (TK_MAX_NEGATIVES + LINE) / LINE * LINE };
typedef struct {
    float signs[2][MAX_OUTPUTS];                /* 1 for the positive, -1 for a negative, 0 behind the last; of this position */
    int32_t ids[2][MAX_OUTPUTS];                /* and of the next one, in turn */
    float *targets[MAX_TARGETS], *inputs[MAX_TARGETS]; /* rows of the target table, and of a copy of them: U */
    float *contexts[MAX_OUTPUTS];               /* rows of the context table: V */
    int32_t tokens[TK_BLOCK_TOKENS + MAX_TARGETS]; /* those that training keeps of the block and of its margins */
    int32_t windows[TK_BLOCK_TOKENS + MAX_TARGETS];
    size_t first, last, count;                  /* the block's own tokens among them, and how many they are */
    float rows[];                               /* of U and of the scores */
} scratch;

/* Return the 64 mixed bits of a counter: the output function of splitmix64. */
static inline uint64_t mix(uint64_t state) {
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9;
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB;
    return state ^ (state >> 31);
}

static inline size_t round_up(size_t count, size_t multiple) { return (count + multiple - 1) / multiple * multiple; }

/* ---- which tokens are trained on ---- */

/* Return the random bits of a position if its token is kept, else 0: the lower half decides the width of its window. */
static inline uint64_t bits_if_kept(const tk_skipgram *settings, const tk_block *block, size_t position) {
    uint64_t bits = mix(block->key + position * GOLDEN);
    uint32_t id = (uint32_t)block->ids[position];
    return id < settings->vocab_size && (bits >> 32) < settings->keep_below[id] ? bits | 1ULL << 63 : 0;
}

/* Collect a block's kept tokens and up to W kept ones on either side, with their windows. */
static void gather_kept(scratch *s, const tk_skipgram *settings, const tk_block *block) {
    size_t window_size = settings->window_size, position = block->first, count = 0;
    for (size_t margin = 0; position > 0 && margin < window_size;) margin += bits_if_kept(settings, block, --position) != 0;
    s->first = s->last = 0;
    for (; position < block->num_ids; position++) {
        if (position == block->first) s->first = count;
        if (position == block->last) s->last = count;
        if (position >= block->last && count - s->last >= window_size) break;
        uint64_t bits = bits_if_kept(settings, block, position);
        if (!bits) continue;
        s->tokens[count] = block->ids[position];
        s->windows[count++] = (int32_t)(1 + ((bits & UINT32_MAX) * window_size >> 32));
    }
    if (block->last >= block->num_ids) s->last = count;
    s->count = count;
}

static inline void prefetch_row(const float *row, size_t dim) {
    for (size_t d = 0; d < dim; d += LINE) __builtin_prefetch(row + d, 1);
}

/* Draw the negatives of a position by the alias table, skip those equal to the positive, and prefetch all rows; return m. */
static size_t draw_outputs(const tk_skipgram *settings, int32_t positive, uint64_t *state, int32_t *ids, float *signs) {
    size_t m = 1;
    ids[0] = positive;
    for (size_t k = 0; k < settings->num_negatives; k++) {
        uint64_t bits = mix(*state += GOLDEN);
        size_t column = (bits >> 32) * settings->vocab_size >> 32;
        int32_t negative = (uint32_t)bits < settings->thresholds[column] ? (int32_t)column : settings->aliases[column];
        if (negative != positive) ids[m++] = negative;
    }
    for (size_t j = 0; j < round_up(m, LINE); j++) signs[j] = j == 0 ? 1.0f : j < m ? -1.0f : 0.0f;
    for (size_t j = 0; j < m; j++) prefetch_row(settings->context_table + (size_t)ids[j] * settings->dim, settings->dim);
    return m;
}

/* ---- matrix products ---- */

static inline floats load(const float *row, size_t index) {
    floats vector;
    memcpy(&vector, row + LANES * index, sizeof vector);
    return vector;
}

static inline void store(float *row, size_t index, floats vector) { memcpy(row + LANES * index, &vector, sizeof vector); }

/* Return the sums of eight vectors as one vector: each step adds halves, and packs two vectors into one. */
static inline eight fold(const floats v[8]) {
    eight h[8];
    for (int i = 0; i < 8; i++) {
#ifdef HAS_SIXTEEN_LANES
        h[i] = SHUFFLE8(v[i], v[i], 0, 1, 2, 3, 4, 5, 6, 7) + SHUFFLE8(v[i], v[i], 8, 9, 10, 11, 12, 13, 14, 15);
#else
        h[i] = v[i];
#endif
    }
    for (int i = 0; i < 4; i++)
        h[i] = SHUFFLE8(h[2 * i], h[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13) +
               SHUFFLE8(h[2 * i], h[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    for (int i = 0; i < 2; i++)
        h[i] = SHUFFLE8(h[2 * i], h[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13) +
               SHUFFLE8(h[2 * i], h[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
    return SHUFFLE8(h[0], h[1], 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE8(h[0], h[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

/* Write the 2x4 scores of two rows of U with four rows of V: each load serves two sums or four. */
static inline void score_tile(float *const u[2], float *const v[4], size_t dim, float *scores, size_t stride) {
    floats sums[8] = {0};
    for (size_t d = 0; d < dim / LANES; d++) {
        floats a = load(u[0], d), b = load(u[1], d);
        for (int j = 0; j < 4; j++) {
            floats c = load(v[j], d);
            sums[j] += a * c;
            sums[4 + j] += b * c;
        }
    }
    eight folded = fold(sums);
    memcpy(scores, &folded, 16);
    memcpy(scores + stride, (const char *)&folded + 16, 16);
}

/* Do as `add_product` does for `width` vectors from `first` on, which stay in registers. */
static inline __attribute__((always_inline)) void add_columns(float *row, size_t first, size_t width, const float *coefficients,
                                                              size_t step, float *const *sources, size_t count) {
    floats sums[MAX_WIDTH];
#pragma GCC unroll 8
    for (size_t w = 0; w < width; w++) sums[w] = load(row, first + w);
    for (size_t k = 0; k < count; k++)
#pragma GCC unroll 8
        for (size_t w = 0; w < width; w++) sums[w] += coefficients[k * step] * load(sources[k], first + w);
#pragma GCC unroll 8
    for (size_t w = 0; w < width; w++) store(row, first + w, sums[w]);
}

/* row += Σ_k coefficients[k * step] * sources[k]. A loop of known width is what keeps the sums in registers. */
static inline void add_product(float *row, size_t dim, const float *coefficients, size_t step, float *const *sources, size_t count) {
    size_t vectors = dim / LANES, first = 0;
    for (; first + MAX_WIDTH <= vectors; first += MAX_WIDTH) add_columns(row, first, MAX_WIDTH, coefficients, step, sources, count);
    switch (vectors - first) {
        case 1: add_columns(row, first, 1, coefficients, step, sources, count); break;
        case 2: add_columns(row, first, 2, coefficients, step, sources, count); break;
        case 3: add_columns(row, first, 3, coefficients, step, sources, count); break;
        case 4: add_columns(row, first, 4, coefficients, step, sources, count); break;
        case 5: add_columns(row, first, 5, coefficients, step, sources, count); break;
        case 6: add_columns(row, first, 6, coefficients, step, sources, count); break;
        case 7: add_columns(row, first, 7, coefficients, step, sources, count); break;
        default: break;
    }
}

/* ---- errors and loss ---- */

static inline ints bits_of(floats x) { return (ints)x; }
static inline floats choose(ints mask, floats yes, floats no) { return (floats)((mask & bits_of(yes)) | (~mask & bits_of(no))); }

/* Return e^x for |x| <= 87, relative error below 2e-7: 2^n by its bits, 2^f for |f| <= 1/2 by a minimax polynomial. */
static inline floats exponential(floats x) {
    const float magic = 0x1.8p23f; /* adding it leaves the nearest integer in the lowest bits */
    floats t = x * 1.4426950408889634f;
    floats shifted = t + magic;
    floats f = t - (shifted - magic);
    floats power = 1.32764e-3f * f + 9.67554e-3f;
    power = power * f + 5.550713e-2f;
    power = power * f + 2.402212e-1f;
    power = power * f + 6.9314697e-1f;
    power = power * f + 1.00000007f;
    return (floats)(bits_of(power) + (bits_of(shifted) << 23));
}

/* Sums of log(1 + x) in pieces: a product in [1, 2) and the power of two that it lacks. A logarithm is taken only in the end. */
typedef struct {
    floats product;
    ints exponent;
    floats linear;
} loss_sum;

/* Replace the scores of n rows by the errors E = η (Y - σ(S)), and add the loss, the sum of -log σ(± S).
 *
 * With y = sign · score, the error is sign · (1 - σ(y)) = sign / (1 + e^y), and the loss log(1 + e^y) - y. NaN stays NaN. */
static inline void errors_of(float *scores, size_t stride, size_t n, const float *signs, size_t m, float rate,
                             loss_sum *loss) {
    for (size_t i = 0; i < n; i++) {
        for (size_t v = 0; v < (m + LANES - 1) / LANES; v++) {
            floats sign = load(signs, v);
            floats y = sign * load(scores + i * stride, v), limit = (floats){0} + 87.0f;
            y = choose(y > limit, limit, y);
            floats above = 1.0f + exponential(choose(y < -limit, -limit, y));
            store(scores + i * stride, v, rate * sign / above);
            floats product = loss->product * above;
            loss->exponent += (bits_of(product) >> 23) - 127;
            loss->product = (floats)((bits_of(product) & 0x7FFFFF) | 0x3F800000);
            loss->linear += y;
        }
    }
}

static inline loss_sum no_loss(void) { return (loss_sum){.product = (floats){0} + 1.0f}; }

/* Return the loss that was summed up, and begin anew. */
static double take_loss(loss_sum *loss) {
    double total = 0.0;
    for (int lane = 0; lane < LANES; lane++)
        total += log((double)loss->product[lane]) + (double)loss->exponent[lane] * log(2.0) - (double)loss->linear[lane];
    *loss = no_loss();
    return total;
}

/* ---- a block ---- */

int64_t tk_train(const tk_skipgram *settings, const tk_block *block, double *loss) {
    size_t dim = settings->dim, window_size = settings->window_size, stride = round_up(1 + settings->num_negatives, LINE);
    if (block->first > block->last || block->last - block->first > TK_BLOCK_TOKENS || block->last > block->num_ids ||
        window_size > TK_MAX_WINDOW || settings->num_negatives > TK_MAX_NEGATIVES)
        return TK_TOO_LONG;
    size_t num_rows = round_up(2 * window_size, TILE_U), size = sizeof(scratch) + num_rows * (dim + stride) * sizeof(float);
    scratch *s = aligned_alloc(LINE * sizeof(float), round_up(size, LINE * sizeof(float)));
    if (!s) return TK_NO_MEMORY;
    memset(s->rows, 0, num_rows * (dim + stride) * sizeof(float)); /* the rows that fill up a tile are numbers, too */
    float *scores = s->rows + num_rows * dim;                      /* (n, stride): S, then E */
    for (size_t row = 0; row < num_rows; row++) s->inputs[row] = s->rows + row * dim;
    gather_kept(s, settings, block);

    const int32_t *tokens = s->tokens;
    size_t first = s->first, last = s->last, num_padding = 0, next_m = 0;
    int64_t num_pairs = 0;
    uint64_t state = block->seed;
    loss_sum sum = no_loss();
    *loss = 0.0;
    if (first < last) next_m = draw_outputs(settings, tokens[first], &state, s->ids[first % 2], s->signs[first % 2]);
    for (size_t i = first; i < last; i++) {
        /* Draw the outputs of the next position now, so that their rows come from memory in the meantime. */
        size_t m = next_m, n = 0, window = (size_t)s->windows[i];
        const int32_t *ids = s->ids[i % 2];
        if (i + 1 < last) next_m = draw_outputs(settings, tokens[i + 1], &state, s->ids[(i + 1) % 2], s->signs[(i + 1) % 2]);
        if (i + window_size < s->count) prefetch_row(settings->target_table + (size_t)tokens[i + window_size] * dim, dim);

        for (size_t neighbour = i > window ? i - window : 0; neighbour < s->count && neighbour <= i + window; neighbour++)
            if (neighbour != i) s->targets[n++] = settings->target_table + (size_t)tokens[neighbour] * dim;
        if (n == 0) continue;
        for (size_t j = 0; j < m; j++) s->contexts[j] = settings->context_table + (size_t)ids[j] * dim;
        for (size_t j = m; j % TILE_V; j++) s->contexts[j] = s->contexts[m - 1]; /* a tile of rows is filled up */
        for (size_t row = 0; row < n; row++) memcpy(s->inputs[row], s->targets[row], dim * sizeof(float)); /* U, as it was before */

        for (size_t row = 0; row < n; row += TILE_U) /* S = U Vᵀ */
            for (size_t j = 0; j < m; j += TILE_V) score_tile(s->inputs + row, s->contexts + j, dim, scores + row * stride + j, stride);
        float progress = (float)(i - first) / (float)(last - first);
        errors_of(scores, stride, n, s->signs[i % 2], m, block->first_rate + (block->last_rate - block->first_rate) * progress, &sum);
        num_padding += n * (round_up(m, LANES) - m);
        num_pairs += (int64_t)n;
        if (i % LOSS_POSITIONS == 0) *loss += take_loss(&sum);

        for (size_t row = 0; row < n; row++) /* U += E V */
            add_product(s->targets[row], dim, scores + row * stride, 1, s->contexts, m);
        for (size_t j = 0; j < m; j++) /* V += Eᵀ U */
            add_product(s->contexts[j], dim, scores + j, stride, s->inputs, n);
    }
    *loss += take_loss(&sum) - (double)num_padding * log(2.0); /* a score that is padding counts log(1 + e^0) */
    free(s);
    return num_pairs;
}
