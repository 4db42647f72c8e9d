#include "gateway/server/gw_worker_child.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmxsafe/port/port.h"
#include "gateway/registry/copy_state.h"
#include "gateway/server/gw_note.h"
#include "port/linux/child.h"

#define RESTART_MS 2000

static const struct {
    const char *command, *without;
} programs[GW_WORKERS] = {{"worker", "devices with a policy are not attested"},
                          {"follow", "changes by other gateways are not seen"}};

_Noreturn static void exec_worker(const struct gw *g, const char *command, pid_t parent)
{
    if (cmx_child_end_with(parent, SIGTERM))
        execl("/proc/self/exe", "cmxsafe", "gateway", command, "--dir", g->dir, (char *)NULL);
    _exit(127);
}

static void watch_one(struct gw_worker_child *w, size_t i, const struct gw *g)
{
    uint64_t now = cmx_port_now_ms();
    pid_t self = getpid();

    if (w->pid[i] > 0 && waitpid(w->pid[i], NULL, WNOHANG) == w->pid[i]) {
        gw_note("'gateway %s' ended and will be restarted; until then, %s", programs[i].command, programs[i].without);
        w->pid[i] = 0;
    }
    if (w->pid[i] > 0 || (w->started_ms[i] && now - w->started_ms[i] < RESTART_MS))
        return;
    w->started_ms[i] = now;
    w->pid[i] = cmx_child_fork();
    if (w->pid[i] == 0)
        exec_worker(g, programs[i].command, self);
    if (w->pid[i] < 0)
        w->pid[i] = 0;
}

void gw_worker_watch(struct gw_worker_child *w, const struct gw *g, pid_t other)
{
    const pid_t own[] = {w->pid[0], w->pid[1], other};
    char path[GW_PATH_MAX];

    cmx_child_reap_others(own, GW_COUNT(own));
    if (g->simple)
        return;
    watch_one(w, 0, g);
    if (w->pid[1] > 0 || access(gw_path(g, GW_COPY_STATE_FILE, path), F_OK) == 0)
        watch_one(w, 1, g);
}

void gw_worker_stop(struct gw_worker_child *w)
{
    for (size_t i = 0; i < GW_WORKERS; i++) {
        if (w->pid[i] <= 0)
            continue;
        kill(w->pid[i], SIGTERM);
        (void)cmx_child_wait(w->pid[i]);
        w->pid[i] = 0;
    }
}
