#ifdef ESP_PLATFORM

#include "cmxsafe/esp/device_esp.h"

#include <ctype.h>
#include <freertos/FreeRTOS.h>
#include <freertos/event_groups.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/device/attest_facts.h"
#include "cmxsafe/device/context_list.h"
#include "cmxsafe/device/device.h"
#include "cmxsafe/device/device_isolation.h"
#include "cmxsafe/device/device_update.h"
#include "cmxsafe/device/merge.h"
#include "cmxsafe/esp/events_esp.h"
#include "cmxsafe/esp/nvs_config.h"
#include "cmxsafe/esp/ota_esp.h"
#include "cmxsafe/identity/identity.h"
#include "cmxsafe/port/esp/esp_defaults.h"
#include "cmxsafe/port/esp/tasks.h"
#include "cmxsafe/port/lwip/filter_lwip.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/gateways.h"
#include "esp_app_desc.h"
#include "esp_efuse.h"
#include "esp_efuse_table.h"
#include "esp_flash_encrypt.h"
#include "esp_idf_version.h"
#include "esp_netif.h"
#include "esp_secure_boot.h"
#include "esp_system.h"

#define TAG "device"
#define NETWORK_UP BIT0
#define PINS_MAX 8
/* Sizes of the texts in NVS, NUL included. */
#define USER_TEXT_MAX 64
#define PASSWORD_TEXT_MAX 64
#define ADDRESS_TEXT_MAX 64
#define PIN_TEXT_MAX 56     /* a fingerprint and a separator */
#define KEY_TEXT_MAX 1200   /* the SSH key */
#define UPDATE_KEYS_MAX 264 /* CMX_OTA_KEYS_MAX public keys in hexadecimal, with separators */

/* `settings` points to the strings in this struct. They are read from NVS, and the host-key pins also from Kconfig. The
 * struct is never freed. */
static struct {
    struct cmx_mutex lock; /* guards `started` and everything that start_device sets */
    bool started;
    struct cmx_settings settings;
    char host[CMX_GATEWAYS_TEXT_MAX], user[USER_TEXT_MAX], password[PASSWORD_TEXT_MAX], address[ADDRESS_TEXT_MAX];
    char pins[PINS_MAX * PIN_TEXT_MAX], key[KEY_TEXT_MAX];
    char update_key[UPDATE_KEYS_MAX];
    const char *pin[PINS_MAX];
    EventGroupHandle_t network;
    StaticEventGroup_t network_storage;
} esp;

/* Returns the value of key in NVS, or NULL. */
static const char *stored(const char *key, char *out, size_t cap)
{
    cmx_err err = cmx_nvs_get(key, out, cap);

    if (!err)
        return out;
    if (err != CMX_ENOENT)
        cmx_log(CMX_LOG_WARN, TAG, "NVS %s: %s; the built-in value applies", key, cmx_err_text(err));
    return NULL;
}

/* Splits "SHA256:a SHA256:b" into a list of host-key pins. */
static void split_pins(struct cmx_settings *s, const char *text)
{
    size_t n = 0;

    if (!text[strspn(text, " ,")]) /* an empty list keeps the pins that were set before */
        return;
    if (cmx_text_copy(esp.pins, sizeof esp.pins, text) != CMX_OK) {
        cmx_log(CMX_LOG_ERROR, TAG, "CMX_HOST_KEYS ignored: it lists more than %d host keys; remove those not in use",
                PINS_MAX);
        return;
    }
    for (char *p = esp.pins; n < PINS_MAX;) {
        p += strspn(p, " ,");
        if (!*p)
            break;
        esp.pin[n++] = p;
        p += strcspn(p, " ,");
        if (*p)
            *p++ = '\0';
    }
    s->host_keys = esp.pin;
    s->n_host_keys = n;
}

#ifdef CONFIG_CMX_GATEWAY_HOST
static void from_kconfig(struct cmx_settings *s)
{
    s->remote_host = CONFIG_CMX_GATEWAY_HOST;
    s->remote_port = CONFIG_CMX_GATEWAY_PORT;
    s->username = CONFIG_CMX_USER;
    s->remote_address = CONFIG_CMX_REMOTE_ADDRESS;
    s->timeout_s = CONFIG_CMX_LOGIN_TIMEOUT_S;
    s->task_stack = CONFIG_CMX_SESSION_STACK;
    s->password = CONFIG_CMX_PASSWORD;
    s->client_key_derived = CONFIG_CMX_CREDENTIAL_HWKEY;
    s->multichannel = CONFIG_CMX_SHARED_SESSION;
    split_pins(s, CONFIG_CMX_HOST_KEYS);
}
#else
static void from_kconfig(struct cmx_settings *s)
{
    (void)s; /* without Kconfig, as on Arduino, settings.h has every setting */
}
#endif

