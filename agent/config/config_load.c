/* config_load.c - loads a configuration file and the files that it names. */
#include "agent/config/agent_config.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/config/config_table.h"
#include "agent/config/known_hosts.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/identity/fleet.h"
#include "cmxsafe/identity/identity.h"
#include "cmxsafe/proxy/pin.h"
#include "cmxsafe/proxy/proxy_config.h"
#include "port/linux/file_probe.h"
#include "port/linux/file_read.h"
#include "port/linux/ini_file.h"

#define KNOWN_HOSTS_MAX (1024 * 1024)

static cmx_err pin_add(struct agent_config *c, const char *text, size_t len)
{
    char *copy;

    if (c->pins.n == CONFIG_LIST_MAX)
        return CMX_ENOSPC;
    copy = cmx_mem_alloc(len + 1);
    if (!copy)
        return CMX_ENOMEM;
    memcpy(copy, text, len);
    c->pins.item[c->pins.n++] = copy;
    return CMX_OK;
}

typedef cmx_err (*line_fn)(struct agent_config *c, const char *line, void *arg);

/* Calls fn with each line of text as a string that ends with a NUL. Stops at the first error. */
static cmx_err each_line(char *text, line_fn fn, struct agent_config *c, void *arg)
{
    cmx_err err = CMX_OK;

    for (char *end; *text && !err; text = end) {
        char was;

        text += strspn(text, "\r\n");
        end = text + strcspn(text, "\r\n");
        was = *end;
        *end = 0;
        err = fn(c, text, arg);
        *end = was;
    }
    return err;
}

/* With revoked NULL, returns true if the line is a pin for one of the gateways. Otherwise returns true if the line
 * revokes a key of one of the gateways; *revoked is then that key. */
static bool names_gateway(const struct agent_config *c, const char *line, const char **revoked)
{
    for (size_t i = 0; i < c->gateways.n; i++) {
        const struct cmx_gateway_host *g = &c->gateways.at[i];
        char address[CMX_PROXY_ADDRESS_MAX];
        const char *host = cmx_proxy_address_canonical(g->host, address) ? address : g->host;

        if (revoked ? known_hosts_revoked(line, host, g->port, revoked) : known_hosts_match(line, host, g->port))
            return true;
    }
    return false;
}

static cmx_err pin_line(struct agent_config *c, const char *line, void *arg)
{
    (void)arg;
    if (!names_gateway(c, line, NULL))
        return CMX_OK;
    return pin_add(c, line, strlen(line));
}

static bool same_key(const char *a, const char *b)
{
    size_t n = strcspn(a, " \t");

    if (strncmp(a, b, n + 1) != 0)
        return false; /* the types differ, so the keys differ */
    a += n + strspn(a + n, " \t");
    b += n + strspn(b + n, " \t");
    n = strcspn(a, " \t");
    return n == strcspn(b, " \t") && strncmp(a, b, n) == 0;
}

/* True if `line`, a @revoked line of known_hosts, revokes the pin. The pin is a fingerprint or another known_hosts
 * line. revoked: the key in `line`. */
static bool is_revoked_pin(const char *line, const char *revoked, const char *pin)
{
    const char *key = known_hosts_key(pin);
    struct cmx_pin a, b;

    if (key && same_key(revoked, key))
        return true;
    return cmx_pin_parse(&a, line) == CMX_OK && cmx_pin_parse(&b, pin) == CMX_OK &&
           memcmp(a.digest, b.digest, sizeof a.digest) == 0;
}

struct revocation {
    size_t first; /* index of the first pin that comes from known_hosts_file */
    bool found;   /* the file revokes a key of a gateway */
    bool applied; /* a revocation removed or replaced a pin */
};

/* Does nothing unless the known_hosts line revokes a key of a gateway. Drops the pins of this key that come from
 * known_hosts_file. Puts the line in place of each pin of this key that comes from host_key, so that the engine refuses
 * the key and reports the revocation. */
