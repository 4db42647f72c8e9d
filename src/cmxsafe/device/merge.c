#include "cmxsafe/device/merge.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/text.h"

static const char *set_or_null(const char *s)
{
    return s && s[0] ? s : NULL;
}

/* ---- merging, by tables: what is not zero, and no empty text, wins ---- */

typedef enum { TEXT, NUMBER, SWITCH } field_kind;

struct field {
    uint8_t at;
    uint8_t kind; /* field_kind */
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
    SETTING(NUMBER, local_port_offset),
    SETTING(TEXT, ota_public_key),
};

#define OF_TASK(kind, member)                                                                                          \
    {                                                                                                                  \
        offsetof(TaskParameters, member), kind                                                                         \
    }
static const struct field task_fields[] = {
    OF_TASK(NUMBER, forward_remote_port),
    OF_TASK(SWITCH, high_bw),
    OF_TASK(TEXT, remote_address),
    OF_TASK(TEXT, remote_host),
    OF_TASK(NUMBER, max_connections),
    OF_TASK(NUMBER, idle_timeout_s),
    OF_TASK(TEXT, session),
    OF_TASK(NUMBER, probe_interval_s),
    OF_TASK(TEXT, name),
    OF_TASK(NUMBER, connect_timeout_s),
    OF_TASK(TEXT, local_host),
    OF_TASK(TEXT, tasks),
};

static void merge(void *to, const void *from, const struct field *f, size_t n)
{
    for (const struct field *end = f + n; f < end; f++) {
        void *t = (char *)to + f->at;
        const void *o = (const char *)from + f->at;

        if (f->kind == SWITCH)
            *(bool *)t = *(bool *)t || *(const bool *)o;
        else if (f->kind == TEXT && set_or_null(*(const char *const *)o))
            *(const char **)t = *(const char *const *)o;
        else if (f->kind == NUMBER && *(const int *)o)
            *(int *)t = *(const int *)o;
    }
}

CMX_SMALL static bool any_pin(const char *const *pins, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (set_or_null(pins[i]))
            return true;
    return false;
}

bool cmx_settings_has_pin(const struct cmx_settings *s)
{
    return any_pin(s->host_keys, s->n_host_keys);
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
    merge(s, over, settings_fields, sizeof settings_fields / sizeof settings_fields[0]);
}

void cmx_settings_merge_context(TaskParameters *t, const TaskParameters *over)
{
    if (over->direction != t->direction || over->local_port != t->local_port)
        return;
    merge(t, over, task_fields, sizeof task_fields / sizeof task_fields[0]);
}

cmx_log_level cmx_settings_log_level(const struct cmx_settings *s)
{
    static const char chatty[] = "SSH_LOG_PACKET\0SSH_LOG_FUNCTIONS\0SSH_LOG_DEBUG\0SSH_LOG_TRACE\0"
                                 "3\0"
                                 "4\0";
    const char *v = s->verbosity ? s->verbosity : "";
    size_t len = strcspn(v, "; "); /* the original's settings.h ends the macro in a semicolon */

    for (const char *word = chatty; *word; word += strlen(word) + 1)
        if (strlen(word) == len && strncmp(word, v, len) == 0)
            return CMX_LOG_DEBUG;
    return CMX_LOG_INFO;
}

CMX_SMALL static unsigned unsigned_of(int v)
{
    return v > 0 ? (unsigned)v : 0;
}

void cmx_settings_gateway(const struct cmx_settings *s, struct cmx_gateway *out)
{
    *out = (struct cmx_gateway){
        .host = set_or_null(s->remote_host),
        .port = s->remote_port > 0 && s->remote_port <= UINT16_MAX ? (uint16_t)s->remote_port : 0,
        .user = set_or_null(s->username),
        .host_keys = s->host_keys,
        .n_host_keys = s->n_host_keys,
        .key_file = set_or_null(s->client_key_file),
        .key_pem = set_or_null(s->client_key),
        .key_passphrase = set_or_null(s->client_key_passphrase),
        .password = set_or_null(s->password),
        .ciphers = set_or_null(s->ciphers),
        .login_timeout_s = unsigned_of(s->timeout_s),
        .keepalive_s = unsigned_of(s->keepalive_s),
    };
}

static bool is_port(int v)
{
    return v >= 1 && v <= UINT16_MAX;
}

static bool is_sound(const TaskParameters *t)
{
    if (!is_port(t->local_port) || !is_port(t->forward_remote_port))
        return false;
    if (t->direction != CMX_TASK_REVERSE && t->direction != CMX_TASK_DIRECT)
        return false;
    if (t->direction == CMX_TASK_DIRECT && !set_or_null(t->remote_host))
        return false;
    return t->max_connections >= 0 && t->max_connections <= CMX_PROXY_CONNECTIONS_MAX && t->idle_timeout_s >= 0 &&
           t->probe_interval_s >= 0 && t->connect_timeout_s >= 0;
}

cmx_err cmx_settings_context(const struct cmx_settings *s, const TaskParameters *t, struct cmx_context *out, char *name,
                             size_t name_cap)
{
    if (!is_sound(t) || !is_port(t->local_port + s->local_port_offset))
        return CMX_EINVAL;
    if (snprintf(name, name_cap, "%s-%d", t->direction == CMX_TASK_DIRECT ? "direct" : "port", t->local_port) < 0)
        return CMX_EINVAL;
    *out = (struct cmx_context){
        .name = set_or_null(t->name) ? t->name : name,
        .direction = t->direction == CMX_TASK_DIRECT ? CMX_DIRECT : CMX_REVERSE,
        .local_host = set_or_null(t->local_host) ? t->local_host : set_or_null(s->local_host),
        .local_port = (uint16_t)(t->local_port + s->local_port_offset),
        .remote_port = (uint16_t)t->forward_remote_port,
        .remote_address = set_or_null(t->remote_address) ? t->remote_address : set_or_null(s->remote_address),
        .remote_host = set_or_null(t->remote_host),
        .tasks = set_or_null(t->tasks),
        .high_bw = t->high_bw,
        .max_connections = unsigned_of(t->max_connections),
        .idle_timeout_s = unsigned_of(t->idle_timeout_s),
        .connect_timeout_s = unsigned_of(t->connect_timeout_s),
        /* SSHMULTICHANNEL: all in one session, but those that name another. */
        .session = set_or_null(t->session) ? t->session
                   : s->multichannel       ? "shared"
                                           : NULL,
        .probe_interval_s = unsigned_of(t->probe_interval_s),
    };
    return CMX_OK;
}
