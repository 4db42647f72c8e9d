/* gw_pending.h - lists keys that clients tried to log in with and that are not enrolled, so that an operator can enrol
 * them. The list is kept in memory and has a fixed size. Each source can use only a few entries. A client that offers a
 * key has not proved that it has the private key. */
#pragma once

#include "cmxsafe/core/ip.h"
#include "cmxsafe/core/json.h"
#include "gateway/registry/device_fields.h"
#include "gateway/registry/sshkey.h"

#define GW_PENDING_MAX 128
/* Maximum number of keys from one source. A further key replaces the key from this source that was tried least
 * recently. */
#define GW_PENDING_PER_SOURCE 4

struct gw_pending_key {
    char fingerprint[GW_FINGERPRINT_MAX]; /* "": the entry is free */
    char line[GW_KEY_TYPE_MAX + GW_KEY_BLOB_MAX];
    char from[GW_SOURCE_TEXT_MAX]; /* source of the last try */
    uint8_t source[CMX_IPV6_LEN];  /* source of the first try; the entry counts towards this source's quota */
    int64_t first;                 /* Unix time */
    int64_t last;
    uint64_t order; /* sequence number of the last try */
    uint64_t tries;
};

struct gw_pending {
    struct gw_pending_key keys[GW_PENDING_MAX];
    uint64_t order;
    uint64_t dropped; /* number of keys that other keys have replaced */
};

/* Adds a key, or counts one more try of a key in the list. text: "TYPE BASE64"; ignored if gw_key_parse refuses it. If
 * the list is full, replaces the key that was tried least recently. A source that has used up its quota replaces only
 * its own keys. */
void gw_pending_note(struct gw_pending *p, const char *text, const char *from, const uint8_t source[CMX_IPV6_LEN],
                     int64_t now);
void gw_pending_forget(struct gw_pending *p, const char *fingerprint);
/* Adds two members to the open JSON object: "pending", with the latest key first, and "dropped". */
void gw_pending_json(struct cmx_json *j, const struct gw_pending *p);
