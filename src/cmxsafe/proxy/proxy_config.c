#include "cmxsafe/proxy/proxy_config.h"

#include <stddef.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/proxy/originator.h"
#include "cmxsafe/proxy/proxy_limits.h"

#define DIGITS_(x) #x
#define DIGITS(x) DIGITS_(x)

/* ---- the options of a context ---- */

#define ANY 0
#define NUMBER(fallback) _Generic((fallback), int : (fallback), default : 0) /* 0 for an option with a text */

const struct cmx_context_option cmx_context_options[CMX_CONTEXT_OPTIONS] = {
#define CMX_OPTION(kind, member, task, key, min, max, fallback, direction, without, help)                              \
    {key, max, NUMBER(fallback), offsetof(struct cmx_context, member), CMX_OPTION_##kind},
#include "cmxsafe/proxy/context_options.h"
};

#define TYPE_PORT uint16_t
#define TYPE_COUNT unsigned
#define TYPE_SECONDS unsigned
#define TYPE_DIRECTION cmx_proxy_direction
#define TYPE_PEER cmx_proxy_peer
#define TYPE_SWITCH bool
#define TYPE_ID const char *
#define TYPE_NAME const char *
#define TYPE_HOST const char *
#define TYPE_ADDRESSES const char *
#define TYPE_TEXT const char *

/* Checks each row. min must be 0 or 1, because the code compares a number only with max: 0 means the default, and no
 * other value is below 1. */
#define CMX_OPTION(kind, member, task, key, min, max, fallback, direction, without, help)                              \
    _Static_assert((min) <= 1, #member ": its min would not be checked");                                              \
    _Static_assert(NUMBER(fallback) <= (max), #member ": its default is above its max");                               \
    _Static_assert(_Generic((fallback), int : 1, default : 0) == (CMX_OPTION_##kind < CMX_OPTION_ID),                  \
                   #member ": the default of a number is an int, that of a text is a text or NULL");                   \
    _Static_assert(_Generic(((struct cmx_context *)0)->member, TYPE_##kind : 1, default : 0),                          \
                   #member ": the member's type does not match the row's kind");
#include "cmxsafe/proxy/context_options.h"

/* Initialises the members in their order, one for each row, so that a member without a row, or a row without a member,
 * is a compile error. */
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wmissing-field-initializers"
__attribute__((unused)) static const struct cmx_context a_row_for_each_member = {
#define CMX_OPTION(kind, member, task, key, min, max, fallback, direction, without, help) 0,
#include "cmxsafe/proxy/context_options.h"
};
#pragma GCC diagnostic pop

bool cmx_context_option_is_text(const struct cmx_context_option *o)
{
    return o->kind >= CMX_OPTION_ID;
}

const char *cmx_context_option_text(const struct cmx_context_option *o, const void *owner)
{
    return *(const char *const *)(const void *)((const char *)owner + o->at);
}

void cmx_context_option_set_text(const struct cmx_context_option *o, void *owner, const char *text)
{
    *(const char **)(void *)((char *)owner + o->at) = text;
}

unsigned cmx_context_option_number(const struct cmx_context_option *o, const void *owner)
{
    const void *at = (const char *)owner + o->at;

    switch (o->kind) {
    case CMX_OPTION_PORT:
        return *(const uint16_t *)at;
    case CMX_OPTION_SWITCH:
        return *(const bool *)at;
    default:
        return *(const unsigned *)at;
    }
}

void cmx_context_option_set_number(const struct cmx_context_option *o, void *owner, unsigned value)
{
    void *at = (char *)owner + o->at;

    switch (o->kind) {
    case CMX_OPTION_PORT:
        *(uint16_t *)at = (uint16_t)value;
        break;
    case CMX_OPTION_SWITCH:
        *(bool *)at = value != 0;
        break;
    default:
        *(unsigned *)at = value;
    }
}

bool cmx_context_option_in_range(const struct cmx_context_option *o, unsigned value)
{
    return value <= o->max && (value > 0 || o->kind != CMX_OPTION_PORT);
}

/* ---- the options of a gateway, and its members that no configuration file sets ---- */

#define MEMBER(name) (((struct cmx_gateway *)0)->name)

#define TYPE_MS uint32_t
#define TYPE_BYTES uint64_t
#define TYPE_GATEWAYS const char *
#define TYPE_ACCOUNT const char *
#define TYPE_FILE const char *

#define CMX_GATEWAY_OPTION(kind, member, key, min, max, fallback, without, help)                                       \
    _Static_assert(NUMBER(fallback) <= (max), #member ": its default is above its max");                               \
    _Static_assert(_Generic(MEMBER(member), TYPE_##kind : 1, default : 0),                                             \
                   #member ": the member's type does not match the row's kind");
#include "cmxsafe/proxy/gateway_options.h"

#define ROW(member, key, max, fallback, kind) {key, max, fallback, offsetof(struct cmx_gateway, member), kind},
#define ROW_PORT(member, key, max, fallback) ROW(member, key, max, fallback, CMX_OPTION_PORT)
#define ROW_SECONDS(member, key, max, fallback) ROW(member, key, max, fallback, CMX_OPTION_SECONDS)
#define ROW_COUNT(member, key, max, fallback) ROW(member, key, max, fallback, CMX_OPTION_COUNT)
#define ROW_MS ROW_COUNT
#define ROW_TEXT(member, key, max, fallback) ROW(member, NULL, 0, 0, CMX_OPTION_TEXT)
#define ROW_GATEWAYS ROW_TEXT
#define ROW_ACCOUNT ROW_TEXT
#define ROW_FILE ROW_TEXT
#define ROW_SWITCH(member, key, max, fallback) ROW(member, NULL, max, fallback, CMX_OPTION_SWITCH)
#define ROW_BYTES(member, key, max, fallback)

/* clang-format off */
static const struct cmx_context_option gateway_options[] = {
#define CMX_GATEWAY_OPTION(kind, member, key, min, max, fallback, without, help) ROW_##kind(member, key, max, fallback)
#include "cmxsafe/proxy/gateway_options.h"
    ROW_TEXT(key_pem, , , )
    ROW_TEXT(key_passphrase, , , )
    ROW_TEXT(password, , , )
};
/* clang-format on */
#define GATEWAY_OPTIONS (sizeof gateway_options / sizeof gateway_options[0])

/* ---- copying and comparing the n members of owner that the rows o describe ---- */

/* Replaces each borrowed text by a copy, an address by its canonical form. After a failure the texts that have no copy
 * are NULL, so that free_texts can always be called. */
static cmx_err own_texts(const struct cmx_context_option *o, size_t n, void *owner)
{
    cmx_err err = CMX_OK;

    for (; n--; o++) {
        const char *text = cmx_context_option_is_text(o) ? cmx_context_option_text(o, owner) : NULL;
        char address[CMX_PROXY_ADDRESS_MAX];
        bool canonical = text && o->kind == CMX_OPTION_HOST && cmx_proxy_address_canonical(text, address);
        const char *copy = text && !err ? cmx_mem_strdup(canonical ? address : text) : NULL;

        if (text && !copy)
            err = CMX_ENOMEM;
        if (text)
            cmx_context_option_set_text(o, owner, copy);
    }
    return err;
}

static void free_texts(const struct cmx_context_option *o, size_t n, const void *owner)
{
    for (; n--; o++)
        if (cmx_context_option_is_text(o))
            cmx_mem_free_secret((void *)(uintptr_t)cmx_context_option_text(o, owner));
}

static bool equal_text(const char *x, const char *y)
{
    return x && y ? strcmp(x, y) == 0 : x == y;
}

static bool equal(const struct cmx_context_option *o, size_t n, const void *a, const void *b)
{
    for (; n--; o++)
        if (cmx_context_option_is_text(o) ? !equal_text(cmx_context_option_text(o, a), cmx_context_option_text(o, b))
                                          : cmx_context_option_number(o, a) != cmx_context_option_number(o, b))
            return false;
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

/* Returns the setting that is wrong and why, or NULL. */
static const char *gateway_fault(const struct cmx_gateway *g)
{
    if (empty(g->host))
        return "host: missing";
    if (empty(g->user))
        return "user: missing";
    if (g->n_host_keys == 0)
        return "host_key: missing; pin it (ssh-keyscan HOST | ssh-keygen -lf -)";
    if (g->n_host_keys > CMX_PROXY_HOST_KEYS_MAX)
        return "host_key: more than " DIGITS(CMX_PROXY_HOST_KEYS_MAX) " pins";
    if (!g->key_file && !g->key_pem && !g->key_load && !g->password)
        return "credentials: no key and no password";
    return NULL;
}

/* fault: the setting that is wrong and why. */
static cmx_err context_invalid(const struct cmx_context *c, const char *fault, struct cmx_why *why)
{
    return cmx_why_fail(why, CMX_EINVAL, "context %s %s", c->name, fault);
}

cmx_err cmx_proxy_context_check_originators(const struct cmx_context *c, struct cmx_why *why)
{
    struct cmx_ip ip;

    if (c->allow_from && cmx_originator_check_list(c->allow_from) != CMX_OK)
        return context_invalid(
            c, "allow_from: not a list of 1 to " DIGITS(CMX_PROXY_ALLOW_MAX) " addresses or prefixes", why);
    if (c->peer == CMX_PEER_MIRROR && (!cmx_ip_parse(&ip, c->local_host) || cmx_ip_is_v4(&ip)))
        return cmx_why_fail(why, CMX_EINVAL, "context %s peer: mirror needs an IPv6 local_host such as ::1, not %.40s",
                            c->name, c->local_host);
    return CMX_OK;
}

/* Sets the numbers of owner that are 0 to their defaults, and checks all numbers. what, name: the kind and the name of
 * the owner, for the message in *why. */
static cmx_err settle_numbers(const struct cmx_context_option *o, size_t n, void *owner, const char *what,
                              const char *name, struct cmx_why *why)
{
    for (; n--; o++) {
        unsigned value;

        if (cmx_context_option_is_text(o))
            continue;
        if (cmx_context_option_number(o, owner) == 0)
            cmx_context_option_set_number(o, owner, o->fallback);
        value = cmx_context_option_number(o, owner);
        if (value == 0 && o->kind == CMX_OPTION_PORT)
            return cmx_why_fail(why, CMX_EINVAL, "%s%s %s: missing", what, name, o->key);
        if (value > o->max)
            return cmx_why_fail(why, CMX_EINVAL, "%s%s %s: %u is more than %u", what, name, o->key, value,
                                (unsigned)o->max);
    }
    return CMX_OK;
}

static cmx_err check_options(struct cmx_context *c, struct cmx_why *why)
{
    cmx_err err = settle_numbers(cmx_context_options, CMX_CONTEXT_OPTIONS, c, "context ", c->name, why);

    if (err)
        return err;
    if (c->direction == CMX_DIRECT && empty(c->remote_host))
        return context_invalid(c, "remote_host: missing", why);
    if (c->session && (!*c->session || too_long(c->session)))
        return context_invalid(c, "session: empty or too long", why);
    return cmx_proxy_context_check_originators(c, why);
}

const char *cmx_proxy_fleet_prefix(const char *remote_address)
{
    const size_t n = sizeof CMX_PROXY_FLEET - 1;

    return remote_address && strncmp(remote_address, CMX_PROXY_FLEET, n) == 0 ? remote_address + n : NULL;
}

static cmx_err check_fleet(const struct cmx_gateway *g, const struct cmx_context *c, struct cmx_why *why)
{
    const char *prefix = cmx_proxy_fleet_prefix(c->remote_address);
    char address[CMX_PROXY_ADDRESS_MAX];

    if (!prefix || (g->fleet_address && g->fleet_address(prefix, "", 0, address) == CMX_OK))
        return CMX_OK;
    return cmx_why_fail(why, CMX_EINVAL, "context %s remote_address: '%.60s' is not a fleet's prefix", c->name,
                        c->remote_address);
}

static cmx_err parse_gateways(struct cmx_proxy_config *c, struct cmx_why *why)
{
    cmx_err err = cmx_gateway_list_parse(&c->gateways, c->gateway.host, c->gateway.port, why);

    return err && why ? cmx_why_fail(why, err, "gateway host: %s", why->text) : err;
}

static cmx_err parse_pins(struct cmx_proxy_config *c, const struct cmx_gateway *g, struct cmx_why *why)
{
    for (size_t i = 0; i < g->n_host_keys; i++) {
        cmx_err err = cmx_pin_parse(&c->pins[i], g->host_keys[i]);

        if (err)
            return cmx_why_fail(why, CMX_EINVAL,
                                "gateway host_key '%.40s': %s; expected SHA256:... or a known_hosts line",
                                g->host_keys[i], cmx_err_text(err));
    }
    c->n_pins = g->n_host_keys;
    if (cmx_pin_types(c->pins, c->n_pins) == 0)
        return cmx_why_fail(why, CMX_EINVAL, "gateway host_key: every pinned key is revoked");
    return CMX_OK;
}

static bool same_listener(const struct cmx_context *a, const struct cmx_context *b)
{
    if (a->direction != b->direction)
        return false;
    if (a->direction == CMX_DIRECT)
        return a->local_port == b->local_port && strcmp(a->local_host, b->local_host) == 0;
    return a->remote_port == b->remote_port && strcmp(a->remote_address, b->remote_address) == 0;
}

/* Fills in the default numbers of the context all[at], and checks it by itself and against the contexts before it. */
static cmx_err check_context(const struct cmx_gateway *g, struct cmx_context *all, size_t at, struct cmx_why *why)
{
    struct cmx_context *c = &all[at];
    cmx_err err;

    if (empty(c->name) || too_long(c->name))
        return cmx_why_fail(why, CMX_EINVAL, "context name: missing or too long");
    err = check_options(c, why);
    if (!err)
        err = check_fleet(g, c, why);
    for (size_t i = 0; !err && i < at; i++) {
        if (strcmp(c->name, all[i].name) == 0)
            err = context_invalid(c, "name: given twice", why);
        else if (same_listener(c, &all[i]))
            err = cmx_why_fail(why, CMX_EINVAL, "contexts %s and %s have the same listener", all[i].name, c->name);
    }
    return err;
}

/* ---- building ---- */

/* Copies the contexts, with their defaults, and checks the copies. */
static cmx_err own_contexts(struct cmx_proxy_config *c, const struct cmx_context *contexts, size_t n,
                            struct cmx_why *why)
{
    cmx_err err = CMX_OK;

    if (n > CMX_PROXY_CONTEXTS_MAX)
        return cmx_why_fail(why, CMX_EINVAL, "contexts: %zu, maximum %d", n, CMX_PROXY_CONTEXTS_MAX);
    c->contexts = cmx_mem_alloc((n + 1) * sizeof *contexts); /* + 1: a size must not be 0 */
    if (!c->contexts)
        return CMX_ENOMEM;
    while (!err && c->n_contexts < n) {
        struct cmx_context context = contexts[c->n_contexts];

        if (!context.local_host)
            context.local_host = CMX_PROXY_LOCAL_HOST;
        if (!context.remote_address)
            context.remote_address = "localhost"; /* the gateway's loopback (RFC 4254 section 7.1) */
        err = cmx_proxy_context_copy(&c->contexts[c->n_contexts++], &context);
        if (!err)
            err = check_context(&c->gateway, c->contexts, c->n_contexts - 1, why);
    }
    return err;
}

cmx_err cmx_proxy_config_new(struct cmx_proxy_config **out, const struct cmx_gateway *gateway,
                             const struct cmx_context *contexts, size_t n_contexts, struct cmx_why *why)
{
    const char *fault = gateway_fault(gateway);
    struct cmx_proxy_config *c;
    cmx_err err;

    *out = NULL;
    cmx_why_set(why, "%s", "");
    if (fault)
        return cmx_why_fail(why, CMX_EINVAL, "gateway %s", fault);
    c = cmx_mem_alloc(sizeof *c);
    if (!c)
        return CMX_ENOMEM;
    err = parse_pins(c, gateway, why);
    if (!err) {
        c->gateway = *gateway;
        c->gateway.host_keys = NULL; /* the texts are borrowed, and parse_pins has already converted them to pins */
        err = own_texts(gateway_options, GATEWAY_OPTIONS, &c->gateway);
    }
    if (!err)
        err = settle_numbers(gateway_options, GATEWAY_OPTIONS, &c->gateway, "gateway", "", why);
    if (!err)
        err = parse_gateways(c, why);
    if (!err)
        err = own_contexts(c, contexts, n_contexts, why);
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
    free_texts(gateway_options, GATEWAY_OPTIONS, &c->gateway);
    for (size_t i = 0; i < c->n_contexts; i++)
        cmx_proxy_context_release(&c->contexts[i]);
    cmx_mem_free(c->contexts);
    cmx_mem_free(c);
}

bool cmx_proxy_config_same_gateway(const struct cmx_proxy_config *a, const struct cmx_proxy_config *b)
{
    const struct cmx_gateway *x = &a->gateway, *y = &b->gateway;

    if (a->n_pins != b->n_pins || !equal(gateway_options, GATEWAY_OPTIONS, x, y) || x->rekey_bytes != y->rekey_bytes ||
        x->key_load != y->key_load || x->key_load_arg != y->key_load_arg || x->fleet_address != y->fleet_address)
        return false;
    for (size_t i = 0; i < a->n_pins; i++)
        if (a->pins[i].types != b->pins[i].types || a->pins[i].revoked != b->pins[i].revoked ||
            memcmp(a->pins[i].digest, b->pins[i].digest, CMX_SHA256_LEN) != 0)
            return false;
    return true;
}

bool cmx_proxy_address_canonical(const char *host, char out[CMX_PROXY_ADDRESS_MAX])
{
    struct cmx_ip ip;

    if (!cmx_ip_parse(&ip, host))
        return false;
    cmx_ip_text(&ip, out);
    return true;
}

cmx_err cmx_proxy_context_copy(struct cmx_context *out, const struct cmx_context *c)
{
    *out = *c;
    return own_texts(cmx_context_options, CMX_CONTEXT_OPTIONS, out);
}

void cmx_proxy_context_release(struct cmx_context *c)
{
    free_texts(cmx_context_options, CMX_CONTEXT_OPTIONS, c);
}

bool cmx_proxy_context_equal(const struct cmx_context *a, const struct cmx_context *b)
{
    return equal(cmx_context_options, CMX_CONTEXT_OPTIONS, a, b);
}

const char *cmx_proxy_context_session(const struct cmx_context *c)
{
    return c->session ? c->session : c->name;
}
