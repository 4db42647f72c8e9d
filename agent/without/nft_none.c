/* nft_none.c - for a build without libnftables: isolation cannot be enabled. */
#include "agent/isolation/nft_load.h"

cmx_err nft_open(struct nft **out, struct cmx_why *why)
{
    *out = NULL;
    return cmx_why_fail(why, CMX_ENOTSUP, "isolation: this cmxsafed was built without libnftables");
}

void nft_close(struct nft *n)
{
    (void)n;
}

bool nft_permitted(const struct nft *n)
{
    (void)n;
    return false;
}

cmx_err nft_run(struct nft *n, const char *text, bool dry, struct cmx_why *why)
{
    (void)n;
    (void)text;
    (void)dry;
    (void)why;
    return CMX_ENOTSUP;
}

cmx_err nft_list(struct nft *n, const char *commands, struct cmx_buf *out)
{
    (void)n;
    (void)commands;
    (void)out;
    return CMX_ENOTSUP;
}

cmx_err nft_list_rules(struct nft *n, const char *commands, struct cmx_buf *out)
{
    return nft_list(n, commands, out);
}
