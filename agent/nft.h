/* nft.h - hands rulesets to the kernel through libnftables, in the network namespace of the process. One transaction a
 * call; knows nothing of what is in it. Any thread: a lock keeps callers apart. */
#ifndef CMX_AGENT_NFT_H
#define CMX_AGENT_NFT_H

#include <stdbool.h>

#include "cmxsafe/core/buf.h"

struct nft;

/* Loads libnftables. CMX_ENOTSUP: it is not there; why says so. CMX_ENOMEM. Whether the process has CAP_NET_ADMIN is
 * looked at here and shows at the first call. */
CMX_MUST_USE cmx_err nft_open(struct nft **out, char *why, size_t cap);
void nft_close(struct nft *n); /* NULL is fine */

/* All or nothing. dry: checks alone. why: the first line of what libnftables says. CMX_EPERM: no CAP_NET_ADMIN;
 * CMX_EINVAL: refused. */
CMX_MUST_USE cmx_err nft_run(struct nft *n, const char *text, bool dry, char *why, size_t cap);

/* Appends what listing commands print, one a line, each under 80 bytes. CMX_ENOENT: there is no such table;
 * CMX_EPERM. */
CMX_MUST_USE cmx_err nft_list(struct nft *n, const char *commands, struct cmx_buf *out);

#endif
