/* gw_connected.h - which devices and platforms have a session now. */
#pragma once

#include "gateway/folder/gw_folder.h"

struct gw_connected {
    char **names; /* sorted; they point into the answer */
    size_t n;
};

/* Collects the names in the running gateway's answer to `status`, which is modified and must outlive c. answer NULL: no
 * session. */
void gw_connected_parse(struct gw_connected *c, char *answer);
bool gw_connected_has(const struct gw_connected *c, const char *name);
void gw_connected_free(struct gw_connected *c);
