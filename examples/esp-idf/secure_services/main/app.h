/* app.h - the application: a camera with an unsecured web page on port 80 and an MJPEG stream on port 81, and cmxsafe.
 * The same source runs on the virtual board (board/) and on an ESP32 (this folder's project). */
#ifndef APP_H
#define APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define APP_PAGE_PORT 80
#define APP_STREAM_PORT 81

/* The part of the application that the platform provides. It must stay valid as long as the services run. */
struct app_door {
    const char *board;    /* the platform's name, for the page */
    const char *address;  /* address on which the page and the stream listen; NULL: the loopback */
    unsigned port_offset; /* added to the ports of the page and the stream; 0 on a chip */
    /* Returns the n-th frame since the start as a JPEG. NULL: a test picture. Called from several tasks at once. */
    cmx_err (*frame)(void *arg, uint32_t n, uint8_t *out, size_t cap, size_t *len);
    void *frame_arg;
    size_t frame_max;     /* size of the largest frame in bytes; 0 with the test picture */
    uint32_t interval_ms; /* time between frames in ms; 0 means 100 */
    bool open;            /* setup_sm() is not called: the services answer every client */
};

/* Starts the services and then the tasks of cmxsafe, as a sketch's setup() would. Errors are logged. */
CMX_MUST_USE cmx_err app_start(const struct app_door *door);

#ifdef __cplusplus
}
#endif
#endif
