/* label.h - domain separation: the messages with which keys are derived from the hardware key. Pure.
 *
 * The hardware key answers HMAC-SHA256 for two kinds of messages: attestation chunks (H || chunk || challenge: 32
 * bytes, then at least one of flash and one of challenge, so at least 34) and these labels (exactly CMX_LABEL_LEN = 32
 * bytes). No message can be both, whatever flash holds and whoever chose the challenge. docs/ATTESTATION.md has the
 * table. */
#ifndef CMX_CORE_LABEL_H
#define CMX_CORE_LABEL_H

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_LABEL_LEN 32

typedef enum {
    CMX_LABEL_EVIDENCE, /* key of the MAC over evidence */
    CMX_LABEL_SSH,      /* scalar of the SSH key; the counter is used */
    CMX_LABEL_UEID      /* the device's name, public */
} cmx_label;

/* The 32 bytes to be MACed: the label's text, zeros, and counter in the last byte. */
void cmx_label_message(cmx_label label, uint8_t counter, uint8_t out[CMX_LABEL_LEN]);

/* HMAC-SHA256 under the hardware key, as cmx_port_hw_hmac does it; arg goes along. */
typedef cmx_err (*cmx_hmac_fn)(void *arg, const void *msg, size_t len, uint8_t out[32]);

#ifdef __cplusplus
}
#endif
#endif
