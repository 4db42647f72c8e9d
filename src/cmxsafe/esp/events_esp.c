#ifdef ESP_PLATFORM

#include "cmxsafe/esp/events_esp.h"

#include <stdio.h>

#include "cmxsafe/port/esp/esp_defaults.h"

ESP_EVENT_DEFINE_BASE(CMX_EVENT);

void cmx_esp_post(cmx_event_id id, const char *name, const char *gateway, cmx_err err)
{
    struct cmx_event_data data = {.err = err};

    snprintf(data.name, sizeof data.name, "%s", name ? name : "");
    snprintf(data.gateway, sizeof data.gateway, "%s", gateway ? gateway : "");
    /* Session tasks call this and must not block. A lost event is not reported. */
    (void)esp_event_post(CMX_EVENT, (int32_t)id, &data, sizeof data, 0);
}

esp_err_t cmx_esp_err(cmx_err err)
{
    static const struct {
        cmx_err err;
        esp_err_t esp;
    } map[] = {
        {CMX_OK, ESP_OK},
        {CMX_ETIMEOUT, ESP_ERR_TIMEOUT},
        {CMX_EINVAL, ESP_ERR_INVALID_ARG},
        {CMX_ENOTSUP, ESP_ERR_NOT_SUPPORTED},
        {CMX_ENOENT, ESP_ERR_NOT_FOUND},
        {CMX_EPERM, ESP_ERR_NOT_ALLOWED},
        {CMX_EBUSY, ESP_ERR_INVALID_STATE},
        {CMX_ETRUNC, ESP_ERR_INVALID_SIZE},
        {CMX_ENOSPC, ESP_ERR_INVALID_SIZE},
        {CMX_EFORMAT, ESP_ERR_INVALID_RESPONSE},
        {CMX_ESIG, ESP_ERR_INVALID_CRC},
        {CMX_EDOWNGRADE, ESP_ERR_INVALID_VERSION},
        {CMX_ENOMEM, ESP_ERR_NO_MEM},
        {CMX_EIO, ESP_FAIL},
    };

    for (size_t i = 0; i < sizeof map / sizeof map[0]; i++)
        if (map[i].err == err)
            return map[i].esp;
    return CMX_ESP_ERR_BASE + (esp_err_t)err;
}

#endif
