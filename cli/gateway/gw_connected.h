/* gw_connected.h - finds out which devices and platforms have a session now. */
#pragma once

#include "gateway/folder/gw_folder.h"

struct gw_connected {
    char (*names)[GW_NAME_MAX]; /* sorted */
    size_t n;
};

/* Collects the names in the running gateway's answer to `status`. If answer is NULL, there are no names. */
void gw_connected_parse(struct gw_connected *c, const char *answer);
bool gw_connected_has(const struct gw_connected *c, const char *name);
void gw_connected_free(struct gw_connected *c);
