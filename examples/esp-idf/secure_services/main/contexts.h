/* contexts.h - the application's own security contexts, in addition to those of fw_ports.h. */
#ifndef APP_CONTEXTS_H
#define APP_CONTEXTS_H

#include "fw_ports.h"

CMX_CONTEXT streamPort = {
    .local_port = 81,
    .forward_remote_port = 81,
    .high_bw = true,
    .max_connections = 4, /* eight simultaneous streams would exhaust the heap of an ESP32-C3 */
};

#endif
