#include "agent/isolation/nft_load.h"

#include <errno.h>
#include <linux/capability.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/port/port.h"
#include "port/linux/library.h"

#define FUNCTIONS(X)                                                                                                   \
    X(nft_ctx_new)                                                                                                     \
    X(nft_ctx_free)                                                                                                    \
    X(nft_ctx_buffer_error)                                                                                            \
    X(nft_ctx_buffer_output)                                                                                           \
    X(nft_ctx_set_dry_run)                                                                                             \
    X(nft_ctx_output_set_flags)                                                                                        \
    X(nft_run_cmd_from_buffer)                                                                                         \
    X(nft_ctx_get_error_buffer)                                                                                        \
    X(nft_ctx_get_output_buffer)

CMX_LIBRARY(library, lib, NFTABLES, FUNCTIONS);

struct nft {
    struct nft_ctx *ctx;
    bool permitted;
    struct cmx_mutex lock;
};

/* True if the process has CAP_NET_ADMIN. Reads the capability instead of trying a command, because libnftables writes
 * to standard error, not to its error buffer, when the kernel refuses its first request. */
static bool is_permitted(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};

    return syscall(SYS_capget, &head, sets) == 0 && (sets[0].effective & (1u << CAP_NET_ADMIN));
}

cmx_err nft_open(struct nft **out, struct cmx_why *why)
{
    struct nft *n;
    cmx_err err = cmx_library_load(&library, "isolation", why);

    *out = NULL;
    if (err)
        return err;
    n = cmx_mem_alloc(sizeof *n);
    if (!n)
        return CMX_ENOMEM;
    n->ctx = lib.nft_ctx_new(NFT_CTX_DEFAULT);
    if (!n->ctx || lib.nft_ctx_buffer_error(n->ctx) || lib.nft_ctx_buffer_output(n->ctx)) {
        if (n->ctx)
            lib.nft_ctx_free(n->ctx);
        cmx_mem_free(n);
        return CMX_ENOMEM;
    }
    cmx_port_mutex_init(&n->lock);
    n->permitted = is_permitted();
    *out = n;
    return CMX_OK;
}

bool nft_permitted(const struct nft *n)
{
    return n->permitted;
}

void nft_close(struct nft *n)
{
    if (!n)
        return;
    lib.nft_ctx_free(n->ctx);
    cmx_port_mutex_destroy(&n->lock);
    cmx_mem_free(n);
}

/* Copies the first line of libnftables' error message to why, without the position that precedes it. */
static void first_line(const char *said, struct cmx_why *why)
{
    const char *start = strstr(said, "Error: ");

    start = start ? start + 7 : said;
    cmx_why_set(why, "%.*s", (int)strcspn(start, "\n"), start);
}

cmx_err nft_run(struct nft *n, const char *text, bool dry, struct cmx_why *why)
{
    cmx_err err = CMX_OK;

    if (!n->permitted)
        return CMX_EPERM;
    cmx_port_mutex_lock(&n->lock);
    lib.nft_ctx_set_dry_run(n->ctx, dry);
    errno = 0;
    if (lib.nft_run_cmd_from_buffer(n->ctx, text) != 0) {
        const char *said = lib.nft_ctx_get_error_buffer(n->ctx);

        said = said ? said : "";
        first_line(said, why);
        err = strstr(said, "Operation not permitted") ? CMX_EPERM : CMX_EINVAL;
    }
    lib.nft_ctx_set_dry_run(n->ctx, false);
    cmx_port_mutex_unlock(&n->lock);
    return err;
}

/* Runs one listing command. If one buffer contains several commands, libnftables 1.0.6 looks up only one table and
 * fails for the others. */
static cmx_err list_one(struct nft *n, const char *command, struct cmx_buf *out)
{
    const char *said;
    int rc = lib.nft_run_cmd_from_buffer(n->ctx, command);

    (void)lib.nft_ctx_get_error_buffer(n->ctx); /* drops "No such file or directory", which is an expected answer */
    if (rc != 0)
        return CMX_ENOENT;
    said = lib.nft_ctx_get_output_buffer(n->ctx);
    return cmx_buf_put_str(out, said ? said : "");
}

static cmx_err list_all(struct nft *n, const char *commands, unsigned flags, struct cmx_buf *out)
{
    cmx_err err = CMX_OK;

    if (!n->permitted)
        return CMX_EPERM;
    cmx_port_mutex_lock(&n->lock);
    lib.nft_ctx_output_set_flags(n->ctx, flags);
    while (*commands && !err) {
        size_t len = strcspn(commands, "\n");
        char line[80];

        snprintf(line, sizeof line, "%.*s", (int)len, commands);
        err = list_one(n, line, out);
        commands += len + (commands[len] == '\n');
    }
    lib.nft_ctx_output_set_flags(n->ctx, 0);
    cmx_port_mutex_unlock(&n->lock);
    return err;
}

cmx_err nft_list(struct nft *n, const char *commands, struct cmx_buf *out)
{
    return list_all(n, commands, 0, out);
}

cmx_err nft_list_rules(struct nft *n, const char *commands, struct cmx_buf *out)
{
    return list_all(n, commands, NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_TERSE, out);
}
