/* c_linkage.h - a header whose functions C++ programs call declares them between these two. */
#pragma once

#ifdef __cplusplus
#define CMX_C_BEGIN extern "C" {
#define CMX_C_END }
#else
#define CMX_C_BEGIN
#define CMX_C_END
#endif
