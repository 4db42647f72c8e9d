/* gw_table.h - one of the gateway's tables in the packet filter, compared with the file that defines it. Not
 * thread-safe. */
#pragma once

#include <nftables/libnftables.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/folder/gw_folder.h"

struct gw_table {
    const char *name;    /* the table is "inet NAME" */
    const char *file;    /* the file in the gateway's folder that defines the table */
    struct nft_ctx *nft; /* works in the network namespace in which the table was opened */
    int netlink;         /* socket that reads the generation number of the rules */
    uint32_t generation; /* generation number of the rules when the table last matched `reference` */
    char *reference;     /* the listing of the table that `file` defines; NULL: none yet */
    char *found;         /* the listing that gw_table_keep_found stored; NULL: there was no table */
};

/* Returns an nft context of the current network namespace, with buffered output and NFT_CTX_OUTPUT_STATELESS; free it
 * with nft_ctx_free. NULL: failed. */
struct nft_ctx *gw_table_context(void);
/* Opens a table, which need not exist, of the current network namespace. False: failed. Call gw_table_close in either
 * case. */
bool gw_table_open(struct gw_table *t, const char *name, const char *file);
/* Does nothing if t is zeroed. */
void gw_table_close(struct gw_table *t);

/* Stores in t->found how the kernel lists the table now. */
void gw_table_keep_found(struct gw_table *t);
/* Stores in t->reference how the kernel lists the table that t->file defines. For that it loads the file in ns, a
 * network namespace in which no other program changes rules; scratch is a context of ns. False: the file can't be
 * loaded. */
bool gw_table_take_reference(struct gw_table *t, const struct gw *g, struct nft_ctx *scratch, int ns);
/* True if the kernel's table matches t->reference. Times and the elements that the kernel itself adds do not count. */
bool gw_table_matches(struct gw_table *t);
/* True if no rules of this network namespace have changed since gw_table_matches last returned true. */
bool gw_table_is_unchanged(const struct gw_table *t);
/* Call this after this process itself has changed the rules of this network namespace in n transactions. If no other
 * program has changed them, the table counts as unchanged. */
void gw_table_changed_here(struct gw_table *t, uint32_t n);
