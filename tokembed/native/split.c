/* Splitting: UTF-8 text to pieces. The Python twin is `bpe/splitting.py`, whose regular expressions stand there.
 *
 * Text is looked at through windows of 64 bytes. Each kind of character has a mask in which bit i stands for byte i, so where a
 * run of letters ends is a matter of counting zeros, whatever the alphabet. Most starts of pieces follow from a byte's neighbours
 * by shifts of such masks. What depends on more (contractions, line ends within white space, a letter's case) is marked as odd,
 * and there one piece is found a character at a time, alternative by alternative as the pattern has them.
 */
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "pieces.h"

/* What a character may be: bits of a rule's `kinds`. UPPER and LOWER are what may stand in the first and the second part of a
 * piece's letters, which are two parts in TK_O200K alone; there a combining mark is both, and OTHER besides. */
enum { UPPER = 1, LOWER = 2, LETTER = 4, DIGIT = 8, SPACE = 16, NEWLINE = 32, OTHER = 64 };

enum { WINDOW = 64, STEP = 40 }; /* bytes in a window, and how many of them are done when the next one is taken */

typedef uint8_t octets __attribute__((vector_size(WINDOW)));

/* A window's masks of the kinds, of some bytes, and of bytes beyond ASCII and those of them that continue a character. */
typedef struct { uint64_t upper, lower, letters, digits, spaces, newlines, other, blanks, apostrophes, high, continuing; } window_masks;

/* Where pieces start in a window, and what is odd. In TK_WORDS: the bytes that continue a piece. */
typedef struct { uint64_t starts, odd; } window_starts;

static inline int trailing_zeros(uint64_t bits) { return bits ? __builtin_ctzll(bits) : 64; }
static inline int leading_zeros(uint64_t bits) { return bits ? __builtin_clzll(bits) : 64; }

/* ---- masks ---- */

/* Return masks of the bytes in first, first + 1, ..., first + count - 1, and of those that have a bit. */
#if defined(__AVX512BW__) /* written out, since GCC takes a detour from a comparison to its mask */
static inline uint64_t in_range(octets bytes, uint8_t first, uint8_t count) {
    __m512i difference = _mm512_sub_epi8((__m512i)bytes, _mm512_set1_epi8((char)first));
    return _mm512_cmplt_epu8_mask(difference, _mm512_set1_epi8((char)count));
}
static inline uint64_t equal_to(octets bytes, uint8_t value) {
    return _mm512_cmpeq_epi8_mask((__m512i)bytes, _mm512_set1_epi8((char)value));
}
static inline uint64_t with_bit(octets bytes, uint8_t bit) {
    return _mm512_test_epi8_mask((__m512i)bytes, _mm512_set1_epi8((char)bit));
}
#else
static inline uint64_t mask_of(octets flags) { /* of bytes that are 0 or 0xFF */
#if defined(__AVX2__)
    __m256i halves[2];
    memcpy(halves, &flags, sizeof halves);
    return (uint32_t)_mm256_movemask_epi8(halves[0]) | (uint64_t)(uint32_t)_mm256_movemask_epi8(halves[1]) << 32;
#else /* each byte keeps one bit of its own, and a multiplication adds up eight of them */
    uint64_t words[8], mask = 0;
    memcpy(words, &flags, sizeof words);
    for (int i = 0; i < 8; i++) mask |= ((words[i] & 0x8040201008040201) * 0x0101010101010101) >> 56 << 8 * i;
    return mask;
#endif
}
static inline uint64_t in_range(octets bytes, uint8_t first, uint8_t count) { return mask_of((octets)(bytes - first < count)); }
static inline uint64_t equal_to(octets bytes, uint8_t value) { return mask_of((octets)(bytes == value)); }
static inline uint64_t with_bit(octets bytes, uint8_t bit) { return mask_of((octets)((bytes & bit) != 0)); }
#endif

static inline uint8_t kinds_at(const uint8_t *text, const tk_rule *rule) {
    size_t length;
    return rule->kinds[character_at(text, &length)];
}

static inline bool is_continuing(uint8_t byte) { return (byte & 0xC0) == 0x80; }

/* Return where a run of characters of the wanted kinds ends. `text` may lie within its first character. */
static const uint8_t *follow(const uint8_t *text, const uint8_t *end, const tk_rule *rule, int wanted) {
    while (text < end && is_continuing(*text)) text++;
    while (text < end) {
        size_t length;
        if (!(rule->kinds[character_at(text, &length)] & wanted)) break;
        text += length;
    }
    return text;
}

