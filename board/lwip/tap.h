/* tap.h - an Ethernet interface of lwIP over a TAP device (Linux's tuntap.rst). */
#pragma once

#include <net/if.h>
#include <stdint.h>

#include "cmxsafe/core/why.h"

struct netif;

struct board_tap {
    int fd;
    char name[IFNAMSIZ];
    uint8_t mac[6];
    struct netif *netif; /* set by board_tap_init */
};

/* Opens the TAP device, and creates it if it does not exist. CMX_EINVAL: not a valid name; CMX_ENOENT: this machine has
 * no /dev/net/tun; CMX_EBUSY: another process uses the device; CMX_EPERM: any other failure. */
CMX_MUST_USE cmx_err board_tap_open(struct board_tap *tap, const char *name, struct cmx_why *why);

/* board_tap_init is netif_add's init function; netif->state is a struct board_tap *. board_tap_run starts a task that
 * reads frames. If the device is removed, the task waits until another program has created a device of this name, and
 * then uses the new device. */
signed char board_tap_init(struct netif *netif);
CMX_MUST_USE cmx_err board_tap_run(struct board_tap *tap);
