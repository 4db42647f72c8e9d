/* c_linkage.h - CMX_C_BEGIN and CMX_C_END enclose the declarations of functions that C++ programs call. */
#pragma once

#ifdef __cplusplus
#define CMX_C_BEGIN extern "C" {
#define CMX_C_END }
#else
#define CMX_C_BEGIN
#define CMX_C_END
#endif
