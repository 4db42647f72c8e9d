#include "cmxsafe/proxy/config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/proxy/limits.h"

#define TEXT(x) #x
#define NUMBER(x) TEXT(x)

struct why {
    char *text;
    size_t cap;
};

static cmx_err refuse(struct why *why, const char *fmt, ...) CMX_PRINTF(2, 3);
static cmx_err refuse(struct why *why, const char *fmt, ...)
{
    va_list ap;

    if (why->text) {
        va_start(ap, fmt);
        vsnprintf(why->text, why->cap, fmt, ap);
        va_end(ap);
    }
    return CMX_EINVAL;
}

/* ---- the fields of a gateway and of a context, by tables: copied, compared and freed alike ---- */

struct field {
    uint8_t at;
    uint8_t size; /* 0: a string */
};

#define STRING(type, member)                                                                                           \
    {                                                                                                                  \
        offsetof(struct type, member), 0                                                                               \
    }
#define VALUE(type, member)                                                                                            \
    {                                                                                                                  \
        offsetof(struct type, member), sizeof(((struct type *)0)->member)                                              \
    }

static const struct field gateway_fields[] = {
    STRING(cmx_gateway, host),           STRING(cmx_gateway, user),
    STRING(cmx_gateway, key_file),       STRING(cmx_gateway, key_pem),
    STRING(cmx_gateway, ciphers),        STRING(cmx_gateway, key_passphrase),
    STRING(cmx_gateway, password),       VALUE(cmx_gateway, port),
    VALUE(cmx_gateway, key_load),        VALUE(cmx_gateway, key_load_arg),
    VALUE(cmx_gateway, login_timeout_s), VALUE(cmx_gateway, keepalive_s),
    VALUE(cmx_gateway, keepalive_max),   VALUE(cmx_gateway, backoff_base_ms),
    VALUE(cmx_gateway, backoff_max_ms),  VALUE(cmx_gateway, rekey_bytes),
};

