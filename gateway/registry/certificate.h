/* certificate.h - reads an OpenSSH certificate in its one-line form ("type base64", OpenSSH's PROTOCOL.certkeys). Pure.
 * It does not verify the signature: sshd verifies the certificate before it runs cmxsafe-authkeys. sshd also parses the
 * certificate itself and enforces its restrictions. */
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
    bool user;                            /* true: a user certificate; false: a host certificate or an unknown kind */
    char id[GW_CERTIFICATE_ID_MAX];       /* the key ID, cut to fit; characters other than letters, digits, spaces and
                                             ._-@/:+= are replaced by '?' */
    uint64_t begins, ends;                /* Unix time; ends UINT64_MAX: never */
    size_t principals_at, principals_len; /* offset and length of the principals in raw */
    uint8_t raw[GW_CERTIFICATE_RAW_MAX];
    size_t raw_len;
};

/* True if type is the type of a certificate, even if this file does not support its algorithm. */
bool gw_certificate_is_type(const char *type);

/* Parses a certificate. line: ends at the first newline or NUL. CMX_EFORMAT: the certificate is malformed. CMX_ENOTSUP:
 * its type is not supported. */
CMX_MUST_USE cmx_err gw_certificate_parse(struct gw_certificate *c, const char *line, struct cmx_why *e);

/* Copies the principal at position *at to out, and advances *at to the next one. Start with *at 0. Skips a principal
 * that is longer than out or contains a NUL. Returns false if there are no more. */
bool gw_certificate_principal(const struct gw_certificate *c, size_t *at, char *out, size_t cap);
