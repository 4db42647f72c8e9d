/* gw_journal.h - stores the latest logins, session ends and refusals in memory, at most GW_JOURNAL_MAX entries.
 * 'cmxsafe gateway worker' reads them, stores them in the registry and attests devices. */
#pragma once

#include "cmxsafe/core/json.h"
#include "gateway/registry/device_fields.h"

#define GW_JOURNAL_MAX 2048
#define GW_JOURNAL_FROM_MAX 96 /* a source or "HOST PORT", NUL included */

typedef enum {
    GW_JOURNAL_UP,       /* a login */
    GW_JOURNAL_DOWN,     /* the end of a session */
    GW_JOURNAL_CONFLICT, /* two live sessions of one key request the same port */
    GW_JOURNAL_REFUSED,  /* no grant permits this connection. name: the platform or identity that tried; from: the
                            target, "HOST PORT" */
} gw_journal_kind;

struct gw_journal_entry {
    /* Name of a device or platform. In an entry GW_JOURNAL_REFUSED, it may be an identity instead. */
    char name[GW_NAME_MAX];
    char from[GW_JOURNAL_FROM_MAX];
    char client[GW_CLIENT_MAX]; /* GW_JOURNAL_UP: the peer's SSH software */
    int64_t at;                 /* Unix time */
    gw_journal_kind kind;
};

struct gw_journal {
    struct gw_journal_entry entries[GW_JOURNAL_MAX];
    uint64_t base; /* number of the first entry */
    uint64_t next; /* number of the next entry; the latest GW_JOURNAL_MAX entries are stored */
};

/* Returns a number higher than every number that earlier gateway processes have given to entries or changes of claims
 * since the machine was booted. A reader that sends a number of an earlier process then gets everything from this
 * process. */
uint64_t gw_journal_first_number(void);
/* Call this first. The first entry gets the number that gw_journal_first_number returns now. */
void gw_journal_begin(struct gw_journal *j);
void gw_journal_add(struct gw_journal *j, gw_journal_kind kind, const char *name, const char *from);
/* Adds an entry GW_JOURNAL_UP. */
void gw_journal_add_login(struct gw_journal *j, const char *name, const char *from, const char *client);
/* Adds an entry GW_JOURNAL_REFUSED: `who` tried to reach this port of the device at host without a grant. */
void gw_journal_add_refusal(struct gw_journal *j, const char *who, const char *host, unsigned port);
/* Adds the members "next", "lost" and "events" to the JSON object that is being written. events: the stored entries
 * whose number is at least `from`; 0: all. lost: how many such entries were overwritten. If `from` is a number of
 * another gateway process, events has all stored entries, and lost is 1. */
void gw_journal_json(struct cmx_json *out, const struct gw_journal *j, uint64_t from);