static const struct field context_fields[] = {
    STRING(cmx_context, name),
    STRING(cmx_context, local_host),
    STRING(cmx_context, remote_address),
    STRING(cmx_context, remote_host),
    STRING(cmx_context, session),
    VALUE(cmx_context, direction),
    VALUE(cmx_context, local_port),
    VALUE(cmx_context, remote_port),
    VALUE(cmx_context, high_bw),
    VALUE(cmx_context, max_connections),
    VALUE(cmx_context, idle_timeout_s),
    VALUE(cmx_context, connect_timeout_s),
    VALUE(cmx_context, probe_interval_s),
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char **string_at(void *base, const struct field *f)
{
    return (char **)(void *)((char *)base + f->at);
}

/* Replaces each borrowed string by a copy. All fields are set, to NULL after a failure, so that free is always right.
 */
static cmx_err own_strings(void *base, const struct field *fields, size_t n)
{
    cmx_err err = CMX_OK;

    for (const struct field *f = fields; f < fields + n; f++) {
        char **s = string_at(base, f);

        if (f->size || !*s)
            continue;
        *s = err ? NULL : cmx_mem_strdup(*s);
        if (!*s)
            err = CMX_ENOMEM;
    }
    return err;
}

static void free_strings(void *base, const struct field *fields, size_t n)
{
    for (const struct field *f = fields; f < fields + n; f++)
        if (!f->size)
            cmx_mem_free_secret(*string_at(base, f));
}

static bool equal_text(const char *x, const char *y)
{
    return x && y ? strcmp(x, y) == 0 : x == y;
}

static bool equal(const void *a, const void *b, const struct field *fields, size_t n)
{
    for (const struct field *f = fields; f < fields + n; f++) {
        const void *x = (const char *)a + f->at, *y = (const char *)b + f->at;

        if (f->size ? memcmp(x, y, f->size) != 0 : !equal_text(*(const char *const *)x, *(const char *const *)y))
            return false;
    }
    return true;
}

/* ---- checks ---- */

static bool empty(const char *s)
{
    return !s || !*s;
}

static bool too_long(const char *name)
{
    return name && strlen(name) >= CMX_PROXY_NAME_MAX;
}

/* What is wrong, or NULL; so are the following. */
static const char *gateway_fault(const struct cmx_gateway *g)
{
    if (empty(g->host))
        return "host: missing";
    if (empty(g->user))
        return "user: missing";
    if (g->n_host_keys == 0)
        return "host_key: missing; pin it (ssh-keyscan HOST | ssh-keygen -lf -)";
    if (g->n_host_keys > CMX_PROXY_HOST_KEYS_MAX)
        return "host_key: more than " NUMBER(CMX_PROXY_HOST_KEYS_MAX) " pins";
    if (!g->key_file && !g->key_pem && !g->key_load && !g->password)
        return "credentials: no key and no password";
    return NULL;
}

static const char *context_fault(const struct cmx_context *c)
{
    if (too_long(c->session) || (c->session && !*c->session))
        return "session: empty or too long";
    if (c->local_port == 0)
        return "local_port: missing";
    if (c->remote_port == 0)
        return "remote_port: missing";
    if (c->direction != CMX_REVERSE && c->direction != CMX_DIRECT)
        return "direction: neither reverse nor direct";
    if (c->direction == CMX_DIRECT && empty(c->remote_host))
        return "remote_host: missing";
    if (c->max_connections > CMX_PROXY_CONNECTIONS_MAX)
        return "max_connections: more than " NUMBER(CMX_PROXY_CONNECTIONS_MAX);
    return NULL;
}

static cmx_err parse_pins(struct cmx_proxy_config *c, const struct cmx_gateway *g, struct why *why)
{
    for (size_t i = 0; i < g->n_host_keys; i++) {
        cmx_err err = cmx_pin_parse(&c->pins[i], g->host_keys[i]);

        if (err)
            return refuse(why, "gateway host_key '%.40s': %s; expected SHA256:... or a known_hosts line",
                          g->host_keys[i], cmx_err_text(err));
    }
    c->n_pins = g->n_host_keys;
    return CMX_OK;
}

static const char *or_default(const char *s, const char *fallback)
{
    return s ? s : fallback;
}

static bool same_listener(const struct cmx_context *a, const struct cmx_context *b)
{
    if (a->direction != b->direction)
        return false;
    if (a->direction == CMX_DIRECT)
        return a->local_port == b->local_port &&
               strcmp(or_default(a->local_host, "127.0.0.1"), or_default(b->local_host, "127.0.0.1")) == 0;
    return a->remote_port == b->remote_port &&
           strcmp(or_default(a->remote_address, "localhost"), or_default(b->remote_address, "localhost")) == 0;
}

static cmx_err check_context(const struct cmx_context *all, size_t at, struct why *why)
{
    const struct cmx_context *c = &all[at];
    const char *fault;

    if (empty(c->name) || too_long(c->name))
        return refuse(why, "context name: missing or too long");
    fault = context_fault(c);
    for (size_t i = 0; !fault && i < at; i++) {
        if (strcmp(c->name, all[i].name) == 0)
            fault = "name: there twice";
        else if (same_listener(c, &all[i]))
            return refuse(why, "contexts %s and %s: the same listener", all[i].name, c->name);
    }
    return fault ? refuse(why, "context %s %s", c->name, fault) : CMX_OK;
}

static cmx_err check(const struct cmx_gateway *g, const struct cmx_context *c, size_t n, struct why *why)
{
    const char *fault = gateway_fault(g);
    cmx_err err = CMX_OK;

    if (fault)
        return refuse(why, "gateway %s", fault);
    if (n == 0 || n > CMX_PROXY_CONTEXTS_MAX)
        return refuse(why, "contexts: %zu instead of 1 to %d", n, CMX_PROXY_CONTEXTS_MAX);
    for (size_t i = 0; !err && i < n; i++)
        err = check_context(c, i, why);
    return err;
}

/* ---- building ---- */

static void set_default(unsigned *value, unsigned fallback)
{
    if (*value == 0)
        *value = fallback;
}

static void gateway_defaults(struct cmx_gateway *g)
{
    if (g->port == 0)
        g->port = 22;
    set_default(&g->login_timeout_s, CMX_PROXY_LOGIN_TIMEOUT_S);
    set_default(&g->keepalive_s, CMX_PROXY_KEEPALIVE_S);
    set_default(&g->keepalive_max, CMX_PROXY_KEEPALIVE_MAX);
    if (g->backoff_base_ms == 0)
        g->backoff_base_ms = CMX_PROXY_BACKOFF_BASE_MS;
    if (g->backoff_max_ms == 0)
        g->backoff_max_ms = CMX_PROXY_BACKOFF_MAX_MS;
    /* The pins have been parsed; the borrowed texts are not kept. */
    g->host_keys = NULL;
}

static cmx_err copy_contexts(struct cmx_proxy_config *c, const struct cmx_context *contexts, size_t n)
{
    c->contexts = cmx_mem_alloc(n * sizeof *contexts);
    if (!c->contexts)
        return CMX_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        cmx_err err;

        c->n_contexts = i + 1;
        err = cmx_context_copy(&c->contexts[i], &contexts[i]);
        if (err)
            return err;
        set_default(&c->contexts[i].max_connections, CMX_PROXY_CONNECTIONS_DEFAULT);
        set_default(&c->contexts[i].connect_timeout_s, CMX_RELAY_CONNECT_TIMEOUT_S);
    }
    return CMX_OK;
}

