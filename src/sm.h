/* sm.h - isolation with the file and function names of the original CMXsafe-ESP32. cmxsafe/device/device_isolation.h
 * implements it. The header works in C and C++, and may be included before or after cmxsafe.h.
 *
 *     setup_sm();
 *
 * From then on "any communication apart from the main SSH connection is not allowed from or to the device": no port
 * answers, tasks reach neither the network nor each other, and only the proxies work. Call setup_sm before the proxies
 * are started, so that even the first packet is filtered. A call after they are started, as in the original, also
 * works. If isolation cannot be installed, the proxies end and the reason is in the log. */
#pragma once

#include "cmxsafe/device/device.h"
#include "cmxsafe/device/device_isolation.h"

static inline void setup_sm(void)
{
    cmx_err err = cmx_device_isolate();

    if (err && !cmx_device_isolation_settled())
        cmx_device_stop(); /* the reason is in the log */
}
