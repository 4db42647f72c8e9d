/* hash_len.h - the lengths of hashes and keys, in bytes. The functions are in port/crypto.h. */
#pragma once

#define CMX_SHA256_LEN 32                       /* a SHA-256 (FIPS 180-4) or an HMAC-SHA-256 */
#define CMX_SHA256_HEX (2 * CMX_SHA256_LEN + 1) /* a SHA-256 in hexadecimal, NUL included */

/* A key of HMAC-SHA-256. The hardware key fills an eFuse block of 256 bits, and derived keys are HMACs. */
#define CMX_HMAC_KEY_LEN CMX_SHA256_LEN