cmx_err cmx_proxy_config_new(struct cmx_proxy_config **out, const struct cmx_gateway *gateway,
                             const struct cmx_context *contexts, size_t n_contexts, char *why_text, size_t why_cap)
{
    struct why why = {why_cap ? why_text : NULL, why_cap};
    struct cmx_proxy_config *c;
    cmx_err err;

    *out = NULL;
    if (why.text)
        why.text[0] = 0;
    err = check(gateway, contexts, n_contexts, &why);
    if (err)
        return err;
    c = cmx_mem_alloc(sizeof *c);
    if (!c)
        return CMX_ENOMEM;
    err = parse_pins(c, gateway, &why);
    if (!err) {
        c->gateway = *gateway;
        gateway_defaults(&c->gateway);
        err = own_strings(&c->gateway, gateway_fields, COUNT(gateway_fields));
    }
    if (!err)
        err = copy_contexts(c, contexts, n_contexts);
    if (err) {
        cmx_proxy_config_free(c);
        return err;
    }
    *out = c;
    return CMX_OK;
}

void cmx_proxy_config_free(struct cmx_proxy_config *c)
{
    if (!c)
        return;
    free_strings(&c->gateway, gateway_fields, COUNT(gateway_fields));
    for (size_t i = 0; i < c->n_contexts; i++)
        cmx_context_release(&c->contexts[i]);
    cmx_mem_free(c->contexts);
    cmx_mem_free(c);
}

bool cmx_proxy_config_same_gateway(const struct cmx_proxy_config *a, const struct cmx_proxy_config *b)
{
    if (a->n_pins != b->n_pins || !equal(&a->gateway, &b->gateway, gateway_fields, COUNT(gateway_fields)))
        return false;
    for (size_t i = 0; i < a->n_pins; i++)
        if (a->pins[i].types != b->pins[i].types || memcmp(a->pins[i].digest, b->pins[i].digest, 32) != 0)
            return false;
    return true;
}

cmx_err cmx_context_copy(struct cmx_context *out, const struct cmx_context *c)
{
    *out = *c;
    return own_strings(out, context_fields, COUNT(context_fields));
}

void cmx_context_release(struct cmx_context *c)
{
    free_strings(c, context_fields, COUNT(context_fields));
}

bool cmx_context_equal(const struct cmx_context *a, const struct cmx_context *b)
{
    return equal(a, b, context_fields, COUNT(context_fields));
}

const char *cmx_context_session(const struct cmx_context *c)
{
    return c->session ? c->session : c->name;
}
