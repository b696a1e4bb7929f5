/* The hash table of pieces. Its find_entry stands in pieces.h, since the encoder's loop needs it inline. */
#include "pieces.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

enum { FAST_GROWTH = 1 << 16 }; /* slots up to which a table grows fourfold: fresh memory and re-entering are slow */

void *table_memory(size_t size) {
    enum { HUGE_PAGE = 1 << 21 };
    size_t alignment = size < HUGE_PAGE ? 64 : HUGE_PAGE;
    void *memory = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
#if defined(__linux__)
    if (memory && size >= HUGE_PAGE) madvise(memory, size, MADV_HUGEPAGE); /* a lookup anywhere in it costs no page walk */
#endif
    return memory;
}

void *grow_memory(void *old, size_t old_size, size_t size) {
    void *memory = table_memory(size);
    if (!memory) return NULL;
    if (old_size) memcpy(memory, old, old_size);
    free(old);
    return memory;
}

/* Return zeroed entries, two to a cache line, or NULL. */
static entry *make_entries(size_t num_slots) {
    entry *entries = table_memory(num_slots * sizeof *entries);
    if (entries) memset(entries, 0, num_slots * sizeof *entries);
    return entries;
}

bool make_table(piece_table *table, size_t num_slots) {
    *table = (piece_table){.entries = make_entries(num_slots), .num_slots = num_slots};
    clear_table(table);
    return table->entries != NULL;
}

void free_table(piece_table *table) {
    free(table->entries);
    free(table->octets);
}

bool has_room(const piece_table *table, size_t length) {
    return 2 * table->num_entries < table->num_slots &&
           (length <= MAX_INLINE || table->octets_used + sizeof(uint32_t) + length <= table->octets_size);
}

bool grow_table(piece_table *table, size_t length) {
    if (length > MAX_INLINE && table->octets_used + sizeof(uint32_t) + length > table->octets_size) {
        size_t size = table->octets_size ? table->octets_size : 1 << 14;
        while (size < table->octets_used + sizeof(uint32_t) + length) size *= 2;
        uint8_t *octets = size <= UINT32_MAX ? grow_memory(table->octets, table->octets_size, size) : NULL; /* an entry has 32 bits for the offset */
        if (!octets) return false;
        table->octets = octets;
        table->octets_size = size;
    }
    if (2 * table->num_entries < table->num_slots) return true;
    size_t num_slots = table->num_slots * (table->num_slots < FAST_GROWTH ? 4 : 2);
    entry *entries = make_entries(num_slots);
    if (!entries) return false;
    for (size_t i = 0; i < table->num_slots; i++) {
        const entry *old = table->entries + i;
        if (old->high == 0) continue;
        size_t slot = first_slot((piece_key){old->low, old->high}, num_slots);
        while (entries[slot].high != 0) slot = (slot + 1) & (num_slots - 1);
        entries[slot] = *old;
    }
    free(table->entries);
    table->entries = entries;
    table->num_slots = num_slots;
    return true;
}

void clear_table(piece_table *table) {
    if (table->num_entries > 0) memset(table->entries, 0, table->num_slots * sizeof *table->entries);
    table->num_entries = 0;
    table->octets_used = 0;
}

void enter_piece(piece_table *table, entry *empty, piece_key key, const uint8_t *text, size_t length) {
    if (length > MAX_INLINE) {
        uint32_t number = (uint32_t)length;
        memcpy(table->octets + table->octets_used, &number, sizeof number);
        table->octets_used += sizeof number;
        memcpy(table->octets + table->octets_used, text, length);
        key.high |= table->octets_used;
        table->octets_used += length;
    }
    empty->low = key.low;
    empty->high = key.high;
    table->num_entries++;
}
