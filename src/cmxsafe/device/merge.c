#include "cmxsafe/device/merge.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/identity/fleet.h"
#include "cmxsafe/proxy/proxy_config.h"

static const char *set_or_null(const char *s)
{
    return s && s[0] ? s : NULL;
}

/* ---- merging: a value that is set in `over` replaces the value in the other struct; zero and "" are not set ---- */

typedef enum { TEXT, NUMBER, SWITCH } field_kind;

struct field {
    uint8_t at;
    uint8_t kind; /* a field_kind */
};

#define SETTING(kind, member)                                                                                          \
    {                                                                                                                  \
        offsetof(struct cmx_settings, member), kind                                                                    \
    }
static const struct field settings_fields[] = {
    SETTING(TEXT, remote_host),
    SETTING(NUMBER, remote_port),
    SETTING(TEXT, username),
    SETTING(TEXT, password),
    SETTING(TEXT, client_key),
    SETTING(TEXT, client_key_file),
    SETTING(TEXT, client_key_passphrase),
    SETTING(SWITCH, client_key_derived),
    SETTING(TEXT, local_host),
    SETTING(TEXT, remote_address),
    SETTING(NUMBER, timeout_s),
    SETTING(NUMBER, keepalive_s),
    SETTING(TEXT, verbosity),
    SETTING(SWITCH, multichannel),
    SETTING(TEXT, ciphers),
    SETTING(SWITCH, require_pq),
    SETTING(NUMBER, local_port_offset),
    SETTING(TEXT, ota_public_key),
};

/* The members of TaskParameters, in the order of cmx_context_options. */
static const uint8_t task_at[CMX_CONTEXT_OPTIONS] = {
#define CMX_OPTION(kind, member, task, key, min, max, fallback, direction, without, help)                              \
    offsetof(TaskParameters, task),
#include "cmxsafe/proxy/context_options.h"
};

#define TASK_PORT int
#define TASK_COUNT int
#define TASK_SECONDS int
#define TASK_DIRECTION int
#define TASK_PEER int
#define TASK_SWITCH bool
#define TASK_ID const char *
#define TASK_NAME const char *
#define TASK_HOST const char *
#define TASK_ADDRESSES const char *
#define TASK_TEXT const char *

/* Checks for each row: TaskParameters has the member that the row names, the member's type is that of the row's kind,
 * and no other row names the member. */
