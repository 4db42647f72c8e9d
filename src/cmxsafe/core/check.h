/* check.h - asserts an invariant at the entry of a function. If the invariant is broken, a device stops and its panic
 * handler prints an address, from which the source line can be found. assert() would store the text of every condition
 * in flash. */
#pragma once

#if defined(ESP_PLATFORM) || defined(CMX_DEVICE_PROFILE)
#define CMX_CHECK(condition) ((condition) ? (void)0 : __builtin_trap())
#else
#include <assert.h>
#define CMX_CHECK(condition) assert(condition)
#endif
