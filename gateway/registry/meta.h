/* meta.h - the settings of the gateway itself (mode, fleet, listen, ...), in the registry. */
#pragma once

#include <stddef.h>

#include "gateway/registry/sql.h"

/* Reads a setting. CMX_ENOENT: it is not set; out is then "". */
CMX_MUST_USE cmx_err gw_meta_get(struct gw_registry *r, const char *key, char *out, size_t cap);
CMX_MUST_USE cmx_err gw_meta_set(struct gw_registry *r, const char *key, const char *value, struct cmx_why *e);
