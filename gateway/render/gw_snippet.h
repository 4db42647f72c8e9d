/* gw_snippet.h - writes the configuration for a newly enrolled device, in one of the forms that devices use. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Writes the configuration. form: "agent" (cmxsafed's INI), "settings" (settings.h), "kconfig". hwkey: the device
 * derives its SSH key from its hardware key. */
void gw_snippet(FILE *f, const struct gw *g, const struct gw_device *d, const char *form, bool hwkey);
bool gw_snippet_form(const char *form);
