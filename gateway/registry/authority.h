/* authority.h - certificate authorities (CAs), which sign the SSH certificates of platforms and people, and the list of
 * revoked keys and certificates (KRL).
 *
 * A certificate's principal P represents the consumer "P@CA", where CA is the name under which the CA was registered.
 * The operator does not register such a consumer: its first grant creates it, and it may log in as long as it has a
 * grant. Writers run inside the caller's transaction. */
#pragma once

#include "cmxsafe/core/hash_len.h"
#include "gateway/registry/certificate.h"
#include "gateway/registry/grant.h"

#define GW_KRL_MAX (256 * 1024) /* bytes */

struct gw_authority {
    char name[GW_NAME_MAX];
    char fingerprint[GW_FINGERPRINT_MAX];
    char type[GW_KEY_TYPE_MAX];
    char blob[GW_KEY_BLOB_MAX];
    int64_t added; /* Unix time */
};

/* Registers a CA. If the name is registered already, replaces the CA's key. */
CMX_MUST_USE cmx_err gw_authority_set(struct gw_registry *r, const char *name, const struct gw_key *k, gw_outcome *out,
                                      struct cmx_why *e);
/* Removes a CA and the grants of its principals. CMX_ENOENT: no such CA. */
CMX_MUST_USE cmx_err gw_authority_remove(struct gw_registry *r, const char *name, struct cmx_why *e);
/* Calls fn for each CA in the order of their names. If fn returns an error, stops and returns it. */
typedef cmx_err (*gw_authority_fn)(void *arg, const struct gw_authority *a);
CMX_MUST_USE cmx_err gw_authority_each(struct gw_registry *r, gw_authority_fn fn, void *arg, struct cmx_why *e);

/* Finds the CA of a certificate and the only consumer among the certificate's principals. now: Unix time. CMX_EAUTH,
 * with the reason in e: the certificate is not a user certificate or is not valid now, its CA is not registered, or
 * none or several of its principals have a grant. */
CMX_MUST_USE cmx_err gw_authority_accept(struct gw_registry *r, const struct gw_certificate *c, int64_t now,
                                         struct gw_authority *a, struct gw_consumer *who, struct cmx_why *e);

/* ---- the KRL ---- */

struct gw_krl {
    uint8_t *bytes; /* owned, free with cmx_mem_free; NULL if len is 0 */
    size_t len;
    char digest[CMX_SHA256_HEX]; /* SHA-256, hex; "": no KRL is installed */
    int64_t at;                  /* Unix time of the installation */
};

/* Replaces the installed KRL; len 0: removes it. The caller must have checked that sshd can read the new KRL. */
CMX_MUST_USE cmx_err gw_krl_set(struct gw_registry *r, const uint8_t *bytes, size_t len, gw_outcome *out,
                                struct cmx_why *e);
/* Reads the installed KRL; if content is false, only its digest and time. If none is installed, *out is empty. */
CMX_MUST_USE cmx_err gw_krl_get(struct gw_registry *r, bool content, struct gw_krl *out, struct cmx_why *e);
