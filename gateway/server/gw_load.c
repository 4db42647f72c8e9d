#include "gateway/server/gw_load.h"

#include <nftables/libnftables.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Returns the file's text; free it with cmx_mem_free. NULL: the file is empty or can't be read. */
static char *text_of(int fd)
{
    struct stat st;
    char *text = fstat(fd, &st) == 0 && st.st_size ? cmx_mem_alloc((size_t)st.st_size + 1) : NULL;

    if (text && pread(fd, text, (size_t)st.st_size, 0) == st.st_size) {
        text[st.st_size] = '\0';
        return text;
    }
    cmx_mem_free(text);
    return NULL;
}

/* Writes the output of a command that lists a set to the file; nothing if there is no such set or it is empty. */
static void write_set(struct nft_ctx *nft, const char *command, int fd)
{
    const char *listing = nft_run_cmd_from_buffer(nft, command) == 0 ? nft_ctx_get_output_buffer(nft) : "";

    if (gw_denied_begin(listing))
        (void)!cmx_file_write_all(fd, listing, strlen(listing)); /* a failure loses the set's elements */
}

/* Starts a child in the namespaces that `inside` and `ns` name (see load). Returns as fork(2). */
static pid_t start_child(const struct gw *g, bool inside, int ns)
{
    pid_t pid;

    fflush(NULL);
    pid = cmx_child_fork();
    if (pid != 0)
        return pid;
    if ((inside && !gw_inside_enter(g, -1, -1)) || (ns >= 0 && setns(ns, CLONE_NEWNET) != 0))
        _exit(GW_COULD_NOT);
    hide_name_services();
    return 0;
}

/* Runs in the child. The files receive the listings of the sets. */
_Noreturn static void replace_rules(const char *path, int denied, int operators)
{
    struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);

    if (nft && nft_ctx_buffer_output(nft) == 0 && nft_ctx_buffer_error(nft) == 0) {
        write_set(nft, "list set inet " GW_NFT_TABLE " operators", operators);
        write_set(nft, GW_REFUSALS_LIST, denied);
    }
    execlp("nft", "nft", "-f", path, (char *)NULL);
    _exit(GW_COULD_NOT);
}

/* Runs in the child. Adds the listed elements to `operators`; they keep their expiration times. */
_Noreturn static void add_operators(const char *listing)
{
    static const char add[] = "add element inet " GW_NFT_TABLE " operators";
    const char *elements = gw_denied_begin(listing);
    size_t size = sizeof add + strlen(listing);
    char *command = cmx_mem_alloc(size);
    struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);

    if (!command || !nft)
        _exit(EXIT_FAILURE);
    snprintf(command, size, "%s {%.*s}", add, (int)strcspn(elements, "}"), elements);
    _exit(nft_run_cmd_from_buffer(nft, command) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* inside: load in the running gateway's namespaces. ns: as for gw_load_rules. */
static int load(const struct gw *g, bool inside, int ns, const char *path)
{
    int fd[] = {memfd_create("denied", MFD_CLOEXEC), memfd_create("operators", MFD_CLOEXEC)};
    char *denied = NULL;
    char *operators = NULL;
    int status;
    pid_t pid = start_child(g, inside, ns);

    if (pid == 0)
        replace_rules(path, fd[0], fd[1]);
    status = cmx_child_wait(pid);
    if (status == 0) {
        denied = text_of(fd[0]);
        operators = text_of(fd[1]);
    }
    /* Until the second child has ended, packets of operators' connections are dropped, and TCP sends them again. */
    if (operators) {
        pid = start_child(g, inside, ns);
        if (pid == 0)
            add_operators(operators);
        (void)cmx_child_wait(pid);
    }
    if (denied)
        gw_refusals_tell(g, denied);
    cmx_mem_free(denied);
    cmx_mem_free(operators);
    for (size_t i = 0; i < GW_COUNT(fd); i++)
        if (fd[i] >= 0)
            close(fd[i]);
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
