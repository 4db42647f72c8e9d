/* gw_pending.h - keys that tried to log in and that nobody enrolled, so that an operator can enrol them. In memory
 * alone, of fixed size; one source can fill only a few places. Who offers a key has not proved that it has the private
 * half. */
#ifndef GW_PENDING_H
#define GW_PENDING_H

#include "cmxsafe/core/json.h"
#include "gateway/registry/sshkey.h"

#define GW_PENDING_MAX 128
#define GW_PENDING_PER_SOURCE 4 /* a source that brings more replaces its own oldest */

struct gw_pending_key {
    char fingerprint[GW_FINGERPRINT_MAX]; /* "": free */
    char line[GW_KEY_TYPE_MAX + GW_KEY_BLOB_MAX];
    char from[64];      /* of the last try */
    uint8_t source[16]; /* of the first try: whose place it takes */
    int64_t first;      /* Unix time */
    int64_t last;
    uint64_t order; /* of the last try */
    uint64_t tries;
};

struct gw_pending {
    struct gw_pending_key keys[GW_PENDING_MAX];
    uint64_t order;
    uint64_t dropped; /* keys that made room for others */
};

/* text: "TYPE BASE64", which must be a key that can be enrolled. With all places taken, the key that has been silent
 * for the longest time makes room. */
void gw_pending_note(struct gw_pending *p, const char *text, const char *from, const uint8_t source[16], int64_t now);
void gw_pending_forget(struct gw_pending *p, const char *fingerprint);
/* Adds the members "pending", the latest key first, and "dropped" to the object that is open. */
void gw_pending_json(struct cmx_json *j, const struct gw_pending *p);

#endif
