#include "board/board_config.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/nearest.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/proxy/proxy_config.h"
#include "port/linux/file_read.h"
#include "port/linux/host_name.h"
#include "port/linux/ini_file.h"

typedef enum { TEXT, GATEWAYS, NUMBER, YESNO, PIN, CHOICE } value_kind;

struct key {
    const char *section;
    const char *name;
    value_kind kind;
    int min, max; /* bounds of a NUMBER */
    size_t at;    /* offset in struct board_config, or in TaskParameters for [context NAME] */
    const char *doc;
    const char *fallback;       /* the default, if doc does not name it */
    const char *const *choices; /* texts of a CHOICE, NULL-terminated; the member receives the index */
};

static const char *const directions[] = {"reverse", "direct", NULL};
static const char *const peers[] = {"none", "proxy-v1", "proxy-v2", NULL}; /* a device does not support `mirror` */

#define AT(field) offsetof(struct board_config, field)

/* Macros that turn the rows of proxy/context_options.h into rows of this table, one macro for each kind of row. The
 * context's name is not a `key = value` line: the section header contains it. A duration is a number of seconds here,
 * as in TaskParameters. */
#define STR_(x) #x
#define STR(x) STR_(x)
#define OPTION(kind, name, task, min, max, doc, fallback)                                                              \
    {"context", name, kind, min, max, offsetof(TaskParameters, task), doc, fallback, NULL},
#define OPTION_CHOICE(name, task, doc, choices)                                                                        \
    {"context", name, CHOICE, 0, 0, offsetof(TaskParameters, task), doc, NULL, choices},
#define OPTION_PORT(name, task, min, max, fallback, doc) OPTION(NUMBER, name, task, min, max, doc, NULL)
#define OPTION_COUNT(name, task, min, max, fallback, doc) OPTION(NUMBER, name, task, min, max, doc, STR(fallback))
#define OPTION_SECONDS(name, task, min, max, fallback, doc) OPTION(NUMBER, name, task, min, max, doc, STR(fallback))
#define OPTION_SWITCH(name, task, min, max, fallback, doc) OPTION(YESNO, name, task, 0, 0, doc, "no")
#define OPTION_DIRECTION(name, task, min, max, fallback, doc) OPTION_CHOICE(name, task, doc, directions)
#define OPTION_PEER(name, task, min, max, fallback, doc) OPTION_CHOICE(name, task, doc, peers)
#define OPTION_ADDRESSES(name, task, min, max, fallback, doc) OPTION(TEXT, name, task, 0, 0, doc, fallback)
#define OPTION_NAME(name, task, min, max, fallback, doc) OPTION(TEXT, name, task, 0, 0, doc, fallback)
#define OPTION_HOST(name, task, min, max, fallback, doc) OPTION(TEXT, name, task, 0, 0, doc, fallback)
#define OPTION_TEXT(name, task, min, max, fallback, doc) OPTION(TEXT, name, task, 0, 0, doc, fallback)
#define OPTION_ID(name, task, min, max, fallback, doc)

