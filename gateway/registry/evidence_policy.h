/* evidence_policy.h - which devices must prove which firmware they run, and the state of their evidence. A device's own
 * policy takes precedence over its group's. A device that is not exempt is quarantined if its policy is enforced and it
 * has no fresh, trusted evidence. Grants to a quarantined device do not count, except break-glass grants (grant.h).
 * Writers run inside the caller's transaction. */
#pragma once

#include "cmxsafe/port/crypto.h"
#include "gateway/registry/registry_device.h"
#include "gateway/registry/term.h"

#define GW_POLICY_MANIFESTS_MAX 16
#define GW_POLICY_PATH_MAX 1024
#define GW_POLICY_AGE_MIN_S 60
#define GW_REASON_MAX 200
#define GW_FIRMWARE_MAX 96  /* name, version and slot of the firmware, NUL included */
#define GW_LOGIN_GRACE_S 30 /* a device must give new evidence within this many seconds after a login */

struct gw_manifest_file {
    char path[GW_POLICY_PATH_MAX]; /* absolute path of the operator's file */
    char digest[CMX_SHA256_HEX];   /* SHA-256 of the gateway's copy, hex */
};

struct gw_policy {
    int64_t id;
    char target[GW_NAME_MAX]; /* a group's or a device's name */
    bool is_device;
    bool enforce;
    int64_t max_age_s;
    struct gw_manifest_file manifests[GW_POLICY_MANIFESTS_MAX];
    size_t n_manifests;
};

/* Stores the policy; p->id is ignored. Replaces the target's former policy, including its manifests. */
CMX_MUST_USE cmx_err gw_policy_set(struct gw_registry *r, const struct gw_policy *p, gw_outcome *out,
                                   struct cmx_why *e);
/* Reads the policy with this number (gw_standing.policy). */
CMX_MUST_USE cmx_err gw_policy_read(struct gw_registry *r, int64_t id, struct gw_policy *p, struct cmx_why *e);
CMX_MUST_USE cmx_err gw_policy_remove(struct gw_registry *r, const char *target, bool is_device, gw_outcome *out,
                                      struct cmx_why *e);
typedef cmx_err (*gw_policy_fn)(void *arg, const struct gw_policy *p);
CMX_MUST_USE cmx_err gw_policy_each(struct gw_registry *r, gw_policy_fn fn, void *arg, struct cmx_why *e);

/* Adds a manifest to the policy that applies to the device, its own or its group's. Changes nothing if none applies. */
CMX_MUST_USE cmx_err gw_policy_allow(struct gw_registry *r, const char *device, const struct gw_manifest_file *m,
                                     struct cmx_why *e);

/* Exempts a device from its own and its group's policy, or ends the exemption. why: the reason for the audit trail;
 * a new one for a device that is exempt already also counts as a change. */
CMX_MUST_USE cmx_err gw_policy_exempt(struct gw_registry *r, const char *device, bool exempt, const char *why,
                                      gw_outcome *out, struct cmx_why *e);

/* Stores the device's attestation key, as the line that cmx_attest_key_print writes; "" removes it. */
CMX_MUST_USE cmx_err gw_evidence_key_set(struct gw_registry *r, const char *device, const char *line, gw_outcome *out,
                                         struct cmx_why *e);
/* Reads the line of the attestation key. CMX_ENOENT: the device has no attestation key, or there is no such device.
 * CMX_ENOSPC: the line does not fit into cap bytes. */
CMX_MUST_USE cmx_err gw_evidence_key_get(struct gw_registry *r, int64_t device, char *line, size_t cap,
                                         struct cmx_why *e);

/* Sets the port on which the device gives evidence. CMX_ENOENT: the device has no such port, or there is no such
 * device. */
CMX_MUST_USE cmx_err gw_evidence_port_set(struct gw_registry *r, const char *device, uint16_t port, gw_outcome *out,
                                          struct cmx_why *e);

/* ---- evidence of devices ---- */

