/* config.h (board) - board.ini: what the board is and where its gateway is. Everything has a default but the gateway.
 */
#ifndef BOARD_CONFIG_H
#define BOARD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/device/settings.h"
#include "cmxsafe/proxy/proxy.h"

#define BOARD_STRINGS_MAX 256

struct board_net {
    const char *mode;     /* "kernel", "tap:NAME" */
    const char *address;  /* IPv4: "10.0.0.2/24" or "dhcp" */
    const char *gateway;  /* IPv4 router; NULL: none */
    const char *address6; /* "fd00::2/64"; NULL: link-local and what routers advertise */
    const char *dns;      /* a server; NULL: none, or what DHCP says */
    const char *mac;      /* NULL: made from the TAP's name */
    bool isolation;       /* setup_sm(); default yes, which only a TAP can keep */
};

struct board_config {
    const char *chip;
    const char *flash; /* files, relative to the board's folder, as are keys */
    const char *efuse;
    const char *efuse_key; /* what was burned into it: espefuse keeps no read-protected bits */
    int port_offset;       /* services listen at their port plus this, where the board shares the machine's loopback */
    const char *services;  /* where the application's own services listen; NULL: what suits the network */
    const char *ota_host;  /* a further name by which clients reach the update page; NULL: none */
    int ota_confirm_s;     /* a new image must come up within; 0: 5 minutes */
    struct board_net net;
    struct cmx_settings settings;
    const char *pins[CMX_PROXY_HOST_KEYS_MAX];
    TaskParameters contexts[CMX_PROXY_CONTEXTS_MAX]; /* override the application's (cmx_device_override) */
    size_t n_contexts;
    char *strings[BOARD_STRINGS_MAX]; /* all values, owned */
    size_t n_strings;
};

void board_config_init(struct board_config *c);
void board_config_free(struct board_config *c);

/* Sets one key; section as in the file ("gateway", "context stream"). why: one sentence. CMX_EINVAL, CMX_ENOSPC,
 * CMX_ENOMEM. */
CMX_MUST_USE cmx_err board_config_set(struct board_config *c, const char *section, const char *key, const char *value,
                                      char *why, size_t why_cap);

/* Reads path into c. why: "file:line: what". Errors as above, and CMX_ENOENT, CMX_EPERM, CMX_EFORMAT. */
CMX_MUST_USE cmx_err board_config_load(struct board_config *c, const char *path, char *why, size_t why_cap);

/* All keys, in Markdown: docs/BOARD.md has it. */
void board_config_reference(FILE *out);

#endif
