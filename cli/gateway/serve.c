#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/gateway/serve.h"
#include "cmxsafe/core/text.h"

static const char about[] = "Runs the gateway in the foreground: accepts devices, gives each connection to an sshd of "
                            "its own, watches over them.\n"
                            "A system gateway is started by its systemd units; root may also start it by hand. SIGTERM "
                            "ends it and every session.";

/* Sockets that systemd (or the outer half of --user mode) opened: numbers from 3 on, sd_listen_fds(3). */
static size_t inherited_listeners(int *out)
{
    const char *count = getenv("LISTEN_FDS");
    const char *pid = getenv("LISTEN_PID");
    uint64_t n = 0;

    if (!count || cmx_text_u64(count, 1, GW_LISTENERS_MAX, &n))
        return 0;
    if (pid && (pid_t)strtol(pid, NULL, 10) != getpid())
        return 0;
    for (size_t i = 0; i < n; i++)
        out[i] = 3 + (int)i;
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    return (size_t)n;
}

static int listen_on(const struct addrinfo *ai)
{
    int one = 1;
    int zero = 0;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero); /* [::] takes IPv4 too */
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, 4096) == 0)
        return fd;
    close(fd);
    return -1;
}

static size_t open_listeners(const struct gw *g, int *out)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char host[GW_HOST_MAX];
    char port[8];
    char *colon;

    snprintf(host, sizeof host, "%s", g->listen);
    colon = strrchr(host, ':');
    *colon = '\0';
    snprintf(port, sizeof port, "%u", g->port);
    if (host[0] == '[' && colon > host + 1)
        colon[-1] = '\0';
    if (getaddrinfo(host[0] == '[' ? host + 1 : host, port, &hints, &list) != 0)
        return 0;
    out[0] = listen_on(list);
    freeaddrinfo(list);
    return out[0] >= 0 ? 1 : 0;
}

/* One gateway a folder: the lock is held for as long as this process lives. */
static bool lock_folder(const struct gw *g)
{
    char path[GW_PATH_MAX];
    int fd = open(gw_path(g, "run/lock", path), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

bool gw_become_account(uid_t uid, gid_t gid)
{
    return setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0;
}

/* Root without systemd: what the units do. */
static int serve_as_root(struct gw *g, const int *listeners, size_t n)
{
    const struct passwd *pw = getpwnam(g->account);
    int netns = -1;

    if (!pw)
        return cli_fail("the gateway can't start", "its account is missing", "run 'cmxsafe gateway init' again");
    if (!g->simple) {
        netns = open("/run/netns/" GW_NETNS, O_RDONLY | O_CLOEXEC);
        if (netns < 0 || setns(netns, CLONE_NEWNET) != 0)
            return cli_fail("the gateway can't start", "its network namespace is missing",
                            "run 'cmxsafe gateway net up'");
        close(netns);
    }
    if (!gw_become_account(pw->pw_uid, pw->pw_gid))
        return cli_fail("the gateway can't start", strerror(errno), NULL);
    return gw_server_run(g, listeners, n);
}

static int serve(struct gw *g, bool inside)
{
    int listeners[GW_LISTENERS_MAX];
    size_t n = inherited_listeners(listeners);

    if (inside)
        return gw_ns_inside(g, listeners, n);
    if (geteuid() == 0 || g->user)
        if (!lock_folder(g))
            return cli_fail("the gateway can't start", "it is running already, or its folder is not yours",
                            "see 'cmxsafe gateway status'");
    if (n == 0)
        n = open_listeners(g, listeners);
    if (n == 0) {
        char why[GW_HOST_MAX + 64];
        snprintf(why, sizeof why, "can't listen on %s (%s)", g->listen, strerror(errno));
        return cli_fail("the gateway can't start", why, "choose another with 'cmxsafe gateway init --listen'");
    }
    if (g->user)
        return gw_ns_user(g, listeners, n);
    return geteuid() == 0 ? serve_as_root(g, listeners, n) : gw_server_run(g, listeners, n);
}

int gw_cmd_serve(int argc, char **argv)
{
    struct gw_common c = {0};
    bool inside = false;
    const struct gw_option options[] = {
        GW_DIR_OPTION(c),
        {"inside", NULL, "used by --user mode itself: already in its namespaces", &inside},
    };
    struct gw_command_line line = {
        .command = "serve", .operands = "", .about = about, .options = options, .n_options = GW_COUNT(options)};
    struct gw g;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (gw_open(&g, &c, false))
        return CLI_FAILED;
    gw_close(&g);
    return serve(&g, inside);
}