/* Return the masks of a window; nothing is set from `end` on. */
static inline window_masks masks_of(const uint8_t *base, const uint8_t *end, const tk_rule *rule) {
    octets bytes = {0};
    size_t size = min_size((size_t)(end - base), WINDOW);
    if (size == WINDOW) memcpy(&bytes, base, WINDOW);
    else memcpy(&bytes, base, size); /* a call, which reads no further */
    window_masks masks = {
        .upper = in_range(bytes, 'A', 26),
        .lower = in_range(bytes, 'a', 26),
        .digits = in_range(bytes, '0', 10),
        .spaces = in_range(bytes, 9, 5) | equal_to(bytes, ' '),
        .newlines = equal_to(bytes, '\n') | equal_to(bytes, '\r'),
        .blanks = equal_to(bytes, ' '),
        .apostrophes = equal_to(bytes, '\''),
        .high = in_range(bytes, 0x80, 0x80),
        .continuing = in_range(bytes, 0x80, 0x40),
    };
    uint64_t valid = ALL_BITS >> (WINDOW - size);
    masks.letters = masks.upper | masks.lower;
    if (rule->family == TK_WORDS) {
        masks.letters |= masks.digits | equal_to(bytes, '_');
        masks.spaces |= in_range(bytes, 0x1C, 4);
        masks.digits = 0;
    }
    masks.other = ~(masks.letters | masks.digits | masks.spaces | masks.high) & valid;
    if (rule->family != TK_O200K) masks.upper = masks.lower = masks.letters;
    if (masks.high) {
        /* Of the characters beyond ASCII the kinds come from the table, one by one, and become masks together. */
        octets kinds = {0};
        uint8_t kind_of[WINDOW + 4] = {0};
        for (uint64_t leads = masks.high & ~masks.continuing; leads; leads &= leads - 1) {
            int i = trailing_zeros(leads);
            size_t length;
            uint8_t kind = rule->kinds[character_at(base + i, &length)];
            for (size_t j = 0; j < length; j++) kind_of[i + (int)j] = kind;
        }
        memcpy(&kinds, kind_of, WINDOW);
        masks.upper |= with_bit(kinds, UPPER);
        masks.lower |= with_bit(kinds, LOWER);
        masks.letters |= with_bit(kinds, LETTER);
        masks.digits |= with_bit(kinds, DIGIT);
        masks.spaces |= with_bit(kinds, SPACE);
        masks.newlines |= with_bit(kinds, NEWLINE);
        masks.other |= with_bit(kinds, OTHER);
    }
    return masks;
}

/* Return the first and the last of every run of bits: all but those between two. */
static inline uint64_t ends_of_runs(uint64_t bits) { return bits & ~(bits << 1 & bits >> 1); }

/* Return the first of every run of bits, the fourth, the seventh, ... */
static inline uint64_t every_third(uint64_t bits) {
    uint64_t more = bits & ~(bits << 1), chosen = more;
    while (more) {
        more = more << 3 & bits & bits << 1 & bits << 2;
        chosen |= more;
    }
    return chosen;
}

/* ---- starts of pieces, by masks ---- */

/* Return where white space starts a piece in rules that know line ends.
 *
 * Line ends behind marks go with those. Other white space is a piece up to its last line end. Of what follows that, the last
 * character goes with what is behind it. Adding a bit at the start of a run carries it to the end: that is how runs are found. */
static inline window_starts spaces_with_newlines(const window_masks *masks, uint64_t marks, int family) {
    uint64_t taken = masks->newlines & marks << 1;
    taken = masks->newlines & ((masks->newlines + taken) ^ masks->newlines);
    uint64_t rest = masks->spaces & ~taken, newlines = masks->newlines & ~taken, blanks = rest & ~newlines;
    uint64_t indents = newlines << 1 & blanks;
    uint64_t odd = family == TK_O200K ? marks & taken << 1 : 0;           /* a slash may go with them too */
    if ((blanks + indents) & ~blanks & newlines) odd |= newlines;         /* a line end behind an indent: which is last? */
    if (rest >> 63) odd |= newlines & ~(ALL_BITS >> 1 >> (leading_zeros(~rest) - 1)); /* it may go on behind the window */
    return (window_starts){(ends_of_runs(rest) & ~(newlines & rest << 1)) | indents, odd};
}

/* Return where pieces start in a window that begins with one, as far as masks tell. `ends_here` is where the text ends in it.
 *
 * Odd is what depends on more than neighbours: contractions, white space and digits beyond ASCII, lines of blanks alone, and in
 * TK_O200K combining marks and capitals behind letters without case. */
