/* stream.h - the service on port 81. */
#ifndef APP_STREAM_H
#define APP_STREAM_H

#include "app.h"

/* Errors as cmx_http_serve. Once. */
CMX_MUST_USE cmx_err stream_start(const struct app_door *door);

#endif
