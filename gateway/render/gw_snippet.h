/* gw_snippet.h - a newly enrolled device's configuration, in each form of configuration that devices use. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Writes the configuration. form: "agent" (cmxsafed's INI), "settings" (settings.h), "kconfig". hwkey: the key is
 * derived from the hardware key.
 */
void gw_snippet(FILE *f, const struct gw *g, const struct gw_device *d, const char *form, bool hwkey);
bool gw_snippet_form(const char *form);