static inline window_starts regular_starts(const tk_rule *rule, const window_masks *masks, size_t ends_here) {
    uint64_t odd = masks->apostrophes | (masks->spaces & masks->high), attached, spaces_start, digits_start;
    uint64_t other_not_upper = masks->other & ~masks->upper;
    uint64_t marks = masks->other & ~(other_not_upper << 1) & ~(masks->blanks << 1);
    if (rule->family == TK_GPT2) {
        attached = masks->blanks;
        digits_start = masks->digits & ~((masks->digits | masks->blanks) << 1);
        spaces_start = ends_of_runs(masks->spaces);
    } else {
        uint64_t single = marks; /* one mark, or one white space but a line end, goes with the letters behind it */
        for (int i = 0; i < 3; i++) single |= single << 1 & masks->continuing;
        attached = (masks->spaces & ~masks->newlines) | single;
        window_starts spaces = spaces_with_newlines(masks, other_not_upper, rule->family);
        spaces_start = spaces.starts;
        odd |= spaces.odd | (masks->digits & masks->high ? masks->digits : 0);
        digits_start = rule->max_digits > 1 ? every_third(masks->digits) : masks->digits;
    }
    uint64_t letters_start = masks->letters & ~(masks->letters << 1) & ~(attached << 1);
    if (rule->family == TK_O200K) {
        uint64_t caseless = masks->upper & masks->lower, capitals = masks->upper & ~masks->lower;
        odd |= (caseless & masks->other) | (capitals & caseless << 1);
        letters_start |= capitals & masks->lower << 1;
    }
    uint64_t starts = letters_start | digits_start | marks | spaces_start;
    size_t covered = WINDOW - 4; /* what is behind may continue, or be part of a character */
    if (ends_here < WINDOW) {
        covered = ends_here + 1;
        starts |= 1ULL << ends_here;
        /* White space at the end of a text is not split. */
        size_t after = (size_t)(WINDOW - leading_zeros((masks->letters | masks->digits | masks->other) & ~masks->spaces));
        if (after < ends_here) odd |= ALL_BITS << after;
    }
    return (window_starts){covered < WINDOW ? starts & ~(ALL_BITS << covered) : starts, odd};
}

/* ---- one piece, a character at a time ---- */

/* Return the length of 's, 't, 'd, 'm, 're, 've or 'll, or 0; in capitals too if `any_case`. */
static size_t contraction(const uint8_t *text, const uint8_t *end, bool any_case) {
    if (text + 1 >= end || text[0] != '\'') return 0;
    int fold = any_case ? 0x20 : 0, first = text[1] | fold;
    if (first == 's' || first == 't' || first == 'd' || first == 'm') return 2;
    if (text + 2 >= end) return 0;
    if (any_case && text[1] == 0xC5 && text[2] == 0xBF) return 3; /* U+017F, the long s, is an s in another case */
    int second = text[2] | fold;
    return ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l') ? 3 : 0;
}

/* Return where the character before `text` begins. */
static inline const uint8_t *before(const uint8_t *text) {
    do text--;
    while (is_continuing(*text));
    return text;
}

/* Return where the letters end that begin at `text`. In TK_O200K they are capitals, then small letters. The second part takes
 * what may be either (a letter without case, a mark) from the first if it finds nothing else. If it finds nothing at all, they
 * are capitals throughout. */
static const uint8_t *end_of_letters(const uint8_t *text, const uint8_t *end, const tk_rule *rule) {
    const uint8_t *first_end = follow(text, end, rule, UPPER);
    if (rule->family != TK_O200K) return first_end;
    if (first_end < end && kinds_at(first_end, rule) & LOWER) return follow(first_end, end, rule, LOWER);
    for (const uint8_t *position = first_end; position > text; position = before(position))
        if (kinds_at(before(position), rule) & LOWER) return position;
    return first_end;
}

/* Return where a piece ends that begins with white space which no letters, digits or marks take. */
static const uint8_t *end_of_space(const uint8_t *text, const uint8_t *end, const tk_rule *rule) {
    const uint8_t *run_end = follow(text, end, rule, SPACE);
    if (rule->family != TK_GPT2 && !(run_end == end && rule->keeps_last_spaces)) { /* up to the last line end */
        const uint8_t *last = run_end;
        while (last > text && last[-1] != '\n' && last[-1] != '\r') last--;
        if (last > text) return last;
    }
    if (run_end == end) return end;
    const uint8_t *last = before(run_end); /* which goes with what follows, unless it is the only one */
    return last > text ? last : run_end;
}

