#include "nft.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"

struct nft {
    struct nft_ctx *ctx;
    struct cmx_mutex lock;
};

cmx_err nft_open(struct nft **out)
{
    struct nft *n = cmx_mem_alloc(sizeof *n);

    *out = NULL;
    if (!n)
        return CMX_ENOMEM;
    n->ctx = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!n->ctx || nft_ctx_buffer_error(n->ctx) || nft_ctx_buffer_output(n->ctx) ||
        cmx_port_mutex_init(&n->lock) != CMX_OK) {
        if (n->ctx)
            nft_ctx_free(n->ctx);
        cmx_mem_free(n);
        return CMX_ENOMEM;
    }
    *out = n;
    return CMX_OK;
}

void nft_close(struct nft *n)
{
    if (!n)
        return;
    nft_ctx_free(n->ctx);
    cmx_port_mutex_destroy(&n->lock);
    cmx_mem_free(n);
}

/* The first line of libnftables' complaint, without its place in our text. */
static void first_line(const char *said, char *why, size_t cap)
{
    const char *start = strstr(said, "Error: ");

    start = start ? start + 7 : said;
    snprintf(why, cap, "%.*s", (int)strcspn(start, "\n"), start);
}

cmx_err nft_run(struct nft *n, const char *text, bool dry, char *why, size_t cap)
{
    cmx_err err = CMX_OK;

    cmx_port_mutex_lock(&n->lock);
    nft_ctx_set_dry_run(n->ctx, dry);
    errno = 0;
    if (nft_run_cmd_from_buffer(n->ctx, text) != 0) {
        const char *said = nft_ctx_get_error_buffer(n->ctx);

        first_line(said ? said : "", why, cap);
        err = strstr(why, "Operation not permitted") ? CMX_EPERM : CMX_EINVAL;
    }
    nft_ctx_set_dry_run(n->ctx, false);
    cmx_port_mutex_unlock(&n->lock);
    return err;
}

/* One at a time: libnftables 1.0.6 looks up only one table of several listings in a buffer, and fails with the others.
 */
static cmx_err list_one(struct nft *n, const char *command, struct cmx_buf *out)
{
    const char *said;
    int rc = nft_run_cmd_from_buffer(n->ctx, command);

    (void)nft_ctx_get_error_buffer(n->ctx); /* "No such file or directory" is an answer here */
    if (rc != 0)
        return CMX_ENOENT;
    said = nft_ctx_get_output_buffer(n->ctx);
    return cmx_buf_put_str(out, said ? said : "");
}

cmx_err nft_list(struct nft *n, const char *commands, struct cmx_buf *out)
{
    cmx_err err = CMX_OK;

    cmx_port_mutex_lock(&n->lock);
    while (*commands && !err) {
        size_t len = strcspn(commands, "\n");
        char line[80];

        snprintf(line, sizeof line, "%.*s", (int)len, commands);
        err = list_one(n, line, out);
        commands += len + (commands[len] == '\n');
    }
    cmx_port_mutex_unlock(&n->lock);
    return err;
}
