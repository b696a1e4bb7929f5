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
#if defined(__AVX512F__) && (defined(__clang__) || __GNUC__ >= 12)
enum { LANES = 16 };
#else
enum { LANES = 8 };
#endif
typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef float eight __attribute__((vector_size(32)));

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE8(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define SHUFFLE8(x, y, ...) __builtin_shuffle(x, y, (int32_t __attribute__((vector_size(32)))){__VA_ARGS__})
#endif

enum { LINE = 16 };      /* floats in a cache line */
enum { TILE_U = 2, TILE_V = 4 }; /* rows that a tile of the score matrix multiplies at once */
enum { LOSS_POSITIONS = 64 }; /* whose losses are summed in 32 bits */
enum { MAX_WIDTH = 8 };  /* vectors of a row that add_product keeps in registers */

static const uint64_t GOLDEN = 0x9E3779B97F4A7C15;

/* The tokens that training keeps from a block, with the margins that its windows reach into. */
typedef struct {
    int32_t *tokens;
    int32_t *windows;
    size_t first, last; /* the block's own tokens; those before and behind are margins */
    size_t count;
} kept_tokens;

/* What one position is trained against: the positive, then the negatives. */
typedef struct {
    int32_t *ids;
    float *signs; /* 1 for the positive, -1 for a negative, 0 behind the last */
    size_t count; /* m */
} output_list;

struct tk_trainer {
    tk_skipgram settings;
    kept_tokens kept;
    output_list outputs, next_outputs;
    float **targets;   /* (n,): rows of the target table */
    float **contexts;  /* (m,): rows of the context table */
    float *inputs;     /* (n, D): a copy of U */
    float **input_rows; /* (n,): its rows */
    float *scores;     /* (n, stride): S, then E */
    size_t stride;     /* m rounded up to full vectors */
};

/* Return the 64 mixed bits of a counter: the output function of splitmix64. */
static inline uint64_t mix(uint64_t state) {
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9;
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB;
    return state ^ (state >> 31);
}

static inline size_t round_up(size_t count, size_t multiple) { return (count + multiple - 1) / multiple * multiple; }

/* Return zeroed memory that starts at a cache line, or NULL. */
static void *lines_of(size_t count, size_t item_size) {
    if (count > (SIZE_MAX - 128) / item_size) return NULL;
    size_t size = round_up(count * item_size + 1, 64);
    void *memory = aligned_alloc(64, size);
    if (memory) memset(memory, 0, size);
    return memory;
}

tk_trainer *tk_trainer_new(const tk_skipgram *settings) {
    tk_trainer *trainer = calloc(1, sizeof *trainer);
    if (!trainer) return NULL;
    trainer->settings = *settings;
    /* Tiles read whole fours of rows, and errors are computed in whole vectors. */
    size_t n = round_up(2 * settings->window_size, TILE_U), m = round_up(1 + settings->num_negatives, TILE_V);
    size_t block = TK_BLOCK_TOKENS + 2 * settings->window_size + 1;
    trainer->stride = round_up(m, LINE);
    trainer->kept.tokens = lines_of(block, sizeof(int32_t));
    trainer->kept.windows = lines_of(block, sizeof(int32_t));
    trainer->outputs.ids = lines_of(m, sizeof(int32_t));
    trainer->outputs.signs = lines_of(trainer->stride, sizeof(float));
    trainer->next_outputs.ids = lines_of(m, sizeof(int32_t));
    trainer->next_outputs.signs = lines_of(trainer->stride, sizeof(float));
    trainer->targets = lines_of(n, sizeof(float *));
    trainer->contexts = lines_of(m, sizeof(float *));
    trainer->inputs = lines_of(n * settings->dim, sizeof(float));
    trainer->input_rows = lines_of(n, sizeof(float *));
    trainer->scores = lines_of(n * trainer->stride, sizeof(float));
    if (trainer->kept.tokens && trainer->kept.windows && trainer->outputs.ids && trainer->outputs.signs &&
        trainer->next_outputs.ids && trainer->next_outputs.signs && trainer->targets && trainer->contexts && trainer->inputs &&
        trainer->input_rows && trainer->scores) {
        for (size_t i = 0; i < n; i++) trainer->input_rows[i] = trainer->inputs + i * settings->dim;
        return trainer;
    }
    tk_trainer_free(trainer);
    return NULL;
}

void tk_trainer_free(tk_trainer *trainer) {
    if (!trainer) return;
    free(trainer->kept.tokens);
    free(trainer->kept.windows);
    free(trainer->outputs.ids);
    free(trainer->outputs.signs);
    free(trainer->next_outputs.ids);
    free(trainer->next_outputs.signs);
    free(trainer->targets);
    free(trainer->contexts);
    free(trainer->inputs);
    free(trainer->input_rows);
    free(trainer->scores);
    free(trainer);
}

/* ---- which tokens are trained on ---- */

/* Return the random bits of a position if its token is kept, else 0: the lower half decides the width of its window. */
static inline uint64_t bits_if_kept(const tk_skipgram *settings, const tk_block *block, size_t position) {
    uint64_t bits = mix(block->key + position * GOLDEN);
    uint32_t id = (uint32_t)block->ids[position];
    return id < settings->vocab_size && (bits >> 32) < settings->keep_below[id] ? bits | 1ULL << 63 : 0;
}

/* Collect a block's kept tokens and up to W kept ones on either side, with their windows. */
static void gather_kept(const tk_skipgram *settings, const tk_block *block, kept_tokens *kept) {
    size_t window_size = settings->window_size, position = block->first;
    for (size_t margin = 0; position > 0 && margin < window_size;) margin += bits_if_kept(settings, block, --position) != 0;
    kept->count = kept->first = kept->last = 0;
    for (; position < block->num_ids; position++) {
        if (position == block->first) kept->first = kept->count;
        if (position == block->last) kept->last = kept->count;
        if (position >= block->last && kept->count - kept->last >= window_size) return;
        uint64_t bits = bits_if_kept(settings, block, position);
        if (!bits) continue;
        kept->tokens[kept->count] = block->ids[position];
        kept->windows[kept->count++] = (int32_t)(1 + ((bits & UINT32_MAX) * window_size >> 32));
    }
    if (block->last >= block->num_ids) kept->last = kept->count;
}

/* Draw the negatives of a position by the alias table, skip those equal to the positive, and prefetch all rows. */
static void draw_outputs(const tk_skipgram *settings, int32_t positive, uint64_t *state, output_list *outputs, size_t stride) {
    size_t count = 0;
    outputs->ids[count] = positive;
    outputs->signs[count++] = 1.0f;
    for (size_t k = 0; k < settings->num_negatives; k++) {
        uint64_t bits = mix(*state += GOLDEN);
        size_t column = (bits >> 32) * settings->vocab_size >> 32;
        int32_t negative = (uint32_t)bits < settings->thresholds[column] ? (int32_t)column : settings->aliases[column];
        if (negative == positive) continue;
        outputs->ids[count] = negative;
        outputs->signs[count++] = -1.0f;
    }
    outputs->count = count;
    for (size_t j = count; j < stride; j++) outputs->signs[j] = 0.0f;
    for (size_t j = 0; j < count; j++) {
        const float *row = settings->context_table + (size_t)outputs->ids[j] * settings->dim;
        for (size_t d = 0; d < settings->dim; d += LINE) __builtin_prefetch(row + d, 1);
    }
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
#if defined(__AVX512F__) && (defined(__clang__) || __GNUC__ >= 12)
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

/* row += Σ_k coefficients[k * step] * sources[k], `width` vectors from `first` on, which stay in registers. */
static inline __attribute__((always_inline)) void add_columns(float *row, size_t first, size_t width, const float *coefficients,
                                                              size_t step, float *const *sources, size_t count) {
    floats sums[MAX_WIDTH];
#pragma GCC unroll 8
    for (size_t w = 0; w < width; w++) sums[w] = load(row, first + w);
    for (size_t k = 0; k < count; k++) {
        const float *source = sources[k];
        float coefficient = coefficients[k * step];
#pragma GCC unroll 8
        for (size_t w = 0; w < width; w++) sums[w] += coefficient * load(source, first + w);
    }
#pragma GCC unroll 8
    for (size_t w = 0; w < width; w++) store(row, first + w, sums[w]);
}

/* row += Σ_k coefficients[k * step] * sources[k]. Loops of a known width are what keeps sums in registers. */
static inline void add_product(float *row, size_t dim, const float *coefficients, size_t step, float *const *sources,
                               size_t count) {
    size_t vectors = dim / LANES, first = 0;
    for (; first + MAX_WIDTH <= vectors; first += MAX_WIDTH)
        add_columns(row, first, MAX_WIDTH, coefficients, step, sources, count);
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
static inline void errors_of(float *scores, size_t stride, size_t n, const output_list *outputs, float rate, loss_sum *loss) {
    for (size_t i = 0; i < n; i++) {
        for (size_t v = 0; v < (outputs->count + LANES - 1) / LANES; v++) {
            floats sign = load(outputs->signs, v);
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

int64_t tk_train(tk_trainer *trainer, const tk_block *block, double *loss) {
    const tk_skipgram *settings = &trainer->settings;
    size_t dim = settings->dim, stride = trainer->stride;
    kept_tokens *kept = &trainer->kept;
    if (block->first > block->last || block->last - block->first > TK_BLOCK_TOKENS || block->last > block->num_ids)
        return TK_TOO_LONG;
    gather_kept(settings, block, kept);

    int64_t num_pairs = 0;
    uint64_t state = block->seed;
    size_t num_padding = 0;
    loss_sum sum = no_loss();
    *loss = 0.0;
    if (kept->first < kept->last) draw_outputs(settings, kept->tokens[kept->first], &state, &trainer->next_outputs, stride);
    for (size_t i = kept->first; i < kept->last; i++) {
        /* The outputs of the next position are drawn now, so that their rows come from memory in the meantime. */
        output_list outputs = trainer->next_outputs;
        trainer->next_outputs = trainer->outputs;
        trainer->outputs = outputs;
        size_t m = outputs.count, window = (size_t)kept->windows[i], n = 0;
        if (i + 1 < kept->last) draw_outputs(settings, kept->tokens[i + 1], &state, &trainer->next_outputs, stride);
        if (i + settings->window_size < kept->count) {
            const float *row = settings->target_table + (size_t)kept->tokens[i + settings->window_size] * dim;
            for (size_t d = 0; d < dim; d += LINE) __builtin_prefetch(row + d, 1);
        }

        size_t left = i > window ? i - window : 0, right = i + window + 1 < kept->count ? i + window + 1 : kept->count;
        for (size_t neighbour = left; neighbour < right; neighbour++)
            if (neighbour != i) trainer->targets[n++] = settings->target_table + (size_t)kept->tokens[neighbour] * dim;
        if (n == 0) continue;
        for (size_t j = 0; j < m; j++) trainer->contexts[j] = settings->context_table + (size_t)outputs.ids[j] * dim;
        /* Copy U, which is needed as it was after the table has moved. A tile of rows is filled up with the last one. */
        for (size_t row = 0; row < n; row++) memcpy(trainer->input_rows[row], trainer->targets[row], dim * sizeof(float));
        for (size_t j = m; j % TILE_V; j++) trainer->contexts[j] = trainer->contexts[m - 1];

        for (size_t row = 0; row < n; row += TILE_U)
            for (size_t j = 0; j < m; j += TILE_V)
                score_tile(trainer->input_rows + row, trainer->contexts + j, dim, trainer->scores + row * stride + j, stride);
        float progress = (float)(i - kept->first) / (float)(kept->last - kept->first);
        float rate = block->first_rate + (block->last_rate - block->first_rate) * progress;
        errors_of(trainer->scores, stride, n, &outputs, rate, &sum);
        num_padding += n * (round_up(m, LANES) - m);
        num_pairs += (int64_t)n;
        if (i % LOSS_POSITIONS == 0) *loss += take_loss(&sum);

        for (size_t row = 0; row < n; row++) /* U += E V */
            add_product(trainer->targets[row], dim, trainer->scores + row * stride, 1, trainer->contexts, m);
        for (size_t j = 0; j < m; j++) /* V += Eᵀ U */
            add_product(trainer->contexts[j], dim, trainer->scores + j, stride, trainer->input_rows, n);
    }
    *loss += take_loss(&sum) - (double)num_padding * log(2.0); /* a score that is padding counts log(1 + e^0) */
    return num_pairs;
}
