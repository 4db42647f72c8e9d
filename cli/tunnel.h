/* tunnel.h - forwards local sockets to a device's services through its gateway, with the operator's own ssh (-L), so
 * that the operator's keys, agent, known hosts and jump hosts apply. The sockets are in a folder that only the operator
 * can enter. On a port of the loopback, another user of the machine could answer in place of ssh, or use the tunnel.
 * ssh is one child in our process group, as git and scp run it: it may prompt on the terminal, and Ctrl-C reaches it
 * too. ssh ends with this program, even if this program is killed. */
#pragma once

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "cmxsafe/core/err.h"

#include "cli/common/http_client.h"

#define TUNNEL_PARENT "/tmp"
#define TUNNEL_START "cmxsafe-tunnel-"
#define TUNNEL_NAME TUNNEL_START "XXXXXX"
#define TUNNEL_FOLDER TUNNEL_PARENT "/" TUNNEL_NAME

struct tunnel {
    const char *gateway;               /* "[user@]host[:port]" or a Host alias from ssh_config; borrowed */
    const char *config;                /* path of ssh's configuration (-F); NULL: the operator's own; borrowed */
    const char *device;                /* host name or address, resolved by the gateway; borrowed */
    uint16_t remote[2];                /* ports of the device's services; 0: no forward */
    char folder[sizeof TUNNEL_FOLDER]; /* "": none */
    int lock;                          /* descriptor of the folder, which this process has locked (flock) */
    char local[2][sizeof HTTP_UNIX + sizeof TUNNEL_FOLDER + 2]; /* the forwards' sockets, as URLs for http_request */
    /* The caller's signal handler sets *stop. If *stop is not 0, tunnel_open and tunnel_keep give up. */
    const volatile sig_atomic_t *stop;
    pid_t pid; /* process of ssh; 0: ssh is not running */
};

/* The caller has set gateway, config, device, remote and stop. Removes the folders of this user's
 * tunnels that were killed. Waits until ssh accepts connections on local[0];
 * the operator's time at ssh's prompts is part of the wait. CMX_EREFUSED: ssh printed the reason and ended, or could
 * not be started; CMX_ETIMEOUT: ssh did not forward within 3 minutes; CMX_EAGAIN: stop was set; CMX_ENOMEM: no process
 * could be created; CMX_EIO: the folder can't be created in /tmp. */
CMX_MUST_USE cmx_err tunnel_open(struct tunnel *t);

/* Opens the tunnel again if ssh has ended. Errors as for tunnel_open. */
CMX_MUST_USE cmx_err tunnel_keep(struct tunnel *t);

/* Also removes the folder. Call it after tunnel_open failed, too. */
void tunnel_close(struct tunnel *t);
