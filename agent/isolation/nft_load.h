/* nft_load.h - loads rulesets into the kernel through libnftables, in the network namespace of the process. Each call
 * to nft_run is one transaction, whatever the text contains. Any thread: a lock serialises the calls. */
#pragma once

#include <stdbool.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/why.h"

struct nft;

/* Loads libnftables. CMX_ENOTSUP: the library is missing; why names its package. CMX_ENOMEM. */
CMX_MUST_USE cmx_err nft_open(struct nft **out, struct cmx_why *why);
void nft_close(struct nft *n); /* n may be NULL */

/* True if the process had CAP_NET_ADMIN at nft_open. Without it the calls below return CMX_EPERM. */
bool nft_permitted(const struct nft *n);

/* Loads all of the text or nothing. dry: only checks it. why: the first line of libnftables' error message. CMX_EPERM:
 * the process lacks CAP_NET_ADMIN; CMX_EINVAL: libnftables or the kernel refused the text.
 */
CMX_MUST_USE cmx_err nft_run(struct nft *n, const char *text, bool dry, struct cmx_why *why);

/* Appends the output of listing commands, one command per line, each under 80 bytes. CMX_ENOENT: no such table;
 * CMX_EPERM: as for nft_run; CMX_ENOSPC: out is too small. */
CMX_MUST_USE cmx_err nft_list(struct nft *n, const char *commands, struct cmx_buf *out);

/* Like nft_list, but omits the elements of named sets and the values of counters, so that only a transaction changes
 * the output. */
CMX_MUST_USE cmx_err nft_list_rules(struct nft *n, const char *commands, struct cmx_buf *out);