/* A device's policy, and the state of its evidence. */
struct gw_standing {
    int64_t device;
    char name[GW_NAME_MAX];
    char address[GW_ADDRESS_MAX];
    uint16_t port;    /* port on which the device gives evidence */
    int64_t policy;   /* 0: no policy */
    bool is_enforced; /* the policy is enforced; an exemption does not change this flag */
    bool exempt;
    bool quarantined;
    int64_t max_age_s;
    int64_t at;   /* Unix time of the last verdict; 0: none */
    int64_t left; /* seconds until its trusted evidence is too old; 0: it has no fresh, trusted evidence */
    bool trusted; /* the last verdict was "trusted", and gw_grant_expire has not marked it as too old */
    char manifest[CMX_SHA256_HEX]; /* digest of the manifest that the evidence matched; "": none */
    char reason[GW_REASON_MAX];
};

/* Reads the standing of the active device with this name. CMX_ENOENT: there is none. */
CMX_MUST_USE cmx_err gw_standing_get(struct gw_registry *r, const char *name, struct gw_standing *s, struct cmx_why *e);
/* Calls fn for each device that has a policy, in the order of their names. */
typedef cmx_err (*gw_standing_fn)(void *arg, const struct gw_standing *s);
CMX_MUST_USE cmx_err gw_standing_each(struct gw_registry *r, gw_standing_fn fn, void *arg, struct cmx_why *e);

struct gw_verdict {
    bool trusted;
    int64_t max_age_s;    /* for how long trusted evidence counts */
    const char *manifest; /* digest of the manifest that the evidence matched, or "" */
    const char *reason;   /* why the evidence is not trusted, or "" */
    const char *firmware; /* the firmware that the device reports; NULL: unknown */
};

CMX_MUST_USE cmx_err gw_evidence_set(struct gw_registry *r, int64_t device, const struct gw_verdict *v,
                                     struct cmx_why *e);
/* Stores why a device gives no evidence, unless its last evidence is still marked as trusted (gw_grant_expire removes
 * this mark). The time of the last verdict does not change. *changed: the stored reason is new. */
CMX_MUST_USE cmx_err gw_evidence_missing(struct gw_registry *r, int64_t device, const char *reason, bool *changed,
                                         struct cmx_why *e);
/* A digest of the inputs of a verdict about a device: its attestation key, its policy's manifests and its previous
 * evidence. An operator or another gateway may change the inputs during a check; the verdict of the check then does not
 * count. So the caller computes the digest before and after the check, and compares the two. */
struct gw_basis {
    uint8_t digest[CMX_SHA256_LEN];
};
/* Computes the digest of the current inputs. CMX_ENOENT: there is no such device, or it is revoked. */
CMX_MUST_USE cmx_err gw_evidence_basis(struct gw_registry *r, int64_t device, struct gw_basis *out, struct cmx_why *e);
/* Call this when a device with a policy has logged in. Its current evidence then counts for at most GW_LOGIN_GRACE_S
 * more seconds. */
CMX_MUST_USE cmx_err gw_evidence_login(struct gw_registry *r, int64_t device, struct cmx_why *e);

/* ---- when devices were last connected ---- */

struct gw_seen {
    int64_t at; /* Unix time of the last login or session end, whichever is later; 0: none */
    char source[GW_SOURCE_TEXT_MAX];
    char firmware[GW_FIRMWARE_MAX]; /* name, version and slot, from its last evidence */
    char client[GW_CLIENT_MAX];     /* the SSH software that the device announced at the login */
};

/* Stores s->at and s->source, and also s->client unless it is "". */
CMX_MUST_USE cmx_err gw_seen_set(struct gw_registry *r, const char *device, const struct gw_seen *s, struct cmx_why *e);
/* Sets *s to all zeros if the device was never connected, or if the entry can't be read. */
void gw_seen_get(struct gw_registry *r, int64_t device, struct gw_seen *s);
