/* Shared by splitting, encoding and learning: pieces of text, a hash table that finds them by their bytes, and what the files
 * call of each other. Nothing here is called from Python. */
#ifndef TOKEMBED_PIECES_H
#define TOKEMBED_PIECES_H
#include <stdlib.h>
#include <string.h>

#include "tokembed.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "keys of pieces are their bytes as numbers, and tokens are stored two at a time: little-endian processors only"
#endif

enum { BLOCK_PIECES = 4096 }; /* pieces found before anything is done with them */
enum { MAX_INLINE = 15 };     /* bytes of a piece that fit into an entry */

static const uint64_t ALL_BITS = UINT64_MAX;
static const uint64_t HASH_MULTIPLIER = 0x9E3779B97F4A7C15;

/* A piece within a block of text: its first byte, counted from the block's start, and its length in bytes. */
typedef struct { uint32_t start, length; } piece;

/* What a piece is found by. Up to 15 bytes: the bytes, and the length in the highest byte. More: their hash, 0xFF in the highest
 * byte, and the lowest 32 bits free for the offset at which a table keeps the bytes, after their number. */
typedef struct { uint64_t low, high; } piece_key;
static const uint64_t LONG_PIECE = 0xFFULL << 56;

/* Half a cache line: a key (`high` is 0 in an empty entry), and two numbers that the table's user keeps there. */
typedef struct { uint64_t low, high, value, more; } entry;

/* A hash table with linear probing, at most half full. No piece is kept at offset 0 of `octets`: lookup keys carry 0. */
typedef struct {
    entry *entries; /* aligned to cache lines, num_slots of them, a power of two */
    size_t num_slots, num_entries;
    uint8_t *octets; /* the bytes of long pieces */
    size_t octets_size, octets_used;
} piece_table;

static inline uint64_t load_word(const void *address) {
    uint64_t word;
    memcpy(&word, address, sizeof word);
    return word;
}

static inline size_t min_size(size_t a, size_t b) { return a < b ? a : b; }

/* Return a character's code point, and its length in bytes. The text is valid UTF-8. */
static inline uint32_t character_at(const uint8_t *text, size_t *length) {
    uint32_t first = text[0];
    *length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (*length == 1) return first;
    uint32_t character = first & (0x7F >> *length);
    for (size_t i = 1; i < *length; i++) character = character << 6 | (text[i] & 0x3F);
    return character;
}

/* Write a character as UTF-8; return the number of its bytes. */
static inline size_t write_character(uint32_t c, uint8_t *octets) {
    size_t more = (size_t)((c >= 0x80) + (c >= 0x800) + (c >= 0x10000)); /* continuation bytes, six bits each */
    for (size_t i = more; i > 0; i--, c >>= 6) octets[i] = (uint8_t)(0x80 | (c & 0x3F));
    octets[0] = (uint8_t)(more ? ((0xFF00 >> (more + 1)) & 0xFF) | c : c);
    return more + 1;
}

/* 16 bytes from &KEPT_BYTES[16 - length] on are a mask of the first `length` bytes. */
static const uint8_t KEPT_BYTES[32] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};

/* Return the key of a piece of up to 15 bytes from which 16 may be read: no branch depends on the length. */
static inline piece_key short_key(const uint8_t *text, size_t length) {
    const uint8_t *mask = KEPT_BYTES + 16 - length;
    return (piece_key){load_word(text) & load_word(mask), (load_word(text + 8) & load_word(mask + 8)) | (uint64_t)length << 56};
}

/* Return the key of any piece that is not empty. */
static inline piece_key key_of(const uint8_t *text, size_t length) {
    if (length <= MAX_INLINE) {
        uint8_t copy[16] = {0};
        memcpy(copy, text, length);
        return short_key(copy, length);
    }
    uint64_t mixed = length;
    for (size_t i = 0; i + 8 <= length; i += 8) {
        mixed = (mixed ^ load_word(text + i)) * HASH_MULTIPLIER;
        mixed ^= mixed >> 29;
    }
    mixed = (mixed ^ load_word(text + length - 8)) * HASH_MULTIPLIER;
    return (piece_key){mixed ^ mixed >> 29, LONG_PIECE};
}

/* Tell whether there are the same bytes, eight at least, at two addresses. */
static inline bool same_bytes(const uint8_t *a, const uint8_t *b, size_t length) {
    for (size_t i = 0; i + 8 <= length; i += 8)
        if (load_word(a + i) != load_word(b + i)) return false;
    return load_word(a + length - 8) == load_word(b + length - 8);
}

