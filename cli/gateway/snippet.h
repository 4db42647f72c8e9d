/* snippet.h - what a newly enrolled device has to be told, in each form that a device is configured by. */
#ifndef CLI_GW_SNIPPET_H
#define CLI_GW_SNIPPET_H

#include "cli/gateway/gw.h"

/* form: "agent" (cmxsafed's INI), "settings" (settings.h), "kconfig". hwkey: the key is the hardware key's. */
void gw_snippet(FILE *f, const struct gw *g, const struct gw_device *d, const char *form, bool hwkey);
bool gw_snippet_form(const char *form);

#endif