static cmx_err unpin_line(struct agent_config *c, const char *line, void *arg)
{
    struct revocation *found = arg;
    const char *revoked;

    if (!names_gateway(c, line, &revoked))
        return CMX_OK;
    found->found = true;
    for (size_t i = 0; i < c->pins.n;) {
        char *marked;

        if (!is_revoked_pin(line, revoked, c->pins.item[i])) {
            i++;
            continue;
        }
        found->applied = true;
        if (i >= found->first) {
            cmx_mem_free(c->pins.item[i]);
            c->pins.item[i] = c->pins.item[--c->pins.n];
            continue;
        }
        marked = cmx_mem_strdup(line);
        if (!marked)
            return CMX_ENOMEM;
        cmx_mem_free(c->pins.item[i]);
        c->pins.item[i++] = marked;
    }
    return CMX_OK;
}

static cmx_err read_known_hosts(struct agent_config *c, struct config_report *r)
{
    const char *path = c->gateway.known_hosts_file;
    unsigned line = config_line(&c->gateway.head, "gateway", "known_hosts_file");
    const struct cmx_gateway_host none = {.host = "HOST", .port = 22}, *g = c->gateways.n ? c->gateways.at : &none;
    const char *others = c->gateways.n > 1 ? " or another gateway" : "";
    struct revocation revocation = {.first = c->pins.n};
    size_t len = 0;
    char *text = NULL;
    struct cmx_why why = {""};
    cmx_err err = cmx_file_read(path, KNOWN_HOSTS_MAX, false, &text, &len, &why);

    if (!err && memchr(text, 0, len)) { /* revocations in the lines after the NUL would be lost */
        cmx_mem_free_secret(text);
        err = cmx_why_fail(&why, CMX_EFORMAT, "a NUL byte in the file");
    }
    if (err) {
        config_error(r, line, "known_hosts_file %s: %s; see: ssh-keyscan -p %u %s", path, why.text, (unsigned)g->port,
                     g->host);
        return err == CMX_ENOMEM ? err : CMX_OK;
    }
    err = each_line(text, pin_line, c, NULL);
    if (!err)
        err = each_line(text, unpin_line, c, &revocation);
    if (err == CMX_ENOSPC)
        config_error(r, line, "known_hosts_file %s: more than %d keys of the gateway%s", path, CONFIG_LIST_MAX, others);
    else if (err)
        config_error(r, line, "known_hosts_file %s: out of memory", path);
    else if (c->pins.n == 0 && revocation.applied)
        config_error(r, line, "known_hosts_file %s: every key of %s port %u%s is revoked", path, g->host,
                     (unsigned)g->port, others[0] ? " and of the other gateways" : "");
    else if (c->pins.n == revocation.first && !(revocation.found && revocation.first > 0))
        config_error(r, line, "known_hosts_file %s: no line for %s port %u%s; see: ssh-keyscan -p %u %s", path, g->host,
                     (unsigned)g->port, others, (unsigned)g->port, g->host);
    cmx_mem_free_secret(text);
    return err == CMX_ENOMEM ? err : CMX_OK;
}

static cmx_err read_pins(struct agent_config *c, struct config_report *r)
{
    cmx_err err = CMX_OK;

    for (size_t i = 0; i < c->gateway.host_key.n && !err; i++)
        err = pin_add(c, c->gateway.host_key.item[i], strlen(c->gateway.host_key.item[i]));
    if (!err && c->gateway.known_hosts_file)
        err = read_known_hosts(c, r);
    if (!err && c->pins.n > CMX_PROXY_HOST_KEYS_MAX)
        config_error(r, c->gateway.head.line, "%zu host keys are pinned; at most %d can be", c->pins.n,
                     CMX_PROXY_HOST_KEYS_MAX);
    return err;
}

/* Reads a secret from the file `path`. key: the key of [gateway] that names this file, for error messages. */
static cmx_err read_secret(struct agent_config *c, struct config_report *r, const char *key, const char *path,
                           char **out)
{
    struct cmx_why why = {""};
    cmx_err err = path ? cmx_file_read_secret_line(path, out, &why) : CMX_OK;

    if (err)
        config_error(r, config_line(&c->gateway.head, "gateway", key), "%s %s: %s", key, path, why.text);
    return err == CMX_ENOMEM ? err : CMX_OK;
}

