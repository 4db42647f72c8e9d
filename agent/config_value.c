/* config_value.c - text to value and back, for the types of the table. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/nearest.h"
#include "cmxsafe/core/text.h"
#include "config_table.h"

#define TEXT_MAX_DEFAULT 255
#define HOST_MAX 255 /* RFC 1035 section 2.3.4 */

static cmx_err reject(char *why, size_t cap, const char *fmt, ...) CMX_PRINTF(3, 4);

static cmx_err reject(char *why, size_t cap, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, cap, fmt, ap);
    va_end(ap);
    return CMX_EINVAL;
}

struct unit {
    const char *suffix;
    uint64_t factor;
};

static const struct unit durations[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {"", 1000}};
static const struct unit sizes[] = {{"k", 1 << 10}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"", 1}};
static const struct unit plain[] = {{"", 1}};

/* A number with one of the unit's suffixes. CMX_EFORMAT, or CMX_EINVAL where it overflows. */
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

static cmx_err set_number(const struct config_key *k, uint64_t *at, const char *text, char *why, size_t cap)
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
        return reject(why, cap, "'%.40s' is not %s", text,
                      k->type == CONFIG_DURATION ? "a duration (such as 90s, 5m, 1h)"
                      : k->type == CONFIG_BYTES  ? "a size (such as 64k, 512M, 1G)"
                                                 : "a number");
    if (err || v < k->min || v > k->max)
        return reject(why, cap, "%.40s is out of range: %s", text, range);
    if (v % step)
        return reject(why, cap, "%.40s: whole seconds only", text);
    *at = v;
    return CMX_OK;
}

static cmx_err set_bool(bool *at, const char *text, char *why, size_t cap)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(text, words[i]) == 0) {
            *at = i % 2 != 0;
            return CMX_OK;
        }
    return reject(why, cap, "'%.40s' is neither yes nor no", text);
}

static cmx_err set_choice(const struct config_key *k, uint64_t *at, const char *text, char *why, size_t cap)
{
    struct cmx_nearest near = CMX_NEAREST_INIT(text);
    char values[96];

    for (size_t i = 0; k->choices[i]; i++) {
        if (strcmp(text, k->choices[i]) == 0) {
            *at = i;
            return CMX_OK;
        }
        cmx_nearest_offer(&near, k->choices[i]);
    }
    config_values(k, values, sizeof values);
    if (cmx_nearest_result(&near))
        return reject(why, cap, "'%.40s' is not known; did you mean '%s'?", text, cmx_nearest_result(&near));
    return reject(why, cap, "'%.40s' is not %s", text, values);
}

static bool only(const char *text, const char *allowed)
{
    return text[strspn(text, allowed)] == 0;
}

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* Why text is not of the key's textual type, or NULL when it is. */
static const char *text_fault(const struct config_key *k, const char *text)
{
    size_t len = strlen(text);
    size_t max = k->max ? (size_t)k->max : TEXT_MAX_DEFAULT;

    switch (k->type) {
    case CONFIG_NAME:
        if (len >= CMX_PROXY_NAME_MAX)
            return "is longer than a name may be (31)";
        return only(text, ALNUM "._-") ? NULL : "may hold letters, digits, '.', '_' and '-' only";
    case CONFIG_HOST:
        if (len > HOST_MAX)
            return "is longer than a host name may be";
        return only(text, ALNUM "._-:%[]*") ? NULL : "is not a host name or address";
    case CONFIG_PATH:
        return text[0] != '/' ? "must be an absolute path" : len > max ? "is too long" : NULL;
    case CONFIG_PIN_LIST:
        if (strncmp(text, "SHA256:", 7) == 0)
            return strlen(text) == 7 + 43 && only(text + 7, ALNUM "+/")
                       ? NULL
                       : "is not a whole SHA256 fingerprint (43 base64 digits)";
        if (strstr(text, " SHA256:"))
            return "is ssh-keygen's whole line: give the SHA256:... of it alone";
        return strchr(text, ' ') || strchr(text, '\t') ? NULL : "is neither SHA256:... nor a known_hosts line";
    default:
        return len > max ? "is too long" : NULL;
    }
}

/* "[::1]" is how people write it; the engine takes it without brackets. */
static char *copy_text(const struct config_key *k, const char *text)
{
    size_t len = strlen(text);
    char *copy = cmx_mem_strdup(text);

    if (copy && k->type == CONFIG_HOST && text[0] == '[' && text[len - 1] == ']') {
        memmove(copy, copy + 1, len - 2);
        copy[len - 2] = 0;
    }
    return copy;
}

static cmx_err set_text(const struct config_key *k, void *at, const char *text, char *why, size_t cap)
{
    const char *fault = text[0] ? text_fault(k, text) : "is empty";
    struct config_list *list = at;
    char **single = at;
    char *copy;

    if (fault)
        return reject(why, cap, "'%.60s' %s", text, fault);
    if (k->type == CONFIG_PIN_LIST && list->n == CONFIG_LIST_MAX)
        return reject(why, cap, "is given more than %d times", CONFIG_LIST_MAX);
    copy = copy_text(k, text);
    if (!copy) {
        (void)reject(why, cap, "out of memory");
        return CMX_ENOMEM;
    }
    if (k->type == CONFIG_PIN_LIST) {
        list->item[list->n++] = copy;
    } else {
        cmx_mem_free(*single);
        *single = copy;
    }
    return CMX_OK;
}

cmx_err config_set(const struct config_key *k, void *section, const char *text, char *why, size_t why_cap)
{
    void *at = (char *)section + k->offset;

    switch (k->type) {
    case CONFIG_NUMBER:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
        return set_number(k, at, text, why, why_cap);
    case CONFIG_BOOL:
        return set_bool(at, text, why, why_cap);
    case CONFIG_CHOICE:
        return set_choice(k, at, text, why, why_cap);
    default:
        return set_text(k, at, text, why, why_cap);
    }
}

static void clear_key(const struct config_key *k, void *at)
{
    struct config_list *list = at;
    char **single = at;

    switch (k->type) {
    case CONFIG_PIN_LIST:
        while (list->n)
            cmx_mem_free(list->item[--list->n]);
        break;
    case CONFIG_TEXT:
    case CONFIG_NAME:
    case CONFIG_HOST:
    case CONFIG_PATH:
        cmx_mem_free(*single);
        *single = NULL;
        break;
    default:
        break;
    }
}

void config_clear(const struct config_section *s, void *section)
{
    for (size_t i = 0; i < config_n_keys; i++)
        if (strcmp(config_keys[i].section, s->name) == 0)
            clear_key(&config_keys[i], (char *)section + config_keys[i].offset);
}

cmx_err config_defaults(const struct config_section *s, void *section)
{
    char why[160];

    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];
        cmx_err err = CMX_OK;

        if (strcmp(k->section, s->name) == 0 && k->fallback)
            err = config_set(k, section, k->fallback, why, sizeof why);
        if (err)
            return err;
    }
    return CMX_OK;
}

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
        [CONFIG_NAME] = "name",
        [CONFIG_HOST] = "host",
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
