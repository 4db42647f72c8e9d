/* stream.h - the camera's MJPEG stream on port 81. */
#ifndef APP_STREAM_H
#define APP_STREAM_H

#include "app.h"

/* Starts the service. Call it once. Errors as for cmx_http_serve. */
CMX_MUST_USE cmx_err stream_start(const struct app_door *door);

#endif
