/* device.h - enrolment: which device has which key, address and ports. All writers run inside the caller's transaction
 * (gw_registry_begin), so that a command is all or nothing. */
#ifndef GW_DEVICE_H
#define GW_DEVICE_H

#include "gateway/registry/address.h"
#include "gateway/registry/registry.h"
#include "gateway/registry/sshkey.h"

#define GW_NAME_MAX 64  /* a DNS label (RFC 1035 section 2.3.1), NUL included */
#define GW_PORTS_MAX 32 /* as many as a device has contexts */
#define GW_DIRECTS_MAX 16
#define GW_HOST_MAX 128

struct gw_direct {
    char host[GW_HOST_MAX];
    uint16_t port;
};

struct gw_device {
    int64_t id;
    char name[GW_NAME_MAX];
    char address[GW_ADDRESS_MAX]; /* "" in a small deployment */
    char team[GW_NAME_MAX];       /* rollout group; "" none */
    char fingerprint[GW_FINGERPRINT_MAX];
    char key_type[GW_KEY_TYPE_MAX];
    uint16_t ports[GW_PORTS_MAX];
    size_t n_ports;
    struct gw_direct directs[GW_DIRECTS_MAX];
    size_t n_directs;
    int64_t enrolled; /* Unix time */
    int64_t revoked;  /* Unix time; 0: active */
};

/* Lower-case letters, digits, '-' inside, at most 63: it becomes a host name. */
CMX_MUST_USE cmx_err gw_name_check(const char *name, struct gw_error *e);

/* "81,8989,8888" and "db.example:5432,[fd00::1]:80"; empty text is an empty list. */
CMX_MUST_USE cmx_err gw_ports_parse(struct gw_device *d, const char *text, struct gw_error *e);
CMX_MUST_USE cmx_err gw_directs_parse(struct gw_device *d, const char *text, struct gw_error *e);

typedef enum { GW_UNCHANGED, GW_ADDED, GW_CHANGED } gw_outcome;

/* Enrols d (name, address, team, ports, directs) with key k. The same again changes nothing; the same name and key with
 * other ports changes them. CMX_EEXIST: the key, name, address or (small deployment) port is another's, or the key was
 * revoked. */
CMX_MUST_USE cmx_err gw_device_enroll(struct gw_registry *r, struct gw_device *d, const struct gw_key *k,
                                      gw_outcome *out, struct gw_error *e);

/* CMX_ENOENT. */
CMX_MUST_USE cmx_err gw_device_get(struct gw_registry *r, const char *name, struct gw_device *d, struct gw_error *e);

/* Calls fn for each device by name, revoked ones too; stops at its first error and returns it. team NULL or "": all. */
typedef cmx_err (*gw_device_fn)(void *arg, const struct gw_device *d);
CMX_MUST_USE cmx_err gw_device_each(struct gw_registry *r, const char *team, gw_device_fn fn, void *arg,
                                    struct gw_error *e);

/* Its key gets nobody in from the commit on, and never again. Revoking twice changes nothing. */
CMX_MUST_USE cmx_err gw_device_revoke(struct gw_registry *r, const char *name, gw_outcome *out, struct gw_error *e);
CMX_MUST_USE cmx_err gw_device_rename(struct gw_registry *r, const char *name, const char *to, struct gw_error *e);
/* The new key takes over; the address stays (consumers know it); the old key is retired for good. */
CMX_MUST_USE cmx_err gw_device_rotate(struct gw_registry *r, const char *name, const struct gw_key *k, gw_outcome *out,
                                      struct gw_error *e);

/* The key's line, "type base64", for export. */
CMX_MUST_USE cmx_err gw_device_key_line(struct gw_registry *r, int64_t device, char *out, size_t cap,
                                        struct gw_error *e);

/* Retires nothing, checks everything: may k be given to someone new? */
CMX_MUST_USE cmx_err gw_key_is_free(struct gw_registry *r, const struct gw_key *k, struct gw_error *e);

CMX_MUST_USE cmx_err gw_attestation_set(struct gw_registry *r, int64_t device, const char *verdict, const char *detail,
                                        struct gw_error *e);
/* at 0: never attested. */
void gw_attestation_get(struct gw_registry *r, int64_t device, int64_t *at, char *verdict, size_t cap);

#endif
