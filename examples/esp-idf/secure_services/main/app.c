#include "app.h"

#include "cmxsafe.h"
#include "cmxsafe/core/log.h"
#include "contexts.h"
#include "ota.h"
#include "page.h"
#include "remoteAttest.h"
#include "settings.h"
#include "sm.h"
#include "stream.h"

#define TAG "app"

static cmx_err started(const char *what, unsigned port, cmx_err err)
{
    if (err != CMX_OK)
        cmx_log(CMX_LOG_ERROR, TAG, "%s on port %u: %s", what, port, cmx_err_text(err));
    return err;
}

static cmx_err start_camera(const struct app_door *door)
{
    cmx_err err = started("web page", APP_PAGE_PORT + door->port_offset, page_start(door));

    return err != CMX_OK ? err : started("stream", APP_STREAM_PORT + door->port_offset, stream_start(door));
}

/* Starts the tasks as the setup() of a sketch does. */
static void start_cmxsafe(const struct app_door *door)
{
    xTaskCreatePinnedToCore(ssh_port_forwarding_task, "SSH Port Forwarding Task", 10500, &streamPort, 5, NULL, 1);
    xTaskCreatePinnedToCore(ssh_port_forwarding_task, "SSH Port Forwarding OTA", 10500, &otaPort, 5, NULL, 1);
    xTaskCreatePinnedToCore(setup_ota, "OTA Task", 6144, NULL, 5, NULL, 1);
    xTaskCreatePinnedToCore(ssh_port_forwarding_task, "SSH Port Forwarding Attest", 10500, &attestationPort, 5, NULL,
                            1);
    setup_remoteAttest(NULL);
    if (!door->open)
        setup_sm();
}

cmx_err app_start(const struct app_door *door)
{
    cmx_err err = start_camera(door);

    if (err != CMX_OK)
        return err;
    start_cmxsafe(door);
    return CMX_OK;
}
