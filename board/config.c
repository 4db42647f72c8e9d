#include "config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/nearest.h"
#include "cmxsafe/core/text.h"

typedef enum { TEXT, NUMBER, YESNO, PIN } value_kind;

struct key {
    const char *section;
    const char *name;
    value_kind kind;
    int min, max; /* of a NUMBER */
    size_t at;    /* in struct board_config, or in TaskParameters for [context NAME] */
    const char *doc;
};

#define AT(field) offsetof(struct board_config, field)
#define TASK(field) offsetof(TaskParameters, field)

static const struct key keys[] = {
    {"board", "chip", TEXT, 0, 0, AT(chip),
     "`esp32s3` (default), `esp32s2`, `esp32c3`, `esp32c6` or `esp32h2`: what images must be made for, and where eFuse "
     "fields are"},
    {"board", "flash", TEXT, 0, 0, AT(flash), "the flash, a file in the board's folder (`flash.bin`)"},
    {"board", "efuse", TEXT, 0, 0, AT(efuse),
     "the eFuse, as espefuse keeps it with `--virt --path-efuse-file` (`efuse.bin`)"},
    {"board", "efuse_key", TEXT, 0, 0, AT(efuse_key),
     "the key that was burned: espefuse keeps no bits that software could not read (`private_key.bin`)"},
    {"board", "port_offset", NUMBER, 0, 60000, AT(port_offset),
     "services listen at their port plus this, where the board shares the machine's loopback"},
    {"board", "services", TEXT, 0, 0, AT(services),
     "address on which the page and the stream listen; default: the loopback, with `tap:` every address"},
    {"net", "mode", TEXT, 0, 0, AT(net.mode),
     "`kernel` (the machine's sockets) or `tap:NAME` (lwIP over that TAP device)"},
    {"net", "address", TEXT, 0, 0, AT(net.address), "with `tap:`: the board's IPv4 address and prefix, `10.0.0.2/24`"},
    {"net", "gateway", TEXT, 0, 0, AT(net.gateway), "with `tap:`: the IPv4 router"},
    {"net", "address6", TEXT, 0, 0, AT(net.address6),
     "with `tap:`: an IPv6 address, `fd00::2/64`; link-local and advertised ones come by themselves"},
    {"net", "dns", TEXT, 0, 0, AT(net.dns),
     "with `tap:`: the name server, an IPv4 address; without one the machine's resolver answers"},
    {"net", "mac", TEXT, 0, 0, AT(net.mac),
     "with `tap:`: the Ethernet address; default: one made from the device's name"},
    {"net", "isolation", YESNO, 0, 0, AT(net.isolation),
     "with `tap:`: `no` leaves the security module out, to see what a device without it shows (`yes`)"},
    {"gateway", "host", TEXT, 0, 0, AT(settings.remote_host), "name or address of the gateway"},
    {"gateway", "port", NUMBER, 1, 65535, AT(settings.remote_port), "its SSH port (22)"},
    {"gateway", "user", TEXT, 0, 0, AT(settings.username), "who the board logs in as"},
    {"gateway", "host_key", PIN, 0, 0, 0,
     "the gateway's host key: `SHA256:...` or a known_hosts line; may stand several times; without one the board does "
     "not connect"},
    {"gateway", "key_file", TEXT, 0, 0, AT(settings.client_key_file), "private key, OpenSSH or PEM"},
    {"gateway", "key_passphrase", TEXT, 0, 0, AT(settings.client_key_passphrase), "of that key"},
    {"gateway", "key_derived", YESNO, 0, 0, AT(settings.client_key_derived),
     "`yes`: the key is derived from the hardware key at each login"},
    {"gateway", "password", TEXT, 0, 0, AT(settings.password), "offered last; default: never"},
    {"gateway", "remote_address", TEXT, 0, 0, AT(settings.remote_address),
     "address to listen on at the gateway: at a CMX-GW the device's virtual IPv6 address; default its loopback"},
    {"gateway", "ciphers", TEXT, 0, 0, AT(settings.ciphers),
     "OpenSSH names, separated by commas; default: current ones"},
    {"gateway", "login_timeout_s", NUMBER, 1, 3600, AT(settings.timeout_s),
     "from the TCP connect to the last listener granted (10)"},
    {"gateway", "keepalive_s", NUMBER, 1, 3600, AT(settings.keepalive_s),
     "a request with reply after that much silence; three unanswered end the session (15)"},
    {"gateway", "share_session", YESNO, 0, 0, AT(settings.multichannel), "`yes`: all contexts share one SSH session"},
    {"gateway", "verbosity", TEXT, 0, 0, AT(settings.verbosity), "`4`: the debug log"},
    {"ota", "public_key", TEXT, 0, 0, AT(settings.ota_public_key),
     "who signs images, `04...` in hex; without it unsigned images are accepted"},
    {"ota", "host", TEXT, 0, 0, AT(ota_host), "name by which a browser may call the update page"},
    {"ota", "confirm_s", NUMBER, 1, 86400, AT(ota_confirm_s),
     "how long a new image may take to reach its gateway before it is rolled back"},
    {"context", "local_port", NUMBER, 1, 65535, TASK(local_port),
     "which context: the port of the application's service"},
    {"context", "remote_port", NUMBER, 1, 65535, TASK(forward_remote_port), "the listener's port at the gateway"},
    {"context", "remote_address", TEXT, 0, 0, TASK(remote_address), "as in `[gateway]`, for this context"},
    {"context", "local_host", TEXT, 0, 0, TASK(local_host), "where the service listens (`127.0.0.1`)"},
    {"context", "tasks", TEXT, 0, 0, TASK(tasks),
     "direct: which tasks may connect, by name, separated by commas; default all"},
    {"context", "high_bw", YESNO, 0, 0, TASK(high_bw), "`yes`: larger buffers"},
    {"context", "max_connections", NUMBER, 1, CMX_PROXY_CONNECTIONS_MAX, TASK(max_connections), "at once (8)"},
    {"context", "idle_timeout_s", NUMBER, 1, 86400, TASK(idle_timeout_s),
     "a connection without a byte for that long is closed; default never"},
    {"context", "connect_timeout_s", NUMBER, 1, 3600, TASK(connect_timeout_s), "to the service (10)"},
    {"context", "probe_interval_s", NUMBER, 1, 86400, TASK(probe_interval_s),
     "end-to-end probe of the gateway's listener; default off"},
    {"context", "session", TEXT, 0, 0, TASK(session), "contexts that name the same one share an SSH session"},
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
    c->net.mode = "kernel";
    c->net.isolation = true;
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

/* The context that a section names; a new one the first time. */
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
    if (c->n_contexts == CMX_PROXY_CONTEXTS_MAX || strlen(name) >= CMX_PROXY_NAME_MAX)
        return CMX_ENOSPC;
    t = &c->contexts[c->n_contexts];
    err = keep(c, name, &t->name);
    if (err != CMX_OK)
        return err;
    c->n_contexts++;
    *out = t;
    return CMX_OK;
}

