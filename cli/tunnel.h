/* tunnel.h - a way to a device's service through its gateway: the operator's own ssh with -L, so that keys, agent,
 * known hosts and jump hosts are as that person has set them up. One child process. */
#ifndef CLI_TUNNEL_H
#define CLI_TUNNEL_H

#include <stdint.h>
#include <sys/types.h>

#include "cmxsafe/core/err.h"

struct tunnel {
    const char *gateway; /* "[user@]host[:port]" or an alias of ssh_config; borrowed */
    const char *config;  /* ssh's -F; NULL: the operator's own; borrowed */
    const char *device;  /* host as the gateway sees it; borrowed */
    uint16_t remote[2];  /* the device's ports; 0: none */
    uint16_t local[2];   /* where they are on our loopback */
    pid_t pid;           /* 0: not running */
};

/* t holds gateway, config, device and remote. Waits until the first port takes connections. The error was printed.
 * CMX_EREFUSED, CMX_ETIMEOUT. */
CMX_MUST_USE cmx_err tunnel_open(struct tunnel *t);

/* Opens it again if ssh has ended meanwhile. Quiet. */
CMX_MUST_USE cmx_err tunnel_keep(struct tunnel *t);

void tunnel_close(struct tunnel *t);

#endif