static const struct key keys[] = {
    {"board", "chip", TEXT, 0, 0, AT(chip),
     .doc = "`esp32s3` (default), `esp32s2`, `esp32c3`, `esp32c6` or `esp32h2`: decides which images are accepted and "
            "where eFuse fields are"},
    {"board", "flash", TEXT, 0, 0, AT(flash), .doc = "the flash, a file in the board's folder (`flash.bin`)"},
    {"board", "efuse", TEXT, 0, 0, AT(efuse),
     .doc = "the eFuse, in the format of espefuse's `--virt --path-efuse-file` (`efuse.bin`)"},
    {"board", "efuse_key", TEXT, 0, 0, AT(efuse_key),
     .doc = "a copy of the burned key, needed because espefuse's file does not contain read-protected bits "
            "(`private_key.bin`)"},
    {"board", "port_offset", NUMBER, 0, 60000, AT(port_offset),
     .doc = "added to each service's port, for a board that shares the machine's loopback"},
    {"board", "services", TEXT, 0, 0, AT(services),
     .doc = "address on which the page and the stream listen; default: the loopback address, or `0.0.0.0` with `mode = "
            "tap:NAME`"},
    {"net", "mode", TEXT, 0, 0, AT(net_mode),
     .doc = "`kernel` (the machine's sockets) or `tap:NAME` (lwIP over that TAP device)"},
    {"net", "address", TEXT, 0, 0, AT(net.address),
     .doc = "with `tap:`: the board's IPv4 address and prefix, `10.0.0.2/24`"},
    {"net", "gateway", TEXT, 0, 0, AT(net.gateway), .doc = "with `tap:`: the IPv4 router"},
    {"net", "address6", TEXT, 0, 0, AT(net.address6),
     .doc = "with `tap:`: an IPv6 address, `fd00::2/64`, besides link-local and advertised ones"},
    {"net", "dns", TEXT, 0, 0, AT(net.dns),
     .doc = "with `tap:`: the name server's IPv4 address; default: the machine's resolver"},
    {"net", "mac", TEXT, 0, 0, AT(net.mac),
     .doc = "with `tap:`: the Ethernet address; default: derived from the device's name"},
    {"net", "isolation", YESNO, 0, 0, AT(isolation),
     .doc = "with `tap:`: `no` disables the isolation module, for comparison (`yes`)"},
    {"gateway", "host", GATEWAYS, 0, 0, AT(settings.remote_host),
     .doc = "name or address of the gateway, or of several: `gw1.example, gw2.example:2222 > backup.example`, as in "
            "docs/CONFIG.md"},
    {"gateway", "port", NUMBER, 1, 65535, AT(settings.remote_port),
     .doc = "SSH port of each gateway for which `host` names no port (22)"},
    {"gateway", "user", TEXT, 0, 0, AT(settings.username), .doc = "account to log in to"},
    {"gateway", "host_key", PIN, 0, 0, 0,
     .doc = "the gateway's host key: `SHA256:...` or a known_hosts line; repeatable; without one the board does not "
            "connect"},
    {"gateway", "key_file", TEXT, 0, 0, AT(settings.client_key_file), .doc = "private key, OpenSSH or PEM"},
    {"gateway", "key_passphrase", TEXT, 0, 0, AT(settings.client_key_passphrase), .doc = "passphrase of `key_file`"},
    {"gateway", "key_derived", YESNO, 0, 0, AT(settings.client_key_derived),
     .doc = "`yes`: the key is derived from the hardware key at each login"},
    {"gateway", "password", TEXT, 0, 0, AT(settings.password),
     .doc = "password for the login, offered after the keys; default: no password is offered"},
    {"gateway", "remote_address", TEXT, 0, 0, AT(settings.remote_address),
     .doc = "address to listen on at the gateway; on a CMX-GW, the device's virtual IPv6 address or "
            "`fleet:PREFIX/48`; default: the gateway's loopback"},
    {"gateway", "ciphers", TEXT, 0, 0, AT(settings.ciphers),
     .doc = "ciphers by their OpenSSH names, separated by commas; default: current ciphers"},
    {"gateway", "require_pq", YESNO, 0, 0, AT(settings.require_pq),
     .doc = "`yes`: only key exchanges that resist a quantum computer; needs libssh 0.12 or later"},
    {"gateway", "login_timeout_s", NUMBER, 1, 300, AT(settings.timeout_s),
     .doc = "how long one attempt at one gateway may take, from TCP connect to authentication (10)"},
    {"gateway", "keepalive_s", NUMBER, 1, 3600, AT(settings.keepalive_s),
     .doc = "send a keepalive after this long without traffic; three unanswered ones end the session (15)"},
    {"gateway", "share_session", YESNO, 0, 0, AT(settings.multichannel),
     .doc = "`yes`: all contexts share one SSH session (`no`)"},
    {"gateway", "verbosity", TEXT, 0, 0, AT(settings.verbosity), .doc = "`4` enables the debug log"},
    {"ota", "public_key", TEXT, 0, 0, AT(settings.ota_public_key),
     .doc = "the public key that verifies images, `04...` in hex; without it unsigned images are accepted"},
    {"ota", "host", TEXT, 0, 0, AT(ota_host), .doc = "a further host name by which browsers reach the update page"},
    {"ota", "confirm_s", NUMBER, 1, 86400, AT(ota_confirm_s),
     .doc = "how long a new image may take to reach its gateway before the board rolls it back (300)"},
#define CMX_OPTION(kind, member, task, key, min, max, fallback, direction, without, help)                              \
    OPTION_##kind(#member, task, min, max, fallback, help)
#include "cmxsafe/proxy/context_options.h"
};

#define N_KEYS (sizeof keys / sizeof keys[0])
#define CONTEXT "context "

void board_config_init(struct board_config *c)
{
    memset(c, 0, sizeof *c);
    c->chip = "esp32s3";
    c->flash = "flash.bin";
    c->efuse = "efuse.bin";
    c->efuse_key = "private_key.bin";
    c->net_mode = "kernel";
    c->isolation = true;
    c->settings.host_keys = c->pins;
}

void board_config_free(struct board_config *c)
{
    for (size_t i = 0; i < c->n_strings; i++)
        cmx_mem_free_secret(c->strings[i]);
    board_config_init(c);
}

static cmx_err keep(struct board_config *c, const char *value, const char **out)
{
    char *copy;

    if (c->n_strings == BOARD_STRINGS_MAX)
        return CMX_ENOSPC;
    copy = cmx_mem_strdup(value);
    if (!copy)
        return CMX_ENOMEM;
    c->strings[c->n_strings++] = copy;
    *out = copy;
    return CMX_OK;
}

