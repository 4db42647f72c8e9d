/* party.h - the identities (IPv6 addresses) of the parties of a fleet. A party is a device, a platform, a local user,
 * group or unit, or the gateway itself. A device's identity is stored in the registry. A platform's identity is derived
 * from its first key, and the identity of a local user, group or unit from its name. The gateway has an identity for
 * its own connections. Reads the registry and the machine's user database; writes nothing. */
#pragma once

#include "gateway/registry/grant.h"

/* A party: kind is "device", "platform", "user", "group", "cgroup" or "gateway". */
struct gw_party {
    char kind[GW_KIND_MAX];
    char name[GW_CONSUMER_MAX];
    char address[GW_ADDRESS_MAX];
    bool revoked;
};

/* Returns the uid or gid of the local user or group that c names, by name or by number. -1: c is neither a user nor a
 * group, or it is a name that this machine does not have. */
long gw_party_local_id(const struct gw_consumer *c);

/* False if c is the name of a user or group that this machine does not have. */
bool gw_party_is_known(const struct gw_consumer *c);

/* Calls fn for each other consumer in the registry that is the same local user or group as c: a grant can refer
 * to it by any of its names, or by its number. If fn returns an error, stops and returns it. */
typedef cmx_err (*gw_spelling_fn)(void *arg, const struct gw_consumer *c);
CMX_MUST_USE cmx_err gw_party_each_spelling(struct gw_registry *r, const struct gw_consumer *c, gw_spelling_fn fn,
                                            void *arg, struct cmx_why *e);

/* Writes the identity of a consumer. All names of a uid, and the uid, give the same identity. The same is true for a
 * gid. CMX_ENOENT: c is a platform that was never registered, or whose key is malformed. */
CMX_MUST_USE cmx_err gw_party_identity(struct gw_registry *r, const struct gw_fleet *f, const struct gw_consumer *c,
                                       char out[GW_ADDRESS_MAX], struct cmx_why *e);
/* Computes the identity of a local user. name: the first name of its uid in the user database. */
CMX_MUST_USE cmx_err gw_party_user_identity(const struct gw_fleet *f, const char *name, char out[GW_ADDRESS_MAX],
                                            struct cmx_why *e);
/* Writes the identity of the gateway's own connections (takeover probes). */
CMX_MUST_USE cmx_err gw_party_gateway_identity(const struct gw_fleet *f, char out[GW_ADDRESS_MAX], struct cmx_why *e);
/* True if a device has this address, or if the registry can't be read. Commands refuse a device or a grant that would
 * give two parties the same address, but the members of a group can change at any time, and other gateways of the fleet
 * have other users. So rules give no consumer the address of a device. */
bool gw_party_is_device(struct gw_registry *r, const char *address);
/* Finds the name, address and (for a device) ports of the party with this key. CMX_ENOENT: no party has it. */
CMX_MUST_USE cmx_err gw_party_of_key(struct gw_registry *r, const struct gw_fleet *f, const char *fingerprint,
                                     struct gw_device *out, struct cmx_why *e);

/* Empties the cache of local users, whose entries are otherwise valid for half a minute. gw_apply calls this before it
 * writes rules. */
void gw_party_forget_users(void);

/* Calls fn for every party in the registry, and for the gateway. If fn returns an error, stops and returns it. Leaves
 * out parties without an identity: devices without an address (small deployment), and platforms whose key is missing
 * or malformed. */
typedef cmx_err (*gw_party_fn)(void *arg, const struct gw_party *p);
CMX_MUST_USE cmx_err gw_party_each(struct gw_registry *r, const struct gw_fleet *f, gw_party_fn fn, void *arg,
                                   struct cmx_why *e);

/* Finds a party by address, by "KIND:NAME", or by the name of a party in the registry or of a local user. CMX_ENOENT:
 * there is none. */
CMX_MUST_USE cmx_err gw_party_find(struct gw_registry *r, const struct gw_fleet *f, const char *what,
                                   struct gw_party *out, struct cmx_why *e);

/* An allowed connection: the identity `source` may open connections to `port` of the identity `target`. uid: on the
 * host, this local user's sockets get the identity `source`; -1: the source is not a local user. gid: the same for a
 * local group. cgroup: the source unit's cgroup; "": the source is not a unit. unit: the unit's number in the registry,
 * which never changes; 0: the source is not a unit. by_number: a grant names the user by number. */
struct gw_allowed {
    char source[GW_ADDRESS_MAX];
    char target[GW_ADDRESS_MAX];
    uint16_t port;
    long uid;
    long gid;
    bool by_number;
    char cgroup[GW_CONSUMER_MAX];
    uint32_t unit;
    int64_t ends_in; /* seconds; 0: it never ends */
};

struct gw_allowed_list {
    struct gw_allowed *entries; /* sorted by source, target and port; no combination occurs twice */
    size_t n, cap;
};

/* Reads all connections that the registry allows. These are the connections that a grant permits, and a device's direct
 * contexts that lead to the gateway's host or to another device that is not quarantined. host_link: the address of the
 * host's end of the link. A grant to a group counts for the group and for each of its members. If several grants allow
 * the same connection, the one that ends last counts. A consumer whose identity is the address of a device is left out.
 * A stale copy (copy_state.h) allows nothing. Free the list with gw_allowed_free, even after an error. */
CMX_MUST_USE cmx_err gw_allowed_read(struct gw_registry *r, const struct gw_fleet *f, const char *domain,
                                     const char *host_link, struct gw_allowed_list *out, struct cmx_why *e);
void gw_allowed_free(struct gw_allowed_list *l);
