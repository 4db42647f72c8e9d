#include "cmxsafe/device/claim.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/device/device_isolation.h"
#include "cmxsafe/isolation/policy_state.h"
#include "cmxsafe/port/port.h"

/* A permitted connection; removed when its socket is closed. */
struct claim {
    struct claim *next;
    int fd;
    struct sockaddr_storage local, peer;
};

static struct {
    struct claim *list;
    unsigned n;
    struct cmx_mutex lock;
} claims;

/* Runs before any task. */
__attribute__((constructor)) static void make_lock(void)
{
    cmx_port_mutex_init(&claims.lock);
}

/* Finds the local address of fd; binds fd first unless it is bound already. */
static cmx_err local_of(int fd, sa_family_t family, struct sockaddr_storage *local)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)local;

    for (bool bound = false;; bound = true) {
        socklen_t len = sizeof *local;

        memset(local, 0, sizeof *local);
        if (getsockname(fd, (struct sockaddr *)local, &len) != 0)
            return CMX_EIO;
        if (bound || (local->ss_family == family && in->sin_port)) /* sockaddr_in6 has the port at the same offset */
            return CMX_OK;
        memset(local, 0, sizeof *local);
        local->ss_family = family;
        len = family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        if (bind(fd, (const struct sockaddr *)local, len) != 0)
            return CMX_EIO;
    }
}

static cmx_err remember(int fd, const struct sockaddr *peer, socklen_t len)
{
    struct claim *c = cmx_mem_alloc(sizeof *c);
    cmx_err err = c ? CMX_OK : CMX_ENOMEM;

    if (!err) {
        c->fd = fd;
        memcpy(&c->peer, peer, len);
        err = local_of(fd, peer->sa_family, &c->local);
    }
    if (!err) {
        cmx_port_mutex_lock(&claims.lock);
        err = claims.n < CMX_CLAIMS_MAX
                  ? cmx_device_isolation_socket(CMX_FLOW_CLAIM, (const struct sockaddr *)&c->local, peer, true)
                  : CMX_ENOSPC;
        if (!err) {
            c->next = claims.list;
            __atomic_store_n(&claims.list, c, __ATOMIC_RELEASE);
            claims.n++;
        }
        cmx_port_mutex_unlock(&claims.lock);
    }
    if (err)
        cmx_mem_free(c);
    return err;
}

int cmx_claim_connect(int fd, const struct sockaddr *peer, socklen_t len, cmx_connect_fn really)
{
    char task[CMX_PORT_TASK_NAME];
    cmx_err err;
    int rc;

    if (!peer || len < sizeof(sa_family_t) || len > sizeof(struct sockaddr_storage))
        return really(fd, peer, len);
    cmx_port_task_name(task);
    err = cmx_device_isolation_permits(task, peer);
    if (err == CMX_ENOENT) /* connecting to peer is not restricted */
        return really(fd, peer, len);
    cmx_claim_close(fd); /* removes the claim of an earlier socket with the same descriptor */
    if (err == CMX_OK)
        err = remember(fd, peer, len);
    if (err != CMX_OK) {
        errno = EACCES;
        return -1;
    }
    rc = really(fd, peer, len);
    if (rc != 0 && errno != EINPROGRESS) {
        int why = errno;

        cmx_claim_close(fd);
        errno = why;
    }
    return rc;
}

void cmx_claim_close(int fd)
{
    struct claim **at = &claims.list, *found;

    if (!__atomic_load_n(&claims.list, __ATOMIC_ACQUIRE))
        return;
    cmx_port_mutex_lock(&claims.lock);
    while (*at && (*at)->fd != fd)
        at = &(*at)->next;
    found = *at;
    if (found) {
        __atomic_store_n(at, found->next, __ATOMIC_RELEASE);
        claims.n--;
    }
    cmx_port_mutex_unlock(&claims.lock);
    if (!found)
        return;
    (void)cmx_device_isolation_socket(CMX_FLOW_CLAIM, (const struct sockaddr *)&found->local,
                                      (const struct sockaddr *)&found->peer, false);
    cmx_mem_free(found);
}
