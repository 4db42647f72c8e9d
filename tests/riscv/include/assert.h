/* assert as in ESP-IDF with CONFIG_COMPILER_OPTIMIZATION_ASSERTIONS_SILENT, which examples/esp-idf sets: a failed
 * assertion aborts without a message. No include guard: a program may include assert.h again after changing NDEBUG. */
#undef assert
#define assert(e) ((e) ? (void)0 : __builtin_trap())
#ifndef static_assert
#define static_assert _Static_assert
#endif
