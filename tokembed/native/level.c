/* The level of the processor that this runs on: which of the libraries, all of the same sources, is the fastest it can execute. */
#include "tokembed.h"

#if defined(__x86_64__)
#include <cpuid.h>

int32_t tk_level(void) {
    unsigned a, b, c, d, enabled, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_FMA)) return 0;
    __asm__("xgetbv" : "=a"(enabled), "=d"(high) : "c"(0)); /* the registers that the operating system saves */
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2) || !(b & bit_BMI2) || (enabled & 0x06) != 0x06) return 0;
    unsigned v4 = bit_AVX512F | bit_AVX512DQ | bit_AVX512CD | bit_AVX512BW | bit_AVX512VL;
    return (b & v4) == v4 && (enabled & 0xE6) == 0xE6 ? 2 : 1;
}
#else
int32_t tk_level(void) { return 0; }
#endif