/* Reads the settings that are stored in NVS. */
static void from_nvs(struct cmx_settings *s)
{
    char port[8];
    char pins[sizeof esp.pins];
    uint32_t number;

    s->remote_host = stored("gateway", esp.host, sizeof esp.host);
    s->username = stored("user", esp.user, sizeof esp.user);
    s->password = stored("password", esp.password, sizeof esp.password);
    s->remote_address = stored("address", esp.address, sizeof esp.address);
    s->client_key = stored("key", esp.key, sizeof esp.key);
    if (stored("port", port, sizeof port) && cmx_text_u32(port, strlen(port), &number) == CMX_OK &&
        number - 1 < UINT16_MAX)
        s->remote_port = (int)number;
    if (stored("host_key", pins, sizeof pins))
        split_pins(s, pins);
}

static void on_session(const char *session, const char *gateway, bool up, cmx_err err)
{
    cmx_esp_post(up ? CMX_EVENT_SESSION_UP : CMX_EVENT_SESSION_DOWN, session, gateway, err);
}

static void on_relay(const struct cmx_relay_event *event)
{
    static const cmx_event_id ids[] = {[CMX_RELAY_OPENED] = CMX_EVENT_RELAY_OPEN,
                                       [CMX_RELAY_CLOSED] = CMX_EVENT_RELAY_CLOSED,
                                       [CMX_RELAY_REFUSED] = CMX_EVENT_RELAY_REFUSED};

    cmx_esp_post(ids[event->kind], event->context, NULL, event->cause);
}

static void on_address(void *arg, esp_event_base_t base, int32_t id, void *data)
{
    const bool got =
        id == IP_EVENT_STA_GOT_IP || id == IP_EVENT_ETH_GOT_IP || id == IP_EVENT_GOT_IP6 || id == IP_EVENT_PPP_GOT_IP;

    (void)arg;
    (void)base;
    (void)data;
    if (got)
        xEventGroupSetBits(esp.network, NETWORK_UP);
}

/* True if eFuses disable JTAG permanently: over the pads and, on chips with USB JTAG, over USB. */
#if CONFIG_IDF_TARGET_ESP32
static bool jtag_is_off(void)
{
    return esp_efuse_read_field_bit(ESP_EFUSE_JTAG_DISABLE);
}
#elif CONFIG_IDF_TARGET_ESP32S2
static bool jtag_is_off(void)
{
    return esp_efuse_read_field_bit(ESP_EFUSE_HARD_DIS_JTAG);
}
#else
static bool jtag_is_off(void)
{
    return esp_efuse_read_field_bit(ESP_EFUSE_DIS_PAD_JTAG) && esp_efuse_read_field_bit(ESP_EFUSE_DIS_USB_JTAG);
}
#endif

#if ESP_IDF_VERSION >= ESP_IDF_VERSION_VAL(6, 0, 0)
static bool flash_is_encrypted(void)
{
    return esp_efuse_is_flash_encryption_enabled();
}
#else
static bool flash_is_encrypted(void)
{
    return esp_flash_encryption_enabled();
}
#endif

static cmx_flash_encryption flash_encryption(void)
{
    if (!flash_is_encrypted())
        return CMX_FLASH_PLAIN;
    return esp_get_flash_encryption_mode() == ESP_FLASH_ENC_MODE_RELEASE ? CMX_FLASH_RELEASE : CMX_FLASH_DEVELOPMENT;
}

#if CONFIG_CMX_NO_ISOLATION
const struct cmx_filter *cmx_port_filter(void)
{
    return NULL;
}
#else
const struct cmx_filter *cmx_port_filter(void)
{
    return &cmx_lwip_filter;
}
#endif

/* Returns the chip's name as manifests spell it: "ESP32-C3" for the target "esp32c3". */
static const char *chip_name(void)
{
    static const char target[] = CONFIG_IDF_TARGET;
    static char name[sizeof target + 1];
    size_t n = 0;

    for (size_t i = 0; target[i]; i++) {
        if (i == strlen("esp32"))
            name[n++] = '-';
        name[n++] = (char)toupper((unsigned char)target[i]);
    }
    return name;
}

