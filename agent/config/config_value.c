/* config_value.c - converts the values of keys from and to text, for each type in config_table.h. */
#include <stdio.h>
#include <string.h>

#include "agent/config/config_table.h"
#include "cmxsafe/core/ip.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/nearest.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/identity/fleet.h"
#include "cmxsafe/proxy/gateways.h"
#include "cmxsafe/proxy/proxy_config.h"
#include "port/linux/host_name.h"

#define TEXT_MAX_DEFAULT 255

struct unit {
    const char *suffix;
    uint64_t factor;
};

static const struct unit durations[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {"", 1000}};
static const struct unit sizes[] = {{"k", 1 << 10}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"", 1}};
static const struct unit plain[] = {{"", 1}};

/* Reads a number that may end in one of the suffixes in `units`. CMX_EFORMAT: text is not such a number; CMX_EINVAL:
 * the value overflows. */
static cmx_err number(const char *text, const struct unit *units, size_t n_units, uint64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    char copy[24];

    if (digits == 0)
        return CMX_EFORMAT;
    if (digits >= sizeof copy)
        return CMX_EINVAL;
    memcpy(copy, text, digits);
    copy[digits] = 0;
    for (size_t i = 0; i < n_units; i++) {
        cmx_err err;

        if (strcmp(text + digits, units[i].suffix) != 0)
            continue;
        err = cmx_text_u64(copy, 0, UINT64_MAX / units[i].factor, out);
        if (!err)
            *out *= units[i].factor;
        return err;
    }
    return CMX_EFORMAT;
}

/* Stores v in 2, 4 or 8 bytes, as k->size says. */
static void store(const struct config_key *k, void *at, uint64_t v)
{
    if (k->size == 2)
        *(uint16_t *)at = (uint16_t)v;
    else if (k->size == 4)
        *(uint32_t *)at = (uint32_t)v;
    else
        *(uint64_t *)at = v;
}

static cmx_err set_number(const struct config_key *k, void *at, const char *text, struct cmx_why *why)
{
    const struct unit *units = k->type == CONFIG_DURATION ? durations : k->type == CONFIG_BYTES ? sizes : plain;
    size_t n = k->type == CONFIG_DURATION ? sizeof durations / sizeof durations[0]
               : k->type == CONFIG_BYTES  ? sizeof sizes / sizeof sizes[0]
                                          : 1;
    uint64_t step = k->type != CONFIG_DURATION ? 1 : k->step ? k->step : 1000;
    uint64_t v = 0;
    char range[64];
    cmx_err err = number(text, units, n, &v);

    config_values(k, range, sizeof range);
    if (err == CMX_EFORMAT)
        return cmx_why_fail(why, CMX_EINVAL, "'%.40s' is not %s", text,
                            k->type == CONFIG_DURATION ? "a duration (such as 90s, 5m, 1h)"
                            : k->type == CONFIG_BYTES  ? "a size (such as 64k, 512M, 1G)"
                                                       : "a number");
    if (err || v < k->min || v > k->max)
        return cmx_why_fail(why, CMX_EINVAL, "%.40s is out of range: %s", text, range);
    if (v % step)
        return cmx_why_fail(why, CMX_EINVAL, "%.40s: give whole seconds", text);
    store(k, at, k->unit ? v / k->unit : v);
    return CMX_OK;
}

static cmx_err set_bool(bool *at, const char *text, struct cmx_why *why)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(text, words[i]) == 0) {
            *at = i % 2 != 0;
            return CMX_OK;
        }
    return cmx_why_fail(why, CMX_EINVAL, "'%.40s' is neither yes nor no", text);
}

static cmx_err set_choice(const struct config_key *k, void *at, const char *text, struct cmx_why *why)
{
    struct cmx_nearest near = CMX_NEAREST_INIT(text);
    char values[96];

    for (size_t i = 0; k->choices[i]; i++) {
        if (strcmp(text, k->choices[i]) == 0) {
            store(k, at, i);
            return CMX_OK;
        }
        cmx_nearest_offer(&near, k->choices[i]);
    }
    config_values(k, values, sizeof values);
    if (cmx_nearest_result(&near))
        return cmx_why_fail(why, CMX_EINVAL, "'%.40s' is not known; did you mean '%s'?", text,
                            cmx_nearest_result(&near));
    return cmx_why_fail(why, CMX_EINVAL, "'%.40s' is not %s", text, values);
}

static bool only(const char *text, const char *allowed)
{
    return text[strspn(text, allowed)] == 0;
}

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char no_zone[] = "is a link-local address without its interface; write it as ADDRESS%INTERFACE";

