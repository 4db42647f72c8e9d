/* page.h - the web page on port 80. */
#ifndef APP_PAGE_H
#define APP_PAGE_H

#include "app.h"

/* Starts the service. Call it once. Errors as for cmx_http_serve. */
CMX_MUST_USE cmx_err page_start(const struct app_door *door);

#endif