static void set_facts(void)
{
    const struct cmx_device_platform_facts facts = {
        .hw_model = chip_name(),
        .secure_boot = esp_secure_boot_enabled(),
        .debug = jtag_is_off() ? CMX_DEBUG_DISABLED_PERMANENTLY : CMX_DEBUG_ENABLED,
        .flash_encryption = flash_encryption(),
        .secure_version = esp_efuse_read_secure_version(),
        .boot_count = cmx_nvs_count_boot(),
    };

    cmx_device_set_platform_facts(&facts);
}

static void set_isolation(void)
{
    struct cmx_device_isolation isolation = {0};

    for (size_t i = 0; i < sizeof isolation.control_ports / sizeof isolation.control_ports[0]; i++)
        isolation.control_ports[i] = (uint16_t)(CONFIG_CMX_HTTP_CTRL_PORT + i);
    if (CONFIG_CMX_TIME_SERVER[0])
        isolation.time_servers[0] = CONFIG_CMX_TIME_SERVER;
    cmx_device_set_isolation(&isolation);
}

static esp_err_t start_platform(void)
{
    esp_err_t rc = esp_netif_init(); /* harmless if the application has called it already */

    if (rc == ESP_OK)
        rc = esp_event_loop_create_default();
    if (rc == ESP_ERR_INVALID_STATE) /* the application has created the loop */
        rc = ESP_OK;
    if (rc == ESP_OK)
        rc = esp_event_handler_register(IP_EVENT, ESP_EVENT_ANY_ID, on_address, NULL);
    return rc;
}

static void on_update(cmx_ota_event event, const char *text)
{
    switch (event) {
    case CMX_OTA_EVENT_READY:
        cmx_esp_post(CMX_EVENT_UPDATE_READY, text, NULL, CMX_OK);
        return;
    case CMX_OTA_EVENT_REFUSED:
    case CMX_OTA_EVENT_INTERRUPTED:
        cmx_esp_post(CMX_EVENT_UPDATE_FAILED, text, NULL, event == CMX_OTA_EVENT_REFUSED ? CMX_EFORMAT : CMX_ECLOSED);
        return;
    case CMX_OTA_EVENT_CONFIRMED:
        cmx_esp_post(CMX_EVENT_CONFIRMED, text, NULL, CMX_OK);
        return;
    case CMX_OTA_EVENT_ROLLBACK:
        cmx_esp_post(CMX_EVENT_ROLLBACK, text, NULL, CMX_ETIMEOUT);
        return;
    default:
        return;
    }
}

/* The value in NVS, unless it is empty, replaces the built-in keys. If NVS cannot be read, the device must not accept
 * unsigned images: "unreadable" is not a valid key, so the update service does not start. */
static const char *update_key(void)
{
    cmx_err err = cmx_nvs_get("update_key", esp.update_key, sizeof esp.update_key);

    if (err == CMX_ENOENT || (!err && !esp.update_key[0]))
        return CONFIG_CMX_OTA_PUBLIC_KEY;
    return err ? "unreadable" : esp.update_key;
}

static void set_updates(void)
{
    const struct cmx_ota_config updates = {
        .slots = cmx_esp_slots(),
        .policy = {.chip_id = CONFIG_IDF_FIRMWARE_CHIP_ID,
                   .secure_version_min = esp_efuse_read_secure_version(),
                   .secure_boot = esp_secure_boot_enabled()},
        .name = esp_app_get_description()->project_name,
        .event = on_update,
    };

    cmx_device_set_updates(&updates, update_key());
}

/* ---- start ---- */

/* Sets NETWORK_UP if the default interface got an IPv4 address before the event handler was registered. Called with the
 * lock held. */
static void note_present_address(void)
{
    esp_netif_ip_info_t info;
    esp_netif_t *interface = esp_netif_get_default_netif();

    if (interface && esp_netif_get_ip_info(interface, &info) == ESP_OK && info.ip.addr)
        xEventGroupSetBits(esp.network, NETWORK_UP);
}

static void set_settings(const struct cmx_settings *own)
{
    struct cmx_settings nvs = {0};

    from_kconfig(&esp.settings);
    if (own)
        cmx_settings_merge(&esp.settings, own);
    from_nvs(&nvs);
    cmx_settings_merge(&esp.settings, &nvs);
    cmx_device_override(&esp.settings, NULL);
}

