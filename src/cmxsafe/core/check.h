/* check.h - asserts an invariant at the entry of a function. A device whose invariant is broken stops: its panic
 * handler prints the address, which identifies the line. assert() would keep the text of every condition in flash. */
#pragma once

#if defined(ESP_PLATFORM) || defined(CMX_DEVICE_PROFILE)
#define CMX_CHECK(condition) ((condition) ? (void)0 : __builtin_trap())
#else
#include <assert.h>
#define CMX_CHECK(condition) assert(condition)
#endif
