/* label.h - every label that separates one use of a key or hash from another, in one list. Pure.
 * A label never changes its meaning: when the derived or hashed data changes, the label gets a new number.
 *
 * The hardware key computes HMAC-SHA256 for two kinds of messages: those of /hash (H || chunk || challenge: a hash of
 * 32 bytes, at least one byte of flash and at least one byte of challenge, so at least 34 bytes) and the messages of
 * these labels (exactly CMX_LABEL_LEN = 32 bytes). No message can be both, whatever the flash and the challenge
 * contain. docs/ATTESTATION.md has a table of the labels. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/hash_len.h"

/* Labels with which the input of a hash or MAC begins. "NUL included": the input contains the label's NUL too. */
#define CMX_DOMAIN_MEASUREMENT "cmxsafe measurement 3"       /* attest/measure.h; NUL included */
#define CMX_DOMAIN_POLICY "cmxsafe policy 1"                 /* isolation/digest.h; NUL included */
#define CMX_DOMAIN_FILL "cmxsafe fill 1"                     /* gateway/verify/fill.c; NUL included */
#define CMX_DOMAIN_DEVICE_ADDRESS "cmxsafe device address 1" /* address of a device, from its key */

#define CMX_DOMAIN_PLATFORM_ADDRESS "cmxsafe platform address 1" /* address of a platform, from its first key */
#define CMX_DOMAIN_PRINCIPAL_ADDRESS                                                                                   \
    "cmxsafe principal address 1"                          /* address of the consumer PRINCIPAL@CA, from this name */
#define CMX_DOMAIN_USER_ADDRESS "cmxsafe user address 1"   /* address of a local user, from the name */
#define CMX_DOMAIN_GROUP_ADDRESS "cmxsafe group address 1" /* address of a local group, from the name */
#define CMX_DOMAIN_UNIT_ADDRESS "cmxsafe unit address 1"   /* address of a systemd unit, from its control group */
#define CMX_DOMAIN_GATEWAY_ADDRESS "cmxsafe gateway address 1" /* address of the gateway itself */
#define CMX_DOMAIN_LINK_PREFIX "cmxsafe link prefix 1"         /* IPv6 prefix of the links between a fleet's gateways */

#define CMX_LABEL_LEN 32

typedef enum {
    CMX_LABEL_EVIDENCE,  /* key of the MAC over evidence */
    CMX_LABEL_SSH,       /* scalar of the SSH key; uses the counter */
    CMX_LABEL_UEID,      /* the device's name, public */
    CMX_LABEL_ATTEST,    /* scalar of the key that signs evidence; uses the counter */
    CMX_LABEL_APPRAISAL, /* key for the digests in signed evidence; verifiers hold it */
} cmx_label;

/* Writes the message: the label's text, zeros, and counter in the last byte. */
void cmx_label_message(cmx_label label, uint8_t counter, uint8_t out[CMX_LABEL_LEN]);

/* A function that computes HMAC-SHA256 with the hardware key (cmx_port_hw_hmac) or with the secret that replaces it
 * (own_key.h). arg: the caller's argument, passed through. */
typedef cmx_err (*cmx_hmac_fn)(void *arg, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN]);
