/* esp_defaults.h - what Kconfig says under ESP-IDF, for builds without this component's Kconfig (Arduino): the same
 * names and the same defaults. See Kconfig at the root for what each is. And what an older ESP-IDF has no name for. */
#ifndef CMX_PORT_ESP_DEFAULTS_H
#define CMX_PORT_ESP_DEFAULTS_H

#ifdef ESP_PLATFORM

#include "esp_err.h"
#include "sdkconfig.h"

#ifndef ESP_ERR_NOT_ALLOWED
#define ESP_ERR_NOT_ALLOWED 0x10D /* from 5.1.5 on; Arduino's 3.0 is older */
#endif

#ifndef CONFIG_CMX_SESSION_STACK
#define CONFIG_CMX_SESSION_STACK 10500
#endif
#ifndef CONFIG_CMX_HTTP_STACK
#define CONFIG_CMX_HTTP_STACK 3584
#endif
#ifndef CONFIG_CMX_TASK_PRIORITY
#define CONFIG_CMX_TASK_PRIORITY 5
#endif
#ifndef CONFIG_CMX_TASK_CORE
#define CONFIG_CMX_TASK_CORE (-1)
#endif
#ifndef CONFIG_CMX_HMAC_KEY
#define CONFIG_CMX_HMAC_KEY 3
#endif
#ifndef CONFIG_CMX_OTA_PUBLIC_KEY
#define CONFIG_CMX_OTA_PUBLIC_KEY ""
#endif
#ifndef CONFIG_CMX_TIME_SERVER
#define CONFIG_CMX_TIME_SERVER ""
#endif
#ifndef CONFIG_CMX_HTTP_CTRL_PORT
#define CONFIG_CMX_HTTP_CTRL_PORT 32770
#endif

#endif
#endif