static void check_key_file(const struct agent_config *c, struct config_report *r)
{
    const char *path = c->gateway.options.key_file;
    struct cmx_why why = {""};
    cmx_err err = cmx_file_check_secret(path, &why);

    if (err)
        config_error(r, config_line(&c->gateway.head, "gateway", "key_file"), "key_file %s: %s%s%s", path, why.text,
                     err == CMX_ENOENT ? "; make one: ssh-keygen -t ed25519 -N '' -f " : "",
                     err == CMX_ENOENT ? path : "");
}

/* True if both names lead to the same file. A file whose file system does not answer is not compared, because the
 * agent would wait for it for ever. */
static bool same_file(const char *a, const char *b)
{
    struct stat x, y;

    return strcmp(a, b) != 0 /* config_check has reported equal names */ && cmx_file_answers(a, FILE_ANSWER_MS) &&
           cmx_file_answers(b, FILE_ANSWER_MS) && stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

cmx_err config_read_files(struct agent_config *c, struct config_report *r)
{
    const struct gateway_section *g = &c->gateway;
    unsigned before = r->errors;
    cmx_err err = read_pins(c, r);

    config_check_spool(c, r, same_file);
    if (!err && g->options.key_file)
        check_key_file(c, r);
    if (!err)
        err = read_secret(c, r, "key_passphrase_file", g->key_passphrase_file, &c->key_passphrase);
    if (!err)
        err = read_secret(c, r, "password_file", g->password_file, &c->password);
    if (err == CMX_OK && r->errors != before)
        err = CMX_EINVAL;
    return err;
}

cmx_err config_read_text(const char *file, struct config_report *r, struct agent_config **out)
{
    size_t len = 0;
    char *text = NULL;
    struct cmx_why why = {""};
    cmx_err err = cmx_file_read(file, CMX_INI_FILE_MAX, false, &text, &len, &why);

    *out = NULL;
    if (err) {
        config_error(r, 0, "%s%s", why.text,
                     err == CMX_EPERM ? "; let this user read the file, or run the command as root" : "");
        return err;
    }
    err = config_parse(text, len, r, out);
    cmx_mem_free_secret(text);
    return err;
}

cmx_err config_load(const char *file, struct config_report *r, struct agent_config **out)
{
    cmx_err err = config_read_text(file, r, out);

    if (!err)
        err = config_read_files(*out, r);
    if (err) {
        config_free(*out);
        *out = NULL;
    }
    return err;
}

void config_free(struct agent_config *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < config_n_sections; i++)
        if (!config_sections[i].named)
            config_clear(&config_sections[i], (char *)c + config_sections[i].offset);
    for (size_t i = 0; i < c->n_contexts; i++)
        config_clear(config_section_find("context", 7), &c->contexts[i]);
    while (c->pins.n)
        cmx_mem_free(c->pins.item[--c->pins.n]);
    cmx_mem_free_secret(c->key_passphrase);
    cmx_mem_free_secret(c->password);
    cmx_mem_free(c);
}

void config_gateway(const struct agent_config *c, struct cmx_gateway *gateway)
{
    *gateway = c->gateway.options;
    gateway->host_keys = (const char *const *)c->pins.item;
    gateway->n_host_keys = c->pins.n;
    gateway->key_passphrase = c->key_passphrase;
    gateway->password = c->password;
    gateway->fleet_address = cmx_fleet_device_address;
    if (!gateway->key_file && !gateway->password && (c->identity.key_file || c->identity.tpm_handle))
        gateway->key_load = cmx_identity_key_load;
    gateway->want_session_id = c->attest.enabled;
}

void config_engine(const struct agent_config *c, struct cmx_gateway *gateway, struct cmx_context *contexts)
{
    config_gateway(c, gateway);
    for (size_t i = 0; i < c->n_contexts; i++) {
        contexts[i] = c->contexts[i].options;
        contexts[i].name = c->contexts[i].name;
        /* A listener needs an address. The rules of isolation permit localhost only as 127.0.0.1; the C library may
         * return ::1 first, and each connection would then wait for ::1 until its time is up. */
        if ((c->isolation.enabled || contexts[i].direction == CMX_DIRECT) &&
            strcmp(contexts[i].local_host, "localhost") == 0)
            contexts[i].local_host = "127.0.0.1";
    }
}
