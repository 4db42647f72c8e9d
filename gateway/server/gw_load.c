#include "gateway/server/gw_load.h"

#include <nftables/libnftables.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "gateway/server/gw_denied.h"
#include "gateway/server/gw_inside.h"
#include "gateway/server/gw_refusals.h"
#include "port/linux/child.h"
#include "port/linux/new_file.h"

/* Mounts an empty file over nsswitch.conf, so that the C library's default is in force: only files. If this fails, nft
 * asks the name services. */
static void hide_name_services(void)
{
    if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0)
        (void)!mount("/dev/null", "/etc/nsswitch.conf", NULL, MS_BIND, NULL);
}

/* fd: contains the listing of the refused connections. */
static void tell_refusals(const struct gw *g, int fd)
{
    struct stat st;
    char *listing;

    if (fstat(fd, &st) != 0 || st.st_size == 0)
        return;
    listing = cmx_mem_alloc((size_t)st.st_size + 1);
    if (listing && pread(fd, listing, (size_t)st.st_size, 0) == st.st_size) {
        listing[st.st_size] = '\0';
        gw_refusals_tell(g, listing);
    }
    cmx_mem_free(listing);
}

/* Returns the output of a command that lists a set; "": there is no such set. Valid until the next command. */
static const char *list(struct nft_ctx *nft, const char *command)
{
    return nft_run_cmd_from_buffer(nft, command) == 0 ? nft_ctx_get_output_buffer(nft) : "";
}

/* Returns the nft command that adds the elements in the listing of `operators`, which keep their expiration times; free
 * it with cmx_mem_free. NULL: there are no elements. */
static char *adding_operators(const char *listing)
{
    static const char add[] = "add element inet " GW_NFT_TABLE " operators";
    const char *elements = gw_denied_begin(listing);
    size_t size = sizeof add + strlen(listing);
    char *command = elements ? cmx_mem_alloc(size) : NULL;

    if (command)
        snprintf(command, size, "%s {%.*s}", add, (int)strcspn(elements, "}"), elements);
    return command;
}

static int run_nft(const char *path)
{
    pid_t pid = cmx_child_fork();

    if (pid == 0) {
        execlp("nft", "nft", "-f", path, (char *)NULL);
        _exit(GW_COULD_NOT);
    }
    return cmx_child_wait(pid);
}

/* Runs in the child. refusals: receives the listing of `denied`. Returns as run_nft. */
static int replace_rules(const char *path, int refusals)
{
    struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
    char *operators = NULL;
    int status;

    if (nft && nft_ctx_buffer_output(nft) == 0 && nft_ctx_buffer_error(nft) == 0) {
        const char *denied = list(nft, GW_REFUSALS_LIST);
        (void)!cmx_file_write_all(refusals, denied, strlen(denied));
        operators = adding_operators(list(nft, "list set inet " GW_NFT_TABLE " operators"));
    }
    status = run_nft(path);
    /* Packets that are dropped until this command has run are sent again by TCP. */
    if (status == 0 && operators)
        (void)nft_run_cmd_from_buffer(nft, operators);
    cmx_mem_free(operators);
    if (nft)
        nft_ctx_free(nft);
    return status;
}

static int load(const struct gw *g, bool inside, int ns, const char *path)
{
    int refusals = memfd_create("refusals", MFD_CLOEXEC);
    int status;
    pid_t pid;

    fflush(NULL);
    pid = cmx_child_fork();
    if (pid == 0) {
        if ((inside && !gw_inside_enter(g, -1, -1)) || (ns >= 0 && setns(ns, CLONE_NEWNET) != 0))
            _exit(GW_COULD_NOT);
        hide_name_services();
        status = replace_rules(path, refusals);
        _exit(status < 0 ? GW_COULD_NOT : status);
    }
    status = cmx_child_wait(pid);
    if (status == 0)
        tell_refusals(g, refusals);
    if (refusals >= 0)
        close(refusals);
    return status < 0 ? GW_COULD_NOT : status;
}

bool gw_load_rules(const struct gw *g, const char *path, int ns)
{
    return load(g, false, ns, path) == 0;
}

int gw_load_inside(const struct gw *g, const char *path)
{
    return load(g, true, -1, path);
}
