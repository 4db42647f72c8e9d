/* app.h - the application: cmxsafe, and a camera that has an unsecured web page on port 80 and an MJPEG stream on
 * port 81. The same source runs on the virtual board (board/) and on an ESP32 (this folder's project). */
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

/* What the platform provides to the application. The struct must stay valid while the services run. */
struct app_door {
    const char *board;    /* the platform's name, for the page */
    const char *address;  /* address on which the page and the stream listen; NULL: the loopback */
    unsigned port_offset; /* added to the ports of the page and the stream; 0 on a chip */
    /* Writes the n-th frame since the start as a JPEG. Several tasks may call it at the same time. If frame is NULL, a
     * test picture is sent. */
    cmx_err (*frame)(void *arg, uint32_t n, uint8_t *out, size_t cap, size_t *len);
    void *frame_arg;
    size_t frame_max;     /* size of the largest frame in bytes; unused if frame is NULL */
    uint32_t interval_ms; /* time between frames in ms; 0 means 100 */
    bool open;            /* true: setup_sm() is not called, so every client can reach the services */
};

/* Starts the services and then the tasks of cmxsafe, as a sketch's setup() would. Errors are logged. */
CMX_MUST_USE cmx_err app_start(const struct app_door *door);

#ifdef __cplusplus
}
#endif
#endif
