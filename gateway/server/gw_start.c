#include "gateway/server/gw_start.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"
#include "gateway/folder/gw_fail.h"
#include "gateway/registry/nss.h"
#include "gateway/server/gw_account.h"
#include "gateway/server/gw_claims.h"
#include "gateway/server/gw_guard.h"
#include "gateway/server/gw_idsock.h"
#include "gateway/server/gw_server.h"
#include "port/linux/child.h"

#define DESCRIPTORS_MIN 280 /* enough for a dozen sessions: gw_loop.c keeps 256 descriptors free */

/* Finds the listening sockets that this process inherited. systemd passed them on; in --user mode, the process outside
 * the namespaces did. Their numbers start at 3 (sd_listen_fds(3)). */
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
    /* Accepted sockets inherit TCP_NODELAY. sshd does not set it. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof one); /* the address may be assigned later (DHCP) */
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero); /* [::] accepts IPv4 too */
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, 4096) == 0)
        return fd;
    close(fd);
    return -1;
}

static cmx_err open_listener(const struct gw *g, int *out, struct cmx_why *e)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    cmx_err err = CMX_OK;
    char host[GW_HOST_MAX];
    char port[8];
    char *colon;

    snprintf(host, sizeof host, "%s", g->listen);
    colon = strrchr(host, ':');
    *colon = '\0';
    snprintf(port, sizeof port, "%u", g->port);
    if (host[0] == '[' && colon > host + 1)
        colon[-1] = '\0';
    errno = EINVAL;
    *out = getaddrinfo(host[0] == '[' ? host + 1 : host, port, &hints, &list) == 0 ? listen_on(list) : -1;
    if (*out < 0)
        err = cmx_why_fail(e, CMX_EIO,
                           "can't listen on %s (%s); choose another address with 'cmxsafe gateway init --listen'",
                           g->listen, strerror(errno));
    if (list)
        freeaddrinfo(list);
    return err;
}

cmx_err gw_start_check_listen(const struct gw *g, struct cmx_why *e)
{
    int fd;
    cmx_err err = open_listener(g, &fd, e);

    if (!err)
        close(fd);
    return err;
}

/* Ensures that at most one gateway runs in each folder: this process holds the lock DIR/run/lock until it ends. A
 * command that tests the lock (gw_control_is_serving) and a gateway that is ending hold it for a moment. Therefore this
 * function tries repeatedly. */
static bool lock_folder(const struct gw *g)
{
    char path[GW_PATH_MAX];
    int fd = open(gw_path(g, "run/lock", path), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);

    for (int tries = 0; fd >= 0 && tries < 100; tries++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        usleep(50000);
    }
    return false;
}

/* Runs the server in the current network namespace. If this process is root, it first switches to uid and gid. guard:
 * pid of the parent; the server ends when this parent ends. guard 0: the server does not depend on a parent. */
static int serve_here(struct gw *g, uid_t uid, gid_t gid, pid_t guard, const int *listeners, size_t n)
{
    struct gw_claims claims = {-1};
    struct gw_idsock *idsock = NULL;
    struct cmx_why e = {0};

    /* Open no descriptor before gw_claims_open starts its process. That process would inherit the descriptor and could
     * keep it open after the server ends. */
    if (!g->simple && gw_claims_open(&claims, &g->fleet, uid, gid, &e))
        return gw_fail("the gateway can't start, because other gateways would not find its sessions", &e);
    if (!g->simple && gw_idsock_open(&idsock, uid, gid, &e))
        return gw_fail("the gateway can't start, because sessions would have no identity", &e);
    /* The identity programs are loaded, so privileges are no longer needed. */
    if (geteuid() == 0 ? !gw_account_become(uid, gid) : !gw_account_drop_capabilities()) {
        gw_idsock_close(idsock);
        return cli_fail("the gateway can't start", strerror(errno), NULL);
    }
    if (guard && !cmx_child_end_with(guard, SIGTERM)) {
        gw_idsock_close(idsock);
        return EXIT_FAILURE;
    }
    return gw_server_run(g, idsock, &claims, listeners, n);
}

static int serve_in_namespace(struct gw *g, uid_t uid, gid_t gid, pid_t guard, const int *listeners, size_t n)
{
    int netns = open("/run/netns/" GW_NETNS, O_RDONLY | O_CLOEXEC);

    if (netns < 0 || setns(netns, CLONE_NEWNET) != 0)
        return cli_fail("the gateway can't start", "its network namespace is missing", "run 'cmxsafe gateway net up'");
    close(netns);
    return serve_here(g, uid, gid, guard, listeners, n);
}

/* Does the work of the systemd units if root starts the gateway without systemd. This process watches the fleet's
 * rules; its child runs the server as the account. */
static int serve_as_root(struct gw *g, const int *listeners, size_t n)
{
    const struct gw_nss_entry *account = gw_nss_find(GW_NSS_USER, g->account);
    const uid_t uid = (uid_t)account->id;
    const gid_t gid = (gid_t)account->gid;
    const bool exists = account->gid >= 0;
    pid_t guard = getpid();
    pid_t child;
    int status;

    gw_nss_end();
    if (!exists)
        return cli_fail("the gateway can't start", "its account is missing", "run 'cmxsafe gateway init' again");
    if (g->simple)
        return serve_here(g, uid, gid, 0, listeners, n);
    fflush(NULL);
    child = fork();
    if (child < 0)
        return cli_fail("the gateway can't start", strerror(errno), NULL);
    if (child == 0) {
        status = serve_in_namespace(g, uid, gid, guard, listeners, n);
        fflush(NULL);
        _exit(status);
    }
    for (size_t i = 0; i < n; i++)
        close(listeners[i]);
    status = gw_guard_run(g, child, NULL);
    gw_idsock_forget_base();
    return status;
}

/* Returns CLI_OK or, after an error message, CLI_FAILED. */
static int check_descriptors(void)
{
    struct rlimit limit;
    char why[80];

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max >= DESCRIPTORS_MIN)
        return CLI_OK;
    snprintf(why, sizeof why, "it may open only %llu files, and needs at least %d", (unsigned long long)limit.rlim_max,
             DESCRIPTORS_MIN);
    return cli_fail("the gateway can't start", why, "raise the hard limit (LimitNOFILE in its unit, or 'ulimit -Hn')");
}

int gw_start(struct gw *g, bool inside)
{
    int listeners[GW_LISTENERS_MAX];
    size_t n = inherited_listeners(listeners);
    struct cmx_why e = {0};

    if (inside)
        return gw_ns_inside(g, listeners, n);
    if (check_descriptors())
        return CLI_FAILED;
    if (geteuid() == 0 || g->user)
        if (!lock_folder(g))
            return cli_fail("the gateway can't start", "it is running already, or its folder is not yours",
                            "see 'cmxsafe gateway status'");
    if (n == 0 && open_listener(g, listeners, &e) != CMX_OK)
        return gw_fail("the gateway can't start", &e);
    n = n ? n : 1;
    if (g->user)
        return gw_ns_user(g, listeners, n);
    return geteuid() == 0 ? serve_as_root(g, listeners, n) : serve_here(g, geteuid(), getegid(), 0, listeners, n);
}