/* True for a link-local IPv6 address without a zone, with or without brackets: Linux can't connect to it. */
static bool lacks_zone(const char *host)
{
    const char *begin = host + (host[0] == '[');
    char address[CMX_IP_TEXT_MAX];
    struct cmx_ip ip;

    snprintf(address, sizeof address, "%.*s", (int)strcspn(begin, "]"), begin);
    return cmx_ip_parse(&ip, address) && cmx_ip_is_link_local6(&ip);
}

static cmx_err check_gateways(const char *text, struct cmx_why *why)
{
    struct cmx_gateway_list gateways;
    cmx_err err = cmx_host_check_gateways(text, why);

    if (!err)
        err = cmx_gateway_list_parse(&gateways, text, 1, why);
    for (size_t i = 0; !err && i < gateways.n; i++)
        if (lacks_zone(gateways.at[i].host))
            err = cmx_why_fail(why, CMX_EINVAL, "'%.60s' %s", gateways.at[i].host, no_zone);
    return err;
}

/* Returns why text is not a valid value of the key, or NULL. */
static const char *text_fault(const struct config_key *k, const char *text)
{
    size_t len = strlen(text);
    size_t max = k->max ? (size_t)k->max : TEXT_MAX_DEFAULT;
    uint8_t prefix[CMX_IPV6_LEN];
    unsigned bits;

    switch (k->type) {
    case CONFIG_NAME:
        if (len >= CMX_PROXY_NAME_MAX)
            return "is longer than 31 characters";
        return only(text, ALNUM "._-") ? NULL : "may hold letters, digits, '.', '_' and '-' only";
    case CONFIG_HOST:
        if (strcmp(k->key, "remote_address") == 0 && cmx_proxy_fleet_prefix(text))
            return cmx_fleet_parse(cmx_proxy_fleet_prefix(text), prefix, &bits) ? "is not a fleet's prefix" : NULL;
        if (strcmp(k->key, "local_host") == 0 && lacks_zone(text))
            return no_zone;
        return strcmp(k->key, "remote_address") == 0 && strcmp(text, "*") == 0 ? NULL : cmx_host_fault(text);
    case CONFIG_PATH:
        return text[0] != '/' ? "must be an absolute path" : len > max ? "is too long" : NULL;
    case CONFIG_PIN_LIST:
        if (strncmp(text, "SHA256:", 7) == 0)
            return strlen(text) == 7 + 43 && only(text + 7, ALNUM "+/")
                       ? NULL
                       : "is not a whole SHA256 fingerprint (43 base64 digits)";
        if (strstr(text, " SHA256:"))
            return "is ssh-keygen's whole line: give only the SHA256:... part";
        return strchr(text, ' ') || strchr(text, '\t') ? NULL : "is neither SHA256:... nor a known_hosts line";
    default:
        return len > max ? "is too long" : NULL;
    }
}

/* Addresses are stored without brackets and in canonical form, so that they can be compared as text. */
static char *copy_text(const struct config_key *k, const char *text)
{
    char host[CMX_HOST_NAME_MAX + 1], address[CMX_PROXY_ADDRESS_MAX];
    size_t len = strlen(text);

    if (k->type != CONFIG_HOST)
        return cmx_mem_strdup(text);
    if (text[0] == '[' && text[len - 1] == ']')
        snprintf(host, sizeof host, "%.*s", (int)(len - 2), text + 1);
    else
        snprintf(host, sizeof host, "%s", text);
    return cmx_mem_strdup(cmx_proxy_address_canonical(host, address) ? address : host);
}

static cmx_err set_text(const struct config_key *k, void *at, const char *text, struct cmx_why *why)
{
    const char *fault = text[0] ? text_fault(k, text) : "is empty";
    struct config_list *list = at;
    char **single = at;
    char *copy;

    if (fault)
        return cmx_why_fail(why, CMX_EINVAL, "'%.60s' %s", text, fault);
    if (k->type == CONFIG_GATEWAYS && check_gateways(text, why) != CMX_OK)
        return CMX_EINVAL;
    if (k->type == CONFIG_PIN_LIST && list->n == CONFIG_LIST_MAX)
        return cmx_why_fail(why, CMX_EINVAL, "is given more than %d times", CONFIG_LIST_MAX);
    copy = copy_text(k, text);
    if (!copy)
        return cmx_why_fail(why, CMX_ENOMEM, "out of memory");
    if (k->type == CONFIG_PIN_LIST) {
        list->item[list->n++] = copy;
    } else {
        cmx_mem_free(*single);
        *single = copy;
    }
    return CMX_OK;
}

