/* hw_key.h - the device's HMAC key on Linux, behind cmx_port_hw_hmac: the virtual board's eFuse, a TPM 2.0, or a file.
 * Opened once at start by the program, which puts cmx_hw_key_kind and cmx_hw_key_hmac into its cmx_linux_device.
 *
 * why (may be NULL): a buffer for one sentence that says what is wrong and how to mend it. All opens: CMX_ENOKEY: there
 * is no usable key; CMX_ENOENT, CMX_EPERM, CMX_EIO: it can't be read; CMX_ENOMEM. */
#ifndef CMX_HW_KEY_H
#define CMX_HW_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/port/port.h"
#include "efuse.h"

struct cmx_hw_key;

/* 32 raw bytes in a regular file that only its owner (this user, or root) can access. The key is then in this program's
 * memory, and evidence says "software". */
CMX_MUST_USE cmx_err cmx_hw_key_open_file(const char *path, struct cmx_hw_key **out, char *why, size_t why_cap);

/* BLOCK_KEY3 of an eFuse file (efuse.h). espefuse keeps no read-protected bits in that file, since software could not
 * see them; what the silicon would hold is then read from `silicon`, the file that was burned. */
CMX_MUST_USE cmx_err cmx_hw_key_open_efuse(const char *path, const char *silicon, struct cmx_hw_key **out, char *why,
                                           size_t why_cap);

/* An HMAC-SHA256 key at a persistent handle of a TPM 2.0. tcti: as tpm2-tools take it ("device:/dev/tpmrm0",
 * "swtpm:port=2321"), NULL: the library's default. Loads tpm2-tss; CMX_ENOTSUP: it is not there. */
CMX_MUST_USE cmx_err cmx_hw_key_open_tpm(const char *tcti, uint32_t handle, struct cmx_hw_key **out, char *why,
                                         size_t why_cap);

cmx_key_kind cmx_hw_key_kind(const struct cmx_hw_key *k);

/* Any thread; one at a time is served. CMX_EIO. */
CMX_MUST_USE cmx_err cmx_hw_key_hmac(struct cmx_hw_key *k, const void *msg, size_t len, uint8_t out[32]);

/* Wipes. NULL is fine. */
void cmx_hw_key_close(struct cmx_hw_key *k);

/* ---- for the openers ---- */

struct cmx_hw_key_ops {
    cmx_err (*hmac)(void *state, const void *msg, size_t len, uint8_t out[32]);
    void (*close)(void *state);
};

/* Owns state, also on error. */
CMX_MUST_USE cmx_err cmx_hw_key_create(cmx_key_kind kind, const struct cmx_hw_key_ops *ops, void *state,
                                       struct cmx_hw_key **out);

/* A key whose bytes this program holds; copies them. */
CMX_MUST_USE cmx_err cmx_hw_key_create_raw(cmx_key_kind kind, const uint8_t key[32], struct cmx_hw_key **out);

#endif