static inline bool is_long(uint64_t high) { return high >= LONG_PIECE; }

/* Return the slot at which the search for a key begins. It is even: two entries share a cache line. */
static inline size_t first_slot(piece_key key, size_t num_slots) {
    uint64_t high = is_long(key.high) ? 0 : key.high * 0xC2B2AE3D27D4EB4F;
    return (size_t)(((key.low ^ high) * HASH_MULTIPLIER) >> 32) & (num_slots - 2);
}

/* Return the length of a long piece, which stands before the bytes that a table keeps of it. */
static inline size_t long_length(const uint8_t *octets) {
    uint32_t length;
    memcpy(&length, octets - sizeof length, sizeof length);
    return length;
}

/* Return the entry of a piece, or the empty one where it belongs. */
static inline entry *find_entry(const piece_table *table, piece_key key, const uint8_t *text, size_t length) {
    for (size_t slot = first_slot(key, table->num_slots);; slot = (slot + 1) & (table->num_slots - 1)) {
        entry *found = table->entries + slot;
        if (found->high == 0) return found;
        if (found->low != key.low) continue;
        if (found->high == key.high && length <= MAX_INLINE) return found;
        if (!is_long(found->high) || length <= MAX_INLINE) continue;
        const uint8_t *octets = table->octets + (found->high & UINT32_MAX);
        if (long_length(octets) == length && same_bytes(octets, text, length)) return found;
    }
}

/* Return memory for a hash table, aligned to cache lines, or NULL; on huge pages if it is large. */
void *table_memory(size_t size);
/* Return such memory with the contents of an old one, which is freed; NULL, and the old one stays. */
void *grow_memory(void *old, size_t old_size, size_t size);

bool make_table(piece_table *table, size_t num_slots); /* false: no memory */
void free_table(piece_table *table);
bool has_room(const piece_table *table, size_t length); /* for one more piece of so many bytes */
bool grow_table(piece_table *table, size_t length);     /* until it has room; false: no memory */
void clear_table(piece_table *table);
/* Enter a piece at the empty entry that find_entry returned. The table has room. */
void enter_piece(piece_table *table, entry *empty, piece_key key, const uint8_t *text, size_t length);

/* Find the pieces of a text from `start` on, at most BLOCK_PIECES; return their number. Of the text `size` bytes may be read;
 * `next` becomes where to go on, which is `size` after the last piece. */
size_t find_pieces(const tk_rule *rule, const uint8_t *text, size_t start, size_t size, piece *pieces, size_t *next);

/* A binary heap of numbers, whose memory its user owns: the least one comes first. */
typedef unsigned __int128 ticket;
typedef struct {
    ticket *numbers;
    size_t size;
} heap;

static inline void push(heap *heap, ticket number) {
    size_t hole = heap->size++;
    for (; hole > 0 && heap->numbers[(hole - 1) / 2] > number; hole = (hole - 1) / 2)
        heap->numbers[hole] = heap->numbers[(hole - 1) / 2];
    heap->numbers[hole] = number;
}

static inline ticket pop(heap *heap) {
    ticket *numbers = heap->numbers, least = numbers[0], number = numbers[--heap->size];
    size_t hole = 0, child;
    for (; (child = 2 * hole + 1) < heap->size; hole = child) {
        child += child + 1 < heap->size && numbers[child + 1] < numbers[child];
        if (numbers[child] >= number) break;
        numbers[hole] = numbers[child];
    }
    numbers[hole] = number;
    return least;
}

/* A hash table of merges: left id, right id and value in one number. The filter has a bit for each pair that is in it. */
typedef struct {
    uint64_t *slots, *filter;
    size_t mask; /* the number of slots, less 1 */
    int shift;   /* by which a hash becomes a slot */
    int32_t max_value;
} merge_table;

/* What a tokenizer knows: its splitting rule, its merges, and the pieces that are a token each. */
struct tk_vocab {
    tk_vocab_settings settings;
    merge_table merges;
    int32_t *first_merges; /* (256, 256): the values of pairs of small ids */
    int32_t *made_ids; /* the id that each rank makes; NULL if values are ids */
    piece_table whole_pieces;
};

/* Write the tokens of a piece, at most 2 * length + 2; return their number, or -1 if there is no memory to merge in. */
ptrdiff_t tokens_of(const tk_vocab *vocab, const uint8_t *text, size_t length, int32_t *tokens);

#endif