cmx_err config_set(const struct config_key *k, void *section, const char *text, struct cmx_why *why)
{
    void *at = (char *)section + k->offset;

    switch (k->type) {
    case CONFIG_NUMBER:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
        return set_number(k, at, text, why);
    case CONFIG_BOOL:
        return set_bool(at, text, why);
    case CONFIG_CHOICE:
        return set_choice(k, at, text, why);
    default:
        return set_text(k, at, text, why);
    }
}

static void clear_key(const struct config_key *k, void *at)
{
    struct config_list *list = at;
    char **single = at;

    if (k->type < CONFIG_PIN_LIST) { /* one text */
        cmx_mem_free(*single);
        *single = NULL;
    }
    while (k->type == CONFIG_PIN_LIST && list->n)
        cmx_mem_free(list->item[--list->n]);
}

void config_clear(const struct config_section *s, void *section)
{
    for (size_t i = 0; i < config_n_keys; i++)
        if (strcmp(config_keys[i].section, s->name) == 0)
            clear_key(&config_keys[i], (char *)section + config_keys[i].offset);
}

cmx_err config_defaults(const struct config_section *s, void *section)
{
    struct cmx_why why = {""};

    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];
        cmx_err err = CMX_OK;

        if (strcmp(k->section, s->name) == 0 && k->fallback)
            err = config_set(k, section, k->fallback, &why);
        if (err)
            return err;
    }
    return CMX_OK;
}

/* ---- keys that a reload cannot change ---- */

static bool same_value(const struct config_key *k, const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;

    switch (k->type) {
    case CONFIG_NUMBER:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
    case CONFIG_CHOICE:
        return memcmp(a, b, k->size ? k->size : sizeof(uint64_t)) == 0;
    case CONFIG_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case CONFIG_PIN_LIST:
        return false;
    default:
        return *x && *y ? strcmp(*x, *y) == 0 : *x == *y;
    }
}

const struct config_key *config_next_restart(const struct agent_config *a, const struct agent_config *b,
                                             const struct config_key *after)
{
    for (const struct config_key *k = after ? after + 1 : config_keys; k < config_keys + config_n_keys; k++) {
        const struct config_section *s = config_section_find(k->section, strlen(k->section));
        size_t at = s->offset + k->offset;

        if (!s->named && (k->restart || s->reload != CONFIG_APPLIED) &&
            !same_value(k, (const char *)a + at, (const char *)b + at))
            return k;
    }
    return NULL;
}

/* ---- values as text for people ---- */

static void duration_text(uint64_t ms, char *out, size_t cap)
{
    for (size_t i = 5; i-- > 0;)
        if (ms && ms % durations[i].factor == 0) {
            snprintf(out, cap, "%llu%s", (unsigned long long)(ms / durations[i].factor), durations[i].suffix);
            return;
        }
    snprintf(out, cap, "0s");
}

static void choice_values(const struct config_key *k, char *out, size_t cap)
{
    size_t n = 0;

    out[0] = 0;
    for (size_t i = 0; k->choices[i]; i++) {
        const char *between = i == 0 ? "" : k->choices[i + 1] ? ", " : " or ";
        int len = snprintf(out + n, cap - n, "%s%s", between, k->choices[i]);

        if (len < 0 || (size_t)len >= cap - n)
            return;
        n += (size_t)len;
    }
}

void config_values(const struct config_key *k, char *out, size_t cap)
{
    static const char *const words[] = {
        [CONFIG_TEXT] = "text",
        [CONFIG_COMMAND] = "command",
        [CONFIG_NAME] = "name",
        [CONFIG_HOST] = "host",
        [CONFIG_GATEWAYS] = "list of HOST[:PORT]",
        [CONFIG_PATH] = "absolute path",
        [CONFIG_PIN_LIST] = "pin; repeatable",
        [CONFIG_BOOL] = "yes or no",
    };
    char low[24], high[24];

    switch (k->type) {
    case CONFIG_NUMBER:
        snprintf(out, cap, "%llu to %llu", (unsigned long long)k->min, (unsigned long long)k->max);
        break;
    case CONFIG_BYTES:
        snprintf(out, cap, "bytes, %llu to %lluG", (unsigned long long)k->min, (unsigned long long)(k->max >> 30));
        break;
    case CONFIG_DURATION:
        duration_text(k->min, low, sizeof low);
        duration_text(k->max, high, sizeof high);
        snprintf(out, cap, "%s to %s", low, high);
        break;
    case CONFIG_CHOICE:
        choice_values(k, out, cap);
        break;
    default:
        snprintf(out, cap, "%s", words[k->type]);
        break;
    }
}
