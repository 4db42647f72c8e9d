/* esp_defaults.h - Kconfig's names and defaults for builds without this component's Kconfig (Arduino), and names that
 * older versions of ESP-IDF lack. The Kconfig file in the repository's root describes each option. */
#pragma once

#ifdef ESP_PLATFORM

#include "esp_err.h"
#include "sdkconfig.h"

#ifndef ESP_ERR_NOT_ALLOWED
#define ESP_ERR_NOT_ALLOWED 0x10D /* ESP-IDF defines it since 5.1.5; Arduino core 3.0 contains an older ESP-IDF */
#endif

#ifndef CONFIG_CMX_SESSION_STACK
#define CONFIG_CMX_SESSION_STACK 7168
#endif
#ifndef CONFIG_CMX_HTTP_STACK
#define CONFIG_CMX_HTTP_STACK 4608 /* signing evidence needs the most stack */
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

/* Kconfig leaves the following options undefined while they are off or their credential is not chosen. */
#ifndef CONFIG_CMX_PASSWORD
#define CONFIG_CMX_PASSWORD ""
#endif
#ifndef CONFIG_CMX_CREDENTIAL_HWKEY
#define CONFIG_CMX_CREDENTIAL_HWKEY 0
#endif
#ifndef CONFIG_CMX_SHARED_SESSION
#define CONFIG_CMX_SHARED_SESSION 0
#endif

#endif