/* Return where the piece ends that begins at `text`: the rules' alternatives in their patterns' order. */
static const uint8_t *end_of_piece(const uint8_t *text, const uint8_t *end, const tk_rule *rule) {
    size_t length;
    int family = rule->family, kind = rule->kinds[character_at(text, &length)];
    if (family == TK_WORDS) return kind & LETTER ? follow(text, end, rule, LETTER) : text + length;
    if (family != TK_O200K) {
        size_t apostrophe = contraction(text, end, family != TK_GPT2);
        if (apostrophe) return text + apostrophe;
    }
    const uint8_t *after = text + length;
    int next_kind = after < end ? kinds_at(after, rule) : 0;
    bool is_blank = *text == ' ', is_letter = kind & (UPPER | LOWER);
    /* One character may stand before letters: a space in "gpt2", all but line ends and digits in the others. */
    bool goes_with_letters = family == TK_GPT2 ? is_blank : !(kind & (NEWLINE | DIGIT));
    if (is_letter || (goes_with_letters && next_kind & (UPPER | LOWER))) {
        const uint8_t *letters_end = end_of_letters(is_letter ? text : after, end, rule);
        return letters_end + (family == TK_O200K ? contraction(letters_end, end, true) : 0);
    }
    if (kind & DIGIT || (family == TK_GPT2 && is_blank && next_kind & DIGIT)) {
        for (int64_t count = kind & DIGIT ? 1 : 0; count < rule->max_digits && after < end; count++) {
            if (!(rule->kinds[character_at(after, &length)] & DIGIT)) break;
            after += length;
        }
        return after;
    }
    if (kind & OTHER || (is_blank && next_kind & OTHER)) {
        after = follow(after, end, rule, OTHER);
        if (family != TK_GPT2)
            while (after < end && (*after == '\n' || *after == '\r' || (family == TK_O200K && *after == '/'))) after++;
        return after;
    }
    return end_of_space(text, end, rule);
}

/* ---- all pieces of a text ---- */

/* Write the words and marks that start in a window from `offset` on and end before `edge`; return those written, and move
 * `offset` behind the last. Of TK_WORDS `odd` has the bytes that continue a piece. */
static inline size_t write_words(window_starts window, size_t edge, size_t *offset, uint32_t base, piece *pieces) {
    size_t count = 0, first = *offset;
    for (uint64_t ahead = window.starts & ALL_BITS << first; ahead; ahead &= ahead - 1) {
        int begin = trailing_zeros(ahead), length = 1 + trailing_zeros(~(window.odd >> 1 >> begin));
        if ((size_t)(begin + length) >= edge) break;
        pieces[count++] = (piece){base + (uint32_t)begin, (uint32_t)length};
        *offset = (size_t)(begin + length);
    }
    return count;
}

/* Write the pieces from `offset` up to the last start before what is odd; return those written, and move `offset` there. */
static inline size_t write_pieces(window_starts window, size_t *offset, uint32_t base, piece *pieces) {
    uint64_t odd = window.odd & ALL_BITS << *offset;
    uint64_t ahead = window.starts & (ALL_BITS << *offset << 1) & ((odd & -odd) - 1);
    size_t count = (size_t)__builtin_popcountll(ahead), done = *offset;
    if (count) *offset = (size_t)(63 - leading_zeros(ahead));
    while (ahead)
        for (int i = 0; i < 8; i++) { /* or fewer: what is written too much is written over */
            size_t next = (size_t)trailing_zeros(ahead);
            *pieces++ = (piece){base + (uint32_t)done, (uint32_t)(next - done)};
            done = next;
            ahead &= ahead - 1;
        }
    return count;
}

size_t find_pieces(const tk_rule *rule, const uint8_t *text, size_t start, size_t size, piece *pieces, size_t *next) {
    const uint8_t *begin = text + start, *end = text + size, *position = begin, *base = NULL;
    window_starts window = {0};
    size_t count = 0, edge = 0;
    while (count < BLOCK_PIECES && position < end) {
        if (!base || position - base > STEP) {
            base = position;
            window_masks masks = masks_of(base, end, rule);
            size_t ends_here = min_size((size_t)(end - base), WINDOW);
            if (rule->family == TK_WORDS) {
                window.odd = (masks.letters & masks.letters << 1) | masks.continuing;
                window.starts = (masks.letters | masks.other) & ~window.odd;
                edge = ends_here == WINDOW ? WINDOW - 4 : ends_here + 1;
            } else {
                window = regular_starts(rule, &masks, ends_here);
            }
        }
        if (count + WINDOW <= BLOCK_PIECES) {
            size_t offset = (size_t)(position - base);
            uint32_t first = (uint32_t)(base - begin);
            size_t found = rule->family == TK_WORDS ? write_words(window, edge, &offset, first, pieces + count)
                                                    : write_pieces(window, &offset, first, pieces + count);
            if (found) {
                count += found;
                position = base + offset;
                continue;
            }
        }
        if (rule->family == TK_WORDS && kinds_at(position, rule) & SPACE) {
            position = follow(position, end, rule, SPACE);
            continue;
        }
        const uint8_t *piece_end = end_of_piece(position, end, rule);
        pieces[count++] = (piece){(uint32_t)(position - begin), (uint32_t)(piece_end - position)};
        position = piece_end;
        /* A mark behind a slash may be a start, which this window does not know. */
        if (rule->family == TK_O200K && position[-1] == '/') base = NULL;
    }
    *next = (size_t)(position - text);
    return count;
}
