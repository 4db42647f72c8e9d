/* key_file.h - a device's key as a file on the operator's desk (private_key.bin), and cmx_hmac_fn over it. */
#ifndef CLI_KEY_FILE_H
#define CLI_KEY_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

/* Exactly 32 bytes. why: one phrase. The caller wipes key. CMX_ENOENT, CMX_EPERM, CMX_EIO; CMX_EFORMAT: another length.
 */
CMX_MUST_USE cmx_err key_file_read(const char *path, uint8_t key[32], char *why, size_t why_cap);

/* HMAC-SHA256 as the device's hardware would answer it; arg: the 32 bytes. */
CMX_MUST_USE cmx_err key_file_hmac(void *arg, const void *msg, size_t len, uint8_t out[32]);

#endif
