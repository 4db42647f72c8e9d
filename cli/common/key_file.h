/* key_file.h - reads the operator's files with a device's keys: the hardware key (private_key.bin), and the attestation
 * key that `cmxsafe identity public` prints. Also computes HMACs with the hardware key, as the device does. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/identity/attest_key.h"

/* Reads a file of exactly 32 bytes. why: a phrase about the file, such as "is not 32 bytes long". The caller wipes key.
 * CMX_ENOENT, CMX_EPERM, CMX_EIO: the file can't be read; CMX_EFORMAT: it has another length. */
CMX_MUST_USE cmx_err key_file_read(const char *path, uint8_t key[CMX_HMAC_KEY_LEN], struct cmx_why *why);

/* A cmx_hmac_fn: computes the HMAC-SHA256 that the device's hardware would compute. arg: the 32 bytes of the hardware
 * key. */
CMX_MUST_USE cmx_err key_file_hmac(void *arg, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN]);

/* Finds the first attestation key among the file's lines. Errors as for key_file_read; CMX_EFORMAT: the file has no
 * such key. */
CMX_MUST_USE cmx_err key_file_read_attest(const char *path, struct cmx_attest_key *out, struct cmx_why *why);
