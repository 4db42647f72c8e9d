/* nft_guard.h - installs the ruleset, makes the agent's own changes to it, and notices changes that any other program
 * makes to it.
 *
 * Two mechanisms detect changes. A netlink monitor (group NFNLGRP_NFTABLES) reports every transaction, including those
 * that change only set elements. If the kernel's generation number shows transactions other than our own, the rules are
 * listed and compared with the listing taken after installation. Changes that packets make to set elements are not
 * transactions, so they are not reported. Any thread, but one call at a time: the caller locks. */
#pragma once

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/why.h"

#define NFT_PROGRAM_MAX 16 /* a process name, NUL included (NFTA_GEN_PROC_NAME) */

struct nft_guard;

/* Loads libnftables and joins the monitor. Call this before the agent confines itself. why: one sentence. CMX_ENOTSUP:
 * the library is missing; CMX_EPERM: the process lacks CAP_NET_ADMIN; CMX_EIO: netlink failed; CMX_ENOMEM. */
CMX_MUST_USE cmx_err nft_guard_open(struct nft_guard **out, struct cmx_why *why);
void nft_guard_close(struct nft_guard *g); /* g may be NULL */

/* Returns a descriptor that is readable when another program may have changed something: call nft_guard_check. */
int nft_guard_fd(const struct nft_guard *g);

/* Installs a ruleset; nft_guard_check then reports any change that another program makes to it. Errors as for nft_run;
 * CMX_EBUSY: other programs keep changing the same tables. On error an earlier ruleset may or may not be in
 * force. */
CMX_MUST_USE cmx_err nft_guard_install(struct nft_guard *g, const char *text, struct cmx_why *why);

/* Applies one of the agent's own changes, which must affect only set elements. Errors as for nft_run. */
CMX_MUST_USE cmx_err nft_guard_change(struct nft_guard *g, const char *text, struct cmx_why *why);

/* Checks the rules. CMX_OK: the installed rules are in force. CMX_EPERM: another program, named in who if the kernel
 * reported it, changed or removed them; the result stays CMX_EPERM until the next install. */
CMX_MUST_USE cmx_err nft_guard_check(struct nft_guard *g, char who[NFT_PROGRAM_MAX]);

/* Lists the rules as nft_list does, with the same errors. */
CMX_MUST_USE cmx_err nft_guard_list(struct nft_guard *g, const char *commands, struct cmx_buf *out);
