/* tap.h - an Ethernet interface of lwIP over a TAP device (Linux's tuntap.rst). */
#pragma once

#include <stdint.h>

#include "cmxsafe/core/why.h"

struct netif;

struct board_tap {
    int fd;
    uint8_t mac[6];
    struct netif *netif; /* set by board_tap_init */
};

/* Opens (or makes) the TAP device. CMX_EPERM, CMX_ENOENT, CMX_EBUSY. */
CMX_MUST_USE cmx_err board_tap_open(const char *name, int *fd, struct cmx_why *why);

/* netif_add's init function; netif->state is a struct board_tap *. board_tap_run starts the reading of frames. */
signed char board_tap_init(struct netif *netif);
CMX_MUST_USE cmx_err board_tap_run(struct board_tap *tap);
