/* page.h - the web page on port 80. */
#ifndef APP_PAGE_H
#define APP_PAGE_H

#include "app.h"

/* Errors as cmx_http_serve. Once. */
CMX_MUST_USE cmx_err page_start(const struct app_door *door);

#endif