static bool is_context(const char *section)
{
    return strncmp(section, CONTEXT, sizeof CONTEXT - 1) == 0 && section[sizeof CONTEXT - 1];
}

/* Returns the context that a section names; creates it the first time. */
static cmx_err context_of(struct board_config *c, const char *section, void **out)
{
    const char *name = section + sizeof CONTEXT - 1;
    TaskParameters *t;
    cmx_err err;

    for (size_t i = 0; i < c->n_contexts; i++)
        if (strcmp(c->contexts[i].name, name) == 0) {
            *out = &c->contexts[i];
            return CMX_OK;
        }
    if (c->n_contexts == BOARD_CONTEXTS_MAX || strlen(name) >= CMX_PROXY_NAME_MAX)
        return CMX_ENOSPC;
    t = &c->contexts[c->n_contexts];
    err = keep(c, name, &t->name);
    if (err != CMX_OK)
        return err;
    c->n_contexts++;
    *out = t;
    return CMX_OK;
}

static const struct key *find(const char *section, const char *name, struct cmx_why *why)
{
    const char *kind = is_context(section) ? "context" : strcmp(section, "context") == 0 ? "" : section;
    struct cmx_nearest near = CMX_NEAREST_INIT(name);
    bool known = false;

    for (size_t i = 0; i < N_KEYS; i++) {
        if (strcmp(keys[i].section, kind) != 0)
            continue;
        known = true;
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
        cmx_nearest_offer(&near, keys[i].name);
    }
    if (!known)
        cmx_why_set(why, "unknown section [%.40s]", section);
    else if (cmx_nearest_result(&near))
        cmx_why_set(why, "unknown key '%.40s' in [%.40s]; did you mean '%s'?", name, section,
                    cmx_nearest_result(&near));
    else
        cmx_why_set(why, "unknown key '%.40s' in [%.40s]", name, section);
    return NULL;
}

static cmx_err set_number(const struct key *k, void *at, const char *value, struct cmx_why *why)
{
    uint64_t n;

    if (cmx_text_u64(value, (uint64_t)k->min, (uint64_t)k->max, &n) != CMX_OK)
        return cmx_why_fail(why, CMX_EINVAL, "%s: not a number from %d to %d", k->name, k->min, k->max);
    *(int *)at = (int)n;
    return CMX_OK;
}

static cmx_err set_yesno(const struct key *k, void *at, const char *value, struct cmx_why *why)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        return cmx_why_fail(why, CMX_EINVAL, "%s: neither yes nor no", k->name);
    *(bool *)at = value[0] == 'y';
    return CMX_OK;
}

static cmx_err set_choice(const struct key *k, void *at, const char *value, struct cmx_why *why)
{
    struct cmx_nearest near = CMX_NEAREST_INIT(value);

    for (int i = 0; k->choices[i]; i++) {
        if (strcmp(value, k->choices[i]) == 0) {
            *(int *)at = i;
            return CMX_OK;
        }
        cmx_nearest_offer(&near, k->choices[i]);
    }
    if (cmx_nearest_result(&near))
        return cmx_why_fail(why, CMX_EINVAL, "%s: '%.40s' is not known; did you mean '%s'?", k->name, value,
                            cmx_nearest_result(&near));
    return cmx_why_fail(why, CMX_EINVAL, "%s: '%.40s' is not known; docs/BOARD.md has the values", k->name, value);
}

static cmx_err add_pin(struct board_config *c, const char *value, struct cmx_why *why)
{
    cmx_err err;

    if (c->settings.n_host_keys == CMX_PROXY_HOST_KEYS_MAX)
        return cmx_why_fail(why, CMX_ENOSPC, "host_key: more than %d", CMX_PROXY_HOST_KEYS_MAX);
    err = keep(c, value, &c->pins[c->settings.n_host_keys]);
    c->settings.n_host_keys += err == CMX_OK;
    return err;
}

cmx_err board_config_set(struct board_config *c, const char *section, const char *key, const char *value,
                         struct cmx_why *why)
{
    const struct key *k = find(section, key, why);
    void *base = c;
    cmx_err err = CMX_OK;

    if (!k)
        return CMX_EINVAL;
    if (is_context(section))
        err = context_of(c, section, &base);
    if (err != CMX_OK)
        return cmx_why_fail(why, err, "[%.60s]: %s", section, cmx_err_text(err));
    switch (k->kind) {
    case NUMBER:
        return set_number(k, (char *)base + k->at, value, why);
    case YESNO:
        return set_yesno(k, (char *)base + k->at, value, why);
    case CHOICE:
        return set_choice(k, (char *)base + k->at, value, why);
    case PIN:
        return add_pin(c, value, why);
    case GATEWAYS:
        if (cmx_host_check_gateways(value, why) != CMX_OK)
            return CMX_EINVAL;
        break;
    case TEXT:
        break;
    }
    return keep(c, value, (const char **)(void *)((char *)base + k->at));
}