/* Called with the lock held. Not called again once it has succeeded. */
static esp_err_t start_device(const struct cmx_settings *own)
{
    static const struct cmx_device_hooks hooks = {.session = on_session, .relay = on_relay};
    cmx_err err = cmx_nvs_init();
    esp_err_t rc;

    if (err)
        return cmx_esp_err(err);
    if (!esp.network)
        esp.network = xEventGroupCreateStatic(&esp.network_storage);
    rc = start_platform();
    if (rc != ESP_OK)
        return rc;
    note_present_address();
    setenv("HOME", "/", 0); /* libssh fails without a home directory; it needs no file there */
    set_settings(own);
    cmx_device_set_hooks(&hooks);
    set_facts();
    set_isolation();
    set_updates();
    return ESP_OK;
}

/* Starts the contexts that are stored in NVS, in addition to the application's. */
static void forward_stored(void)
{
    char list[160];
    const char *at = stored("contexts", list, sizeof list);
    TaskParameters t;
    cmx_err err;

    if (!at)
        return;
    while ((err = cmx_context_list_next(&at, &t)) == CMX_OK) {
        err = cmx_device_forward(&esp.settings, &t);
        if (err)
            cmx_log(CMX_LOG_ERROR, TAG, "NVS contexts: port %d: %s", t.local_port, cmx_err_text(err));
    }
    if (err == CMX_EFORMAT)
        cmx_log(CMX_LOG_ERROR, TAG, "NVS contexts: '%s' is not LOCAL[:REMOTE][+high_bw]; it and the rest are ignored",
                at);
}

/* Runs before any task exists. */
__attribute__((constructor)) static void make_lock(void)
{
    cmx_port_mutex_init(&esp.lock);
}

/* Starts the device unless it has started; *first: this call has started it. */
static esp_err_t start_once(const struct cmx_settings *own, bool *first)
{
    esp_err_t rc = ESP_OK;

    *first = false;
    cmx_port_mutex_lock(&esp.lock);
    if (!esp.started) {
        rc = start_device(own);
        esp.started = *first = rc == ESP_OK;
    }
    cmx_port_mutex_unlock(&esp.lock);
    if (*first)
        forward_stored();
    return rc;
}

esp_err_t cmx_esp_init(const struct cmx_settings *own)
{
    bool first;
    esp_err_t rc = start_once(own, &first);

    return rc == ESP_OK && own && !first ? ESP_ERR_INVALID_STATE : rc;
}

cmx_err cmx_port_device_start(void)
{
    bool first;
    esp_err_t rc = start_once(NULL, &first);

    if (rc == ESP_OK)
        return CMX_OK;
    cmx_log(CMX_LOG_ERROR, TAG, "NVS, event loop or network interfaces cannot be initialised: %s", esp_err_to_name(rc));
    return rc == ESP_ERR_NO_MEM ? CMX_ENOMEM : CMX_EIO;
}

esp_err_t cmx_esp_forward(const TaskParameters *context)
{
    cmx_err err = cmx_port_device_start();

    return cmx_esp_err(err ? err : cmx_device_forward(&esp.settings, context));
}

esp_err_t cmx_esp_wait_network(uint32_t timeout_ms)
{
    const TickType_t ticks = timeout_ms ? pdMS_TO_TICKS(timeout_ms) : portMAX_DELAY;
    cmx_err err = cmx_port_device_start();

    if (err)
        return cmx_esp_err(err);
    return xEventGroupWaitBits(esp.network, NETWORK_UP, pdFALSE, pdFALSE, ticks) & NETWORK_UP ? ESP_OK
                                                                                              : ESP_ERR_TIMEOUT;
}

void cmx_esp_log_memory(void)
{
    struct cmx_esp_task tasks[CMX_ESP_TASKS_MAX];
    struct cmx_mem_stats ours;
    size_t n = cmx_esp_tasks(tasks, CMX_ESP_TASKS_MAX);

    cmx_mem_stats(&ours);
    cmx_log(CMX_LOG_INFO, TAG, "heap: %u bytes free, minimum %u; cmxsafe: %u in %u blocks, maximum %u",
            (unsigned)esp_get_free_heap_size(), (unsigned)esp_get_minimum_free_heap_size(), (unsigned)ours.live_bytes,
            (unsigned)ours.live_blocks, (unsigned)ours.peak_bytes);
    for (size_t i = 0; i < n; i++)
        cmx_log(CMX_LOG_INFO, TAG, "task %s: stack of %u bytes, at most %u used%s", tasks[i].name,
                (unsigned)tasks[i].stack, (unsigned)(tasks[i].stack - tasks[i].stack_free_min),
                tasks[i].running ? "" : ", ended");
}

#endif
