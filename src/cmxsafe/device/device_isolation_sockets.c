/* device_isolation_sockets.c - reports the sockets of the engine and of tasks to the isolation policy, which tracks
 * them as flows. */
#include <string.h>
#include <sys/socket.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/device/device_isolation.h"
#include "cmxsafe/device/device_isolation_state.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/net.h"

/* ---- the engine's sockets ---- */

/* The engine and the policy use the same numbers for the kinds of sockets. */
_Static_assert((int)CMX_SOCKET_SESSION == (int)CMX_FLOW_SESSION && (int)CMX_SOCKET_RELAY == (int)CMX_FLOW_RELAY &&
                   (int)CMX_SOCKET_LISTEN == (int)CMX_FLOW_LISTEN && (int)CMX_SOCKET_PAIR == (int)CMX_FLOW_PAIR,
               "a kind of either enum is passed as int");

cmx_err cmx_device_isolation_socket(int kind, const struct sockaddr *local, const struct sockaddr *peer, bool opens)
{
    struct cmx_end here, there;
    const struct cmx_end *other = cmx_net_ip(peer, &there.ip, &there.port) ? &there : NULL;
    struct cmx_device_isolation_state *s;
    cmx_err err = CMX_OK;

    if (!cmx_net_ip(local, &here.ip, &here.port))
        return CMX_EINVAL;
    if (opens && cmx_device_isolation_state_standing() == CMX_ISOLATION_FAILED)
        return CMX_EPERM;
    s = cmx_device_isolation_state_enter();
    if (!s)
        return CMX_OK;
    if (opens)
        err = cmx_isolation_socket_open(&s->iso, (cmx_flow_kind)kind, &here, other, cmx_device_isolation_now_s());
    else
        cmx_isolation_socket_close(&s->iso, (cmx_flow_kind)kind, &here, other, cmx_device_isolation_now_s());
    cmx_device_isolation_state_leave();
    return err;
}

void cmx_device_isolation_resolve(bool begins)
{
    struct cmx_device_isolation_state *s = cmx_device_isolation_state_enter();

    if (!s)
        return;
    cmx_isolation_resolving(&s->iso, begins);
    cmx_device_isolation_state_leave();
}

/* ---- tasks ---- */

/* True if name is in a list such as "mqtt, logger". Only the first 15 characters of a listed name are compared, because
 * FreeRTOS cuts task names there. */
static bool is_listed(const char *list, const char *name)
{
    size_t len = strlen(name);

    while (*list) {
        size_t n;

        list += strspn(list, ", ");
        n = strcspn(list, ",");
        while (n && list[n - 1] == ' ')
            n--;
        if (n && len == (n < CMX_PORT_TASK_NAME ? n : CMX_PORT_TASK_NAME - 1) && strncmp(list, name, len) == 0)
            return true;
        list += strcspn(list, ",");
    }
    return false;
}

cmx_err cmx_device_isolation_permits(const char *task, const struct sockaddr *peer)
{
    cmx_err err = CMX_ENOENT;
    struct cmx_end place;
    const struct cmx_iso_context *context;
    const char *tasks;
    bool log = false;
    struct cmx_device_isolation_state *s;

    if (!cmx_net_ip(peer, &place.ip, &place.port))
        return CMX_ENOENT;
    s = cmx_device_isolation_state_enter();
    if (!s)
        return CMX_ENOENT;
    context = cmx_isolation_context(&s->iso, true, &place);
    /* tasks is NULL if peer is not the listener of a direct context, or if every task may connect to it. */
    tasks = context ? context->tasks : NULL;
    if (tasks && is_listed(tasks, task)) {
        err = CMX_OK;
    } else if (tasks && cmx_device_isolation_active()) {
        err = CMX_EPERM;
        s->iso.counts[CMX_REASON_NOT_PEER]++;
        log = cmx_drops_may_log(&s->drops, cmx_device_isolation_now_s());
    }
    cmx_device_isolation_state_leave();
    if (log)
        cmx_log(CMX_LOG_WARN, CMX_DEVICE_ISOLATION_TAG, "refused: task %s may not connect to port %u", task,
                (unsigned)place.port);
    return err;
}
