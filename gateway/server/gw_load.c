#include "gateway/server/gw_load.h"

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "gateway/server/gw_inside.h"
#include "port/linux/child.h"

/* Mounts an empty file over nsswitch.conf, so that the C library's default is in force: only files. If this fails, nft
 * asks the name services. */
static void hide_name_services(void)
{
    if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == 0)
        (void)!mount("/dev/null", "/etc/nsswitch.conf", NULL, MS_BIND, NULL);
}

static int load(const struct gw *inside, int ns, const char *path)
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = cmx_child_fork();
    if (pid == 0) {
        if ((inside && !gw_inside_enter(inside, -1, -1)) || (ns >= 0 && setns(ns, CLONE_NEWNET) != 0))
            _exit(GW_COULD_NOT);
        hide_name_services();
        execlp("nft", "nft", "-f", path, (char *)NULL);
        _exit(GW_COULD_NOT);
    }
    status = cmx_child_wait(pid);
    return status < 0 ? GW_COULD_NOT : status;
}

bool gw_load_rules(const char *path, int ns)
{
    return load(NULL, ns, path) == 0;
}

int gw_load_inside(const struct gw *g, const char *path)
{
    return load(g, -1, path);
}