static const struct key *find(const char *section, const char *name, char *why, size_t why_cap)
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
        snprintf(why, why_cap, "no section [%.40s]", section);
    else if (cmx_nearest_result(&near))
        snprintf(why, why_cap, "no key '%.40s' in [%.40s]; did you mean '%s'?", name, section,
                 cmx_nearest_result(&near));
    else
        snprintf(why, why_cap, "no key '%.40s' in [%.40s]", name, section);
    return NULL;
}

static cmx_err set_number(const struct key *k, void *at, const char *value, char *why, size_t why_cap)
{
    uint64_t n;

    if (cmx_text_u64(value, (uint64_t)k->min, (uint64_t)k->max, &n) != CMX_OK) {
        snprintf(why, why_cap, "%s: not a number from %d to %d", k->name, k->min, k->max);
        return CMX_EINVAL;
    }
    *(int *)at = (int)n;
    return CMX_OK;
}

static cmx_err set_yesno(const struct key *k, void *at, const char *value, char *why, size_t why_cap)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0) {
        snprintf(why, why_cap, "%s: neither yes nor no", k->name);
        return CMX_EINVAL;
    }
    *(bool *)at = value[0] == 'y';
    return CMX_OK;
}

static cmx_err add_pin(struct board_config *c, const char *value, char *why, size_t why_cap)
{
    cmx_err err;

    if (c->settings.n_host_keys == CMX_PROXY_HOST_KEYS_MAX) {
        snprintf(why, why_cap, "host_key: more than %d", CMX_PROXY_HOST_KEYS_MAX);
        return CMX_ENOSPC;
    }
    err = keep(c, value, &c->pins[c->settings.n_host_keys]);
    c->settings.n_host_keys += err == CMX_OK;
    return err;
}

cmx_err board_config_set(struct board_config *c, const char *section, const char *key, const char *value, char *why,
                         size_t why_cap)
{
    const struct key *k = find(section, key, why, why_cap);
    void *base = c;
    cmx_err err = CMX_OK;

    if (!k)
        return CMX_EINVAL;
    if (is_context(section))
        err = context_of(c, section, &base);
    if (err != CMX_OK) {
        snprintf(why, why_cap, "[%.60s]: %s", section, cmx_err_text(err));
        return err;
    }
    switch (k->kind) {
    case NUMBER:
        return set_number(k, (char *)base + k->at, value, why, why_cap);
    case YESNO:
        return set_yesno(k, (char *)base + k->at, value, why, why_cap);
    case PIN:
        return add_pin(c, value, why, why_cap);
    case TEXT:
    default:
        return keep(c, value, (const char **)(void *)((char *)base + k->at));
    }
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
        fprintf(out, "| `%s` | %s |\n", keys[i].name, keys[i].doc);
    }
}

/* ---- the file ---- */

struct reading {
    struct board_config *config;
    FILE *file;
    int line;
    cmx_err err;
    const char *path;
    char *why;
    size_t why_cap;
};

static char *read_line(char *out, int cap, void *arg)
{
    struct reading *r = arg;
    char *got = r->err == CMX_OK ? fgets(out, cap, r->file) : NULL; /* the first error ends it */

    r->line += got != NULL;
    return got;
}

static int on_value(void *arg, const char *section, const char *name, const char *value)
{
    struct reading *r = arg;
    char what[160] = "";

    r->err = board_config_set(r->config, section, name, value, what, sizeof what);
    if (r->err == CMX_OK)
        return 1;
    snprintf(r->why, r->why_cap, "%s:%d: %s", r->path, r->line, what[0] ? what : cmx_err_text(r->err));
    return 0;
}

cmx_err board_config_load(struct board_config *c, const char *path, char *why, size_t why_cap)
{
    struct reading r = {.config = c, .why = why, .why_cap = why_cap, .path = path, .file = fopen(path, "re")};
    int rc;

    if (!r.file) {
        snprintf(why, why_cap, "%s: %s", path, strerror(errno));
        return errno == EACCES ? CMX_EPERM : CMX_ENOENT;
    }
    rc = ini_parse_stream(read_line, &r, on_value, &r);
    fclose(r.file);
    if (r.err != CMX_OK)
        return r.err;
    if (rc == 0)
        return CMX_OK;
    snprintf(why, why_cap, "%s:%d: neither [section] nor key = value", path, rc > 0 ? rc : r.line);
    return CMX_EFORMAT;
}
