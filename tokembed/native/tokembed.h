/* tokembed's C library: what Python calls, in the order of the sources. Read this first.
 *
 *     split.c      where the pieces of a text are
 *     merge.c      the symbols of one piece to its tokens
 *     encode.c     a text to token ids
 *     learn.c      counted words to merges
 *     skipgram.c   token ids to vectors
 *     pieces.h/.c  shared by the first four: the hash table of pieces
 *     level.c      what the processor can do
 *
 * Rules for all of them. Text is valid UTF-8. Pointers in settings are borrowed: what they point to outlives the object. Whatever a
 * `_new` function returns is freed by its `_free`; it returns NULL if there is no memory. There is no global state and there are no
 * threads here: one object serves one thread at a time, but for vocabularies, which don't change and serve all.
 */
#ifndef TOKEMBED_H
#define TOKEMBED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Returned in place of a count. TK_SURROGATE - i says that character i is a lone surrogate. */
enum { TK_NO_MEMORY = -1, TK_TOO_LONG = -2, TK_SURROGATE = -3 };

/* Return the level of x86-64 that the processor has: 0 any, 1 with AVX2, 2 with AVX-512. 0 on other kinds of processor. */
int32_t tk_level(void);

/* ---- splitting ---- */

/* Families of splitting rules. TK_WORDS: runs of word characters, or one mark. The others: those of OpenAI's vocabularies. */
enum { TK_WORDS, TK_GPT2, TK_CL100K, TK_O200K };

typedef struct {
    const uint8_t *kinds;       /* (0x110000,): what each code point may be, see split.c */
    int32_t family;
    int32_t keeps_last_spaces;  /* whether white space at the end of a text is one piece, line ends in it or not */
    int64_t max_digits;         /* in a piece */
} tk_rule;

/* ---- vocabularies ---- */

typedef struct {
    tk_rule rule;
    const int32_t *symbol_ids;    /* TK_WORDS: (0x110000,), a character's id + 1, 0 if unknown. Else (256,): a byte's id */
    const int32_t *lower_steps;   /* (0x110000,): by how much a code point moves when lowered, or NULL */
    int32_t end_of_word;          /* the id of </w> */
    int32_t byte_base, unknown;   /* the id of byte 0's token, or -1; then that of <unk> */
    int32_t ids_are_ranks;        /* whether made ids follow the order of the merges, and equal ids are one rank */
    int32_t numbers_pieces;       /* whether to count: a piece's token is its number, by first occurrence, and none is forgotten */
    int32_t checks_pieces;        /* whether `pieces` may hold some that merges make something else of, which are left out */
    const int32_t *merges;        /* (num_merges, 3): the ids of the left half, the right half and what they make */
    const uint8_t *pieces;        /* the pieces that are a token each: piece t is bytes piece_starts[t] to piece_starts[t + 1] */
    const int64_t *piece_starts;  /* (num_pieces + 1,) */
    const int32_t *piece_ids;     /* (num_pieces,) */
    size_t num_merges, num_pieces;
} tk_vocab_settings;

typedef struct tk_vocab tk_vocab;
tk_vocab *tk_vocab_new(const tk_vocab_settings *settings);
void tk_vocab_free(tk_vocab *vocab);

/* Find the merges behind a list of tokens (bytes starts[t] to starts[t + 1]) in the order of their ranks. `pairs`, (num_tokens, 2),
 * gets the halves of each: what the merges before it make of its bytes, or -1, -1 if those are not two. `symbol_ids`, (256,), are the
 * bytes' ids, and `first_id` that of the first token. Returns false if there is no memory. */
bool tk_derive_merges(const uint8_t *tokens, const int64_t *starts, size_t num_tokens, const int32_t *symbol_ids, int32_t first_id,
                      int32_t *pairs);

/* ---- encoding ---- */

enum { TK_MAX_KEPT = 1000 };       /* bytes of a piece that is remembered */
enum { TK_SHORT_TEXT = 1 << 17 };  /* characters that tk_encode_str takes at most */
enum { TK_UTF8_SLACK = 16 };       /* bytes that tk_utf8 may write behind the last */

/* CPython's PyUnicode_AsUTF8AndSize, PyUnicode_AsUCS4 and PyUnicode_GetLength, and where the ids of a short str go:
 * TK_MAX_TOKENS(4 * TK_SHORT_TEXT) at most. */
