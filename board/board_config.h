/* board_config.h - board.ini: the board's hardware, network, gateway and contexts. Everything but the gateway has a
 * default. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "board/lwip/stack.h"
#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/device/device_settings.h"
#include "cmxsafe/proxy/proxy.h"

#define BOARD_STRINGS_MAX 256
#define BOARD_CONTEXTS_MAX 32 /* as many as on a chip (CMX_PROXY_CONTEXTS_MAX) */

struct board_config {
    const char *chip;
    const char *flash; /* file with the flash; every path here is relative to the board's folder */
    const char *efuse;
    const char *efuse_key; /* file with the burned key, whose bits are not in efuse.bin */
    int port_offset;       /* added to each service's port, for a board that shares the machine's loopback */
    const char *services;  /* address on which the application's services listen; NULL: the network's default */
    const char *ota_host;  /* a further name by which clients reach the update page; NULL: none */
    int ota_confirm_s;     /* time for a new image to reach its gateway; 0: 5 minutes */
    const char *net_mode;  /* "kernel" or "tap:NAME" */
    bool isolation;        /* call setup_sm() (it filters only on a TAP); default true */
    struct board_net net;  /* the board's own network, used with "tap:NAME" */
    struct cmx_settings settings;
    const char *pins[CMX_PROXY_HOST_KEYS_MAX];
    TaskParameters contexts[BOARD_CONTEXTS_MAX]; /* their values override those of the application's contexts
                                                    (cmx_merge_context) */
    size_t n_contexts;
    char *strings[BOARD_STRINGS_MAX]; /* all values that were read; owned */
    size_t n_strings;
};

void board_config_init(struct board_config *c);
void board_config_free(struct board_config *c);

/* Sets one key; section as in the file ("gateway", "context stream"). why: one sentence. CMX_EINVAL: no such
 * section or key, or a wrong value; CMX_ENOSPC: too many values, contexts or host keys, or a name that is too long;
 * CMX_ENOMEM: out of memory. */
CMX_MUST_USE cmx_err board_config_set(struct board_config *c, const char *section, const char *key, const char *value,
                                      struct cmx_why *why);

/* Reads the file path into c. why: the file, the line if the file could be read, and the reason. Returns the errors of
 * board_config_set and cmx_file_read; CMX_EFORMAT: a line is not valid; CMX_EEXIST: a key is set twice. */
CMX_MUST_USE cmx_err board_config_load(struct board_config *c, const char *path, struct cmx_why *why);

/* Writes all keys in Markdown, for docs/BOARD.md. */
void board_config_reference(FILE *out);
