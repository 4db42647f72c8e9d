/* certificate.h - reads an OpenSSH certificate in its one-line form ("type base64", OpenSSH's PROTOCOL.certkeys). Pure.
 * It verifies no signature: sshd verifies the certificate before it runs the helper, and applies its own parser's
 * result. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/registry/sshkey.h"

#define GW_CERTIFICATE_TYPE_MAX 48
#define GW_CERTIFICATE_RAW_MAX 6144
#define GW_CERTIFICATE_TEXT_MAX (GW_CERTIFICATE_TYPE_MAX + GW_CERTIFICATE_RAW_MAX / 3 * 4 + 8) /* type and base64 */
#define GW_CERTIFICATE_ID_MAX 64

struct gw_certificate {
    char type[GW_CERTIFICATE_TYPE_MAX];
    char fingerprint[GW_FINGERPRINT_MAX]; /* fingerprint of the certified key */
    char authority[GW_FINGERPRINT_MAX];   /* fingerprint of the CA's key */
    uint64_t serial;
    bool user;                      /* it is a user certificate; false: a host's, or of an unknown kind */
    char id[GW_CERTIFICATE_ID_MAX]; /* the key ID, cut; '?' replaces characters other than letters, digits, spaces and
                                       ._-@/:+= */
    uint64_t begins, ends;          /* Unix time; ends UINT64_MAX: never */
    size_t principals_at, principals_len; /* place of the principals within raw */
    uint8_t raw[GW_CERTIFICATE_RAW_MAX];
    size_t raw_len;
};

/* True for the type of a certificate, also of one whose algorithm this file does not support. */
bool gw_certificate_is_type(const char *type);

/* Parses a certificate. line: NUL-terminated, ends at the first newline. CMX_EFORMAT; CMX_ENOTSUP: a type that is not
 * supported. */
CMX_MUST_USE cmx_err gw_certificate_parse(struct gw_certificate *c, const char *line, struct cmx_why *e);

/* Copies the next principal from *at on; *at is 0 for the first. A principal that is longer than out, or that contains
 * a NUL, is skipped. False: there are no more. */
bool gw_certificate_principal(const struct gw_certificate *c, size_t *at, char *out, size_t cap);
