/* registry_device.h - enrols devices with their key, address and ports. All functions that write run inside the
 * caller's transaction (gw_registry_begin), so that a command takes effect completely or not at all. */
#pragma once

#include "gateway/registry/address.h"
#include "gateway/registry/device_fields.h"
#include "gateway/registry/registry.h"
#include "gateway/registry/sshkey.h"

typedef enum { GW_UNCHANGED, GW_ADDED, GW_CHANGED } gw_outcome;

/* Bits of `given`: the fields of a device for which the operator gave a value. */
#define GW_FIELD_PORTS 1u
#define GW_FIELD_DIRECTS 2u
#define GW_FIELD_GROUP 4u
#define GW_FIELD_ADDRESS 8u
#define GW_FIELD_FORMER_KEY 16u /* not a field: accept a former key of the device, and keep its current key */

/* If there is an active device of the same name, copies from it the fields that the operator did not give. */
CMX_MUST_USE cmx_err gw_device_merge(struct gw_registry *r, struct gw_device *d, unsigned given, struct cmx_why *e);

/* Enrols d (name, address, group, ports, directs) with key k. A repeated call changes nothing; a call with the same
 * name and key but another group, other ports or other directs changes these. CMX_EEXIST: the key, name, address or
 * (small deployment) port belongs to another device, or the key was revoked. */
CMX_MUST_USE cmx_err gw_device_enroll(struct gw_registry *r, struct gw_device *d, const struct gw_key *k,
                                      unsigned given, gw_outcome *out, struct cmx_why *e);

/* Reads a device. CMX_ENOENT: there is no such device. */
CMX_MUST_USE cmx_err gw_device_get(struct gw_registry *r, const char *name, struct gw_device *d, struct cmx_why *e);

/* Checks that the group has a device, which may be revoked. CMX_ENOENT: it has none. */
CMX_MUST_USE cmx_err gw_device_check_group(struct gw_registry *r, const char *group, struct cmx_why *e);

/* Calls fn for each device, including revoked ones, in the order of their names. If fn returns an error, stops and
 * returns it. group: only devices of this group; NULL: all. */
typedef cmx_err (*gw_device_fn)(void *arg, const struct gw_device *d);
CMX_MUST_USE cmx_err gw_device_each(struct gw_registry *r, const char *group, gw_device_fn fn, void *arg,
                                    struct cmx_why *e);

#define GW_DIRECTS_TO_MAX (5 * (GW_NAME_MAX + 1))

/* Revokes a device: after commit, its key can never log in again. Revoking it twice changes nothing. */
CMX_MUST_USE cmx_err gw_device_revoke(struct gw_registry *r, const char *name, gw_outcome *out, struct cmx_why *e);
/* Removes a revoked device. Other devices may then use its name and address, but its keys are still refused,
 * including the attestation key. CMX_EINVAL: the device is active. If the last device with this name was deleted,
 * changes nothing; so a command that was killed can be repeated. */
CMX_MUST_USE cmx_err gw_device_delete(struct gw_registry *r, const char *name, gw_outcome *out, struct cmx_why *e);
/* Changes nothing if the last device with this name was renamed to `to`. */
CMX_MUST_USE cmx_err gw_device_rename(struct gw_registry *r, const char *name, const char *to, gw_outcome *out,
                                      struct cmx_why *e);
/* Writes the names of active devices that have a direct service at this host, at most five, separated by ", ". */
CMX_MUST_USE cmx_err gw_device_directs_to(struct gw_registry *r, const char *host, char out[GW_DIRECTS_TO_MAX],
                                          struct cmx_why *e);
/* Replaces the device's key. The address does not change, because consumers use it. The old key can never log in
 * again. */
CMX_MUST_USE cmx_err gw_device_rotate(struct gw_registry *r, const char *name, const struct gw_key *k, gw_outcome *out,
                                      struct cmx_why *e);

/* SQL expression: the fingerprint that table tombstone stores for an attestation key. It is the ueid in the key's line,
 * which identifies the hardware. */
#define GW_UEID_OF(line) "'ueid:' || substr(" line ", 18, 44)" /* after "cmxsafe-attest-1 "; 33 bytes in base64 */
/* From now on, the device's attestation key is refused for all devices, unless it is `keep`. */
CMX_MUST_USE cmx_err gw_device_retire_attest_key(struct gw_registry *r, const char *name, const char *keep,
                                                 struct cmx_why *e);

/* Writes the device's key as a line "type base64", for export. CMX_ENOENT: it has none. */
CMX_MUST_USE cmx_err gw_device_key_line(struct gw_registry *r, const struct gw_device *d, char *out, size_t cap,
                                        struct cmx_why *e);

/* Checks whether k can be enrolled. CMX_EEXIST: k is or was the key of a device or platform, or is the key of a CA. */
CMX_MUST_USE cmx_err gw_device_key_is_free(struct gw_registry *r, const struct gw_key *k, struct cmx_why *e);

/* Looks for a key that was revoked or replaced, including the keys of deleted devices. CMX_OK: the key is such a key.
 * CMX_ENOENT: it is not. */
CMX_MUST_USE cmx_err gw_device_find_retired_key(struct gw_registry *r, const char *fingerprint, struct cmx_why *e);

/* Finds the device that a client's request names: by its address, or by its name with or without a domain. CMX_ENOENT:
 * there is no such device. */
CMX_MUST_USE cmx_err gw_device_find_host(struct gw_registry *r, const char *host, struct gw_device *d);
/* Finds the name of the active device that has this address. CMX_ENOENT: no device has it. */
CMX_MUST_USE cmx_err gw_device_name_at(struct gw_registry *r, const char *address, char name[GW_NAME_MAX]);

/* True if the device with this address is quarantined (evidence_policy.h), or if the registry can't be read. */
bool gw_device_is_quarantined(struct gw_registry *r, const char *address);

#define GW_ATTESTATION_VERDICT_MAX 64
#define GW_ATTESTATION_DETAIL_MAX 512
#define GW_CLAIMS_MAX 3400

/* Stores a verdict. detail: the reason for the verdict, one line. claims: see struct gw_attestation; "": none. */
CMX_MUST_USE cmx_err gw_attestation_set(struct gw_registry *r, int64_t device, const char *verdict, const char *detail,
                                        const char *claims, struct cmx_why *e);
/* The last attestation. at: Unix time; 0: the device was never attested. detail: the reason for the verdict, as
 * 'cmxsafe attest' printed it. */
struct gw_attestation {
    int64_t at;
    char verdict[GW_ATTESTATION_VERDICT_MAX];
    char detail[GW_ATTESTATION_DETAIL_MAX];
    char claims[GW_CLAIMS_MAX]; /* one claim of the evidence in each line: RESULT NAME FOUND, where RESULT is ok, failed
                                   or skipped */
};
void gw_attestation_get(struct gw_registry *r, int64_t device, struct gw_attestation *out);
