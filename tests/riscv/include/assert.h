/* assert as with CONFIG_COMPILER_OPTIMIZATION_ASSERTIONS_SILENT, which examples/esp-idf sets: it aborts without a
 * message. No include guard: assert.h may be included again. */
#undef assert
#define assert(e) ((e) ? (void)0 : __builtin_trap())
#ifndef static_assert
#define static_assert _Static_assert
#endif
