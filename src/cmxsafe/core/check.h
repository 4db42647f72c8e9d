/* check.h - invariants, asserted where a function begins. A device whose invariant is broken stops there: its panic
 * handler prints the address, which leads to the line; the text that assert() would print lies in its flash for nothing
 * else. */
#ifndef CMX_CORE_CHECK_H
#define CMX_CORE_CHECK_H

#if defined(ESP_PLATFORM) || defined(CMX_DEVICE_PROFILE)
#define CMX_CHECK(condition) ((condition) ? (void)0 : __builtin_trap())
#else
#include <assert.h>
#define CMX_CHECK(condition) assert(condition)
#endif

#endif