#define CMX_OPTION(kind, member, task, key, min, max, fallback, direction, without, help)                              \
    _Static_assert(_Generic(((TaskParameters *)0)->task, TASK_##kind : 1, default : 0),                                \
                   #task ": the member's type does not match the row's kind");                                         \
    enum { ROW_OF_##task };
#include "cmxsafe/proxy/context_options.h"

/* Has one value for each row of context_options.h. A compile error means that the rows and the members of
 * TaskParameters differ in number. */
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wmissing-field-initializers"
__attribute__((unused)) static const TaskParameters a_row_for_each_member = {
#define CMX_OPTION(kind, member, task, key, min, max, fallback, direction, without, help) 0,
#include "cmxsafe/proxy/context_options.h"
};
#pragma GCC diagnostic pop

static field_kind task_kind(const struct cmx_context_option *o)
{
    return cmx_context_option_is_text(o) ? TEXT : o->kind == CMX_OPTION_SWITCH ? SWITCH : NUMBER;
}

static void merge_field(void *to, const void *from, field_kind kind)
{
    if (kind == SWITCH)
        *(bool *)to = *(bool *)to || *(const bool *)from;
    else if (kind == TEXT && set_or_null(*(const char *const *)from))
        *(const char **)to = *(const char *const *)from;
    else if (kind == NUMBER && *(const int *)from)
        *(int *)to = *(const int *)from;
}

static bool any_pin(const char *const *pins, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (set_or_null(pins[i]))
            return true;
    return false;
}

void cmx_settings_merge(struct cmx_settings *s, const struct cmx_settings *over)
{
    if (!over)
        return;
    if (any_pin(over->host_keys, over->n_host_keys)) {
        s->host_keys = over->host_keys;
        s->n_host_keys = over->n_host_keys;
    }
    if (over->task_stack)
        s->task_stack = over->task_stack;
    for (size_t i = 0; i < sizeof settings_fields / sizeof settings_fields[0]; i++) {
        const struct field *f = &settings_fields[i];

        merge_field((char *)s + f->at, (const char *)over + f->at, (field_kind)f->kind);
    }
}

void cmx_merge_context(TaskParameters *t, const TaskParameters *over)
{
    if (over->direction != t->direction || over->local_port != t->local_port)
        return;
    for (size_t i = 0; i < CMX_CONTEXT_OPTIONS; i++)
        merge_field((char *)t + task_at[i], (const char *)over + task_at[i], task_kind(&cmx_context_options[i]));
}

cmx_log_level cmx_settings_log_level(const struct cmx_settings *s)
{
    static const char *const verbose[] = {
        "SSH_LOG_PACKET", "SSH_LOG_FUNCTIONS", "SSH_LOG_DEBUG", "SSH_LOG_TRACE", "3", "4"};
    const char *v = s->verbosity ? s->verbosity : "";
    size_t len = strcspn(v, "; "); /* the macro in CMXsafe-ESP32's settings.h ends with a semicolon */

    for (size_t i = 0; i < sizeof verbose / sizeof verbose[0]; i++)
        if (strlen(verbose[i]) == len && strncmp(verbose[i], v, len) == 0)
            return CMX_LOG_DEBUG;
    return CMX_LOG_INFO;
}

void cmx_settings_gateway(const struct cmx_settings *s, struct cmx_gateway *out)
{
    *out = (struct cmx_gateway){
        .host = set_or_null(s->remote_host),
        .port = s->remote_port > 0 && s->remote_port <= UINT16_MAX ? (uint16_t)s->remote_port : 0,
        .user = set_or_null(s->username),
        .host_keys = s->host_keys,
        .n_host_keys = any_pin(s->host_keys, s->n_host_keys) ? s->n_host_keys : 0,
        .key_file = set_or_null(s->client_key_file),
        .key_pem = set_or_null(s->client_key),
        .key_passphrase = set_or_null(s->client_key_passphrase),
        .password = set_or_null(s->password),
        .fleet_address = cmx_fleet_device_address,
        .ciphers = set_or_null(s->ciphers),
        .require_pq = s->require_pq,
        .login_timeout_s = (unsigned)s->timeout_s, /* a negative number becomes too large, and is refused */
        .keepalive_s = (unsigned)s->keepalive_s,
    };
}

/* Copies the values and checks them against their options' bounds. */
static cmx_err convert(const TaskParameters *t, struct cmx_context *out)
{
    *out = (struct cmx_context){0};
    for (size_t i = 0; i < CMX_CONTEXT_OPTIONS; i++) {
        const struct cmx_context_option *o = &cmx_context_options[i];
        const void *at = (const char *)t + task_at[i];
        unsigned value;

        if (cmx_context_option_is_text(o)) {
            cmx_context_option_set_text(o, out, set_or_null(*(const char *const *)at));
            continue;
        }
        value = o->kind == CMX_OPTION_SWITCH ? *(const bool *)at : (unsigned)*(const int *)at;
        if (!cmx_context_option_in_range(o, value))
            return CMX_EINVAL;
        cmx_context_option_set_number(o, out, value);
    }
    return CMX_OK;
}

cmx_err cmx_settings_context(const struct cmx_settings *s, const TaskParameters *t, struct cmx_context *out, char *name,
                             size_t name_cap)
{
    cmx_err err = convert(t, out);
    int port = out->local_port + s->local_port_offset;

    if (err)
        return err;
    if ((out->direction == CMX_DIRECT && !out->remote_host) || port < 1 || port > UINT16_MAX)
        return CMX_EINVAL;
    if (out->peer == CMX_PEER_MIRROR) /* a device's stack cannot bind a socket to an address of another host */
        return CMX_ENOTSUP;
    if (snprintf(name, name_cap, "%s-%d", out->direction == CMX_DIRECT ? "direct" : "port", t->local_port) < 0)
        return CMX_EINVAL;
    out->local_port = (uint16_t)port;
    if (!out->name)
        out->name = name;
    if (!out->local_host)
        out->local_host = set_or_null(s->local_host);
    if (!out->remote_address)
        out->remote_address = set_or_null(s->remote_address);
    if (!out->session && s->multichannel)
        out->session = "shared"; /* SSHMULTICHANNEL: contexts that name no session share this one */
    return CMX_OK;
}