void board_config_reference(FILE *out)
{
    const char *section = "";

    for (size_t i = 0; i < N_KEYS; i++) {
        if (strcmp(section, keys[i].section) != 0) {
            section = keys[i].section;
            fprintf(out, "%s`[%s%s]`\n\n| key | meaning (default) |\n|---|---|\n", i ? "\n" : "", section,
                    strcmp(section, "context") == 0 ? " NAME" : "");
        }
        fprintf(out, "| `%s` | %s", keys[i].name, keys[i].doc);
        if (keys[i].fallback || keys[i].choices)
            fprintf(out, " (%s)", keys[i].choices ? keys[i].choices[0] : keys[i].fallback);
        fputs(" |\n", out);
    }
}

/* ---- the file ---- */

#define SECTION_MAX 64

struct reading {
    struct board_config *config;
    const char *path;
    struct cmx_why *why;
    cmx_err err; /* the first error; later keys are ignored */
    char section[SECTION_MAX];
    char *seen; /* all keys that were read, one per line, as 'section]key'; owned */
};

static bool is_section(const char *section)
{
    bool known = is_context(section);

    for (size_t i = 0; i < N_KEYS && !known; i++)
        known = strcmp(keys[i].section, section) == 0 && strcmp(section, "context") != 0;
    return known;
}

/* Records that the key was read. CMX_EEXIST: it was read before. */
static cmx_err remember(struct reading *r, const char *key)
{
    size_t old = r->seen ? strlen(r->seen) : 0, size = old + strlen(r->section) + strlen(key) + 4;
    char *grown = cmx_mem_alloc(size);
    const char *line = grown ? grown + old : NULL;
    cmx_err err = CMX_OK;

    if (!grown)
        return CMX_ENOMEM;
    snprintf(grown, size, "%s\n%s]%s\n", r->seen ? r->seen : "", r->section, key);
    if (r->seen && strstr(r->seen, line))
        err = CMX_EEXIST;
    cmx_mem_free(r->seen);
    r->seen = grown;
    return err;
}

static void on_error(void *arg, unsigned line, const char *what)
{
    struct reading *r = arg;

    if (!r->err)
        r->err = cmx_why_fail(r->why, CMX_EFORMAT, "%s:%u: %s", r->path, line, what);
}

static bool on_section(void *arg, unsigned line, const char *text, size_t len)
{
    struct reading *r = arg;

    if (len >= sizeof r->section) {
        on_error(r, line, "the section's name is too long");
        return false;
    }
    memcpy(r->section, text, len);
    r->section[len] = 0;
    if (!is_section(r->section)) {
        struct cmx_why what = {""};

        cmx_why_set(&what, "unknown section [%.40s]", r->section);
        on_error(r, line, what.text);
        return false;
    }
    return true;
}

static void on_pair(void *arg, unsigned line, const char *key, const char *value, const char *comment)
{
    struct reading *r = arg;
    struct cmx_why what = {""};
    cmx_err err = r->err || strcmp(key, "host_key") == 0 ? CMX_OK : remember(r, key);

    (void)comment;
    if (err == CMX_EEXIST)
        cmx_why_set(&what, "%.40s is set twice in [%.40s]", key, r->section);
    if (!err && !r->err && cmx_ini_hash(value) && strcmp(key, "host_key") != 0)
        err = cmx_why_fail(&what, CMX_EINVAL, "%.40s: '%.20s' is no comment; within a line, a comment begins with ' ;'",
                           key, cmx_ini_hash(value));
    if (!err && !r->err)
        err = board_config_set(r->config, r->section, key, value, &what);
    if (err)
        r->err = cmx_why_fail(r->why, err, "%s:%u: %s", r->path, line, cmx_why_text(&what, err));
}

cmx_err board_config_load(struct board_config *c, const char *path, struct cmx_why *why)
{
    struct reading r = {.config = c, .path = path, .why = why};
    const struct cmx_ini_handler handler = {.arg = &r, .section = on_section, .pair = on_pair, .error = on_error};
    struct cmx_why what = {""};
    char *text = NULL;
    size_t len = 0;
    cmx_err err = cmx_file_read(path, CMX_INI_FILE_MAX, false, &text, &len, &what);

    if (err)
        return cmx_why_fail(why, err, "%s: %s", path, what.text);
    cmx_ini_parse(text, len, &handler);
    cmx_mem_free_secret(text);
    cmx_mem_free(r.seen);
    return r.err;
}
