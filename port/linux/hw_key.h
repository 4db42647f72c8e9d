/* hw_key.h - the device's HMAC key on Linux, for cmx_port_hw_hmac: the virtual board's eFuse, a TPM 2.0, or a file. The
 * program opens it once at start and puts cmx_hw_key_kind and cmx_hw_key_hmac into its cmx_linux_device.
 *
 * Errors of the functions that open a key: CMX_ENOKEY: there is no usable key; CMX_ENOENT, CMX_EPERM, CMX_EIO: it
 * cannot be read; CMX_ENOMEM: out of memory. why (may be NULL) says what is wrong and how to correct it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/port/port.h"

struct cmx_hw_key;

/* Opens a key of 32 raw bytes in a regular file that only its owner (this user, or root) can access. The key is then in
 * this program's memory, and evidence reports the key as "software". */
CMX_MUST_USE cmx_err cmx_hw_key_open_file(const char *path, struct cmx_hw_key **out, struct cmx_why *why);

/* Opens an HMAC-SHA256 key at a persistent handle of a TPM 2.0. tcti: as in tpm2-tools ("device:/dev/tpmrm0",
 * "swtpm:port=2321"); NULL: the library's default. Loads tpm2-tss; CMX_ENOTSUP: it is not installed. If the connection
 * to the TPM breaks, later uses of the key connect again, at most once a second. */
CMX_MUST_USE cmx_err cmx_tpm_hmac_open(const char *tcti, uint32_t handle, struct cmx_hw_key **out, struct cmx_why *why);

cmx_key_kind cmx_hw_key_kind(const struct cmx_hw_key *k);

/* Computes the HMAC. Any thread; calls are serialised. CMX_EIO: the TPM or the cryptographic library failed;
 * CMX_ENOKEY: k is NULL. */
CMX_MUST_USE cmx_err cmx_hw_key_hmac(struct cmx_hw_key *k, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN]);

/* Wipes and frees k, which may be NULL. */
void cmx_hw_key_close(struct cmx_hw_key *k);

/* ---- for the functions that open a key ---- */

struct cmx_hw_key_ops {
    cmx_err (*hmac)(void *state, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN]);
    void (*close)(void *state);
};

/* Creates a key whose functions are ops. Takes ownership of state, also on error. */
CMX_MUST_USE cmx_err cmx_hw_key_create(cmx_key_kind kind, const struct cmx_hw_key_ops *ops, void *state,
                                       struct cmx_hw_key **out);

/* Reads a regular file of exactly 32 bytes. closed: refuses a file that users other than root and this one can
 * access. */
CMX_MUST_USE cmx_err cmx_hw_key_read_file(const char *path, bool closed, uint8_t key[CMX_HMAC_KEY_LEN],
                                          struct cmx_why *why);

/* Creates a key that stays in this program's memory. Copies the bytes of key. */
CMX_MUST_USE cmx_err cmx_hw_key_create_raw(cmx_key_kind kind, const uint8_t key[CMX_HMAC_KEY_LEN],
                                           struct cmx_hw_key **out);