typedef struct {
    const char *(*as_utf8)(void *text, ptrdiff_t *size);
    uint32_t *(*as_ucs4)(void *text, uint32_t *buffer, ptrdiff_t size, int copy_null);
    ptrdiff_t (*length)(void *text);
    int32_t *ids;
} tk_python;

/* An encoder remembers the pieces that it has seen, in `max_bytes` or little more. */
typedef struct tk_encoder tk_encoder;
tk_encoder *tk_encoder_new(const tk_vocab *vocab, size_t max_bytes, const tk_python *python);
void tk_encoder_free(tk_encoder *encoder);
size_t tk_encoder_bytes(const tk_encoder *encoder); /* that what it remembers takes */

/* Return how many pieces were numbered. With `ends`: where each one ends in `octets`, which may be NULL, and how often it occurs. */
size_t tk_encoder_read(const tk_encoder *encoder, uint8_t *octets, int64_t *ends, int64_t *counts);

/* Write the ids of a text of `size` bytes, at most TK_MAX_TOKENS(size); return their number, or a code. */
#define TK_MAX_TOKENS(size) (2 * (size) + 4)
ptrdiff_t tk_encode(tk_encoder *encoder, const uint8_t *text, size_t size, int32_t *ids);

/* The same for `count` texts that follow one another, starts[i] to starts[i + 1]; ends[i] becomes where the ids of text i end. */
ptrdiff_t tk_encode_texts(tk_encoder *encoder, const uint8_t *texts, const int64_t *starts, size_t count, int32_t *ids, int64_t *ends);

/* The same for a str of at most TK_SHORT_TEXT characters, all ASCII or any, in one call that holds Python's lock. */
ptrdiff_t tk_encode_ascii(tk_encoder *encoder, void *text);
ptrdiff_t tk_encode_str(tk_encoder *encoder, void *text);

/* Write code points as UTF-8, at most 4 bytes each, and TK_UTF8_SLACK; return the number of bytes, or TK_SURROGATE - i. */
ptrdiff_t tk_utf8(const uint32_t *characters, size_t count, uint8_t *octets);

/* ---- learning ---- */

/* Distinct words: word i is symbols[starts[i]] to symbols[starts[i + 1]], ids below the alphabet's size, and occurs counts[i] times. */
typedef struct {
    const int32_t *symbols;
    const int64_t *starts; /* (num_words + 1,); the last one below 2^31 */
    const int64_t *counts;
    size_t num_words;
} tk_words;

/* A learner copies the words. It merges at most `max_merges` pairs that occur `min_frequency` times. */
typedef struct tk_learner tk_learner;
tk_learner *tk_learner_new(const tk_words *words, size_t alphabet_size, size_t max_merges, int64_t min_frequency);
void tk_learner_free(tk_learner *learner);

/* Go on to `until` merges in all; return how many there are, fewer if no pair is left, or TK_NO_MEMORY. */
ptrdiff_t tk_learn(tk_learner *learner, size_t until);

/* Write the merges, (M, 2) ids, and how often each one replaced its pair, (M,). */
void tk_learner_read(const tk_learner *learner, int32_t *merges, int64_t *applications);

/* ---- skip-gram ---- */

enum { TK_BLOCK_TOKENS = 8192, TK_MAX_WINDOW = 10000, TK_MAX_NEGATIVES = 10000 }; /* at most */

/* What all threads share. V tokens; D = `dim` is a multiple of 16, and rows start at cache lines. */
typedef struct {
    float *target_table, *context_table; /* (V, D) */
    const uint64_t *keep_below;          /* (V,): an occurrence is kept if its 32 random bits are below */
    const uint32_t *thresholds;          /* (V,): with `aliases` the alias table of the negatives, see `sampling.alias_table` */
    const int32_t *aliases;              /* (V,) */
    size_t vocab_size, dim, window_size, num_negatives;
} tk_skipgram;

/* Positions `first` to `last` (exclusive) of a stream, its learning rates at both, and what they draw from. */
typedef struct {
    const int32_t *ids; /* (num_ids,); one outside the vocabulary is never kept */
    size_t num_ids, first, last;
    uint64_t key;  /* of the stream and epoch: position i draws from key + i * golden ratio */
    uint64_t seed; /* of the block's negatives */
    float first_rate, last_rate;
} tk_block;

/* Train on a block; return the number of pairs, and in `loss` the sum of their losses, or a code. */
int64_t tk_train(const tk_skipgram *settings, const tk_block *block, double *loss);

#endif
