/* config.c - a configuration file and the files that it names, as one value. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/identity/identity.h"
#include "config_table.h"
#include "file.h"
#include "known_hosts.h"

#define KNOWN_HOSTS_MAX (1024 * 1024)
#define WHY_MAX 300

static unsigned gateway_line(const struct agent_config *c, const char *key)
{
    return c->gateway.head.key_line[config_key_place(config_key_find("gateway", key))];
}

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

/* Calls fn for each line of text, as a string. Stops at the first error. */
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

static cmx_err pin_line(struct agent_config *c, const char *line, void *arg)
{
    (void)arg;
    if (!known_hosts_match(line, c->gateway.host, (uint16_t)c->gateway.port))
        return CMX_OK;
    return pin_add(c, line, strlen(line));
}

static bool same_key(const char *a, const char *b)
{
    size_t n = strcspn(a, " \t");

    if (strncmp(a, b, n + 1) != 0)
        return false; /* another type */
    a += n + strspn(a + n, " \t");
    b += n + strspn(b + n, " \t");
    n = strcspn(a, " \t");
    return n == strcspn(b, " \t") && strncmp(a, b, n) == 0;
}

/* A revoked key is no pin, wherever the file says so. */
static cmx_err unpin_line(struct agent_config *c, const char *line, void *arg)
{
    size_t *first = arg; /* pins before are not from this file */
    const char *revoked, *key;

    if (!known_hosts_revoked(line, c->gateway.host, (uint16_t)c->gateway.port, &revoked))
        return CMX_OK;
    for (size_t i = *first; i < c->pins.n;) {
        key = known_hosts_key(c->pins.item[i]);
        if (!key || !same_key(revoked, key)) {
            i++;
            continue;
        }
        cmx_mem_free(c->pins.item[i]);
        c->pins.item[i] = c->pins.item[--c->pins.n];
    }
    return CMX_OK;
}

static cmx_err read_known_hosts(struct agent_config *c, struct config_report *r)
{
    const char *path = c->gateway.known_hosts_file;
    unsigned line = gateway_line(c, "known_hosts_file");
    size_t first = c->pins.n, len = 0;
    char *text = NULL;
    char why[WHY_MAX];
    cmx_err err = file_read(path, KNOWN_HOSTS_MAX, false, &text, &len, why, sizeof why);

    if (err) {
        config_error(r, line, "known_hosts_file %s: %s; see: ssh-keyscan -p %u %s", path, why,
                     (unsigned)c->gateway.port, c->gateway.host ? c->gateway.host : "HOST");
        return err == CMX_ENOMEM ? err : CMX_OK;
    }
    err = each_line(text, pin_line, c, NULL);
    if (!err)
        err = each_line(text, unpin_line, c, &first);
    if (err == CMX_ENOSPC)
        config_error(r, line, "known_hosts_file %s: more than %d keys of the gateway", path, CONFIG_LIST_MAX);
    else if (err)
        config_error(r, line, "known_hosts_file %s: out of memory", path);
    else if (c->pins.n == first)
        config_error(r, line, "known_hosts_file %s: no line for %s port %u; see: ssh-keyscan -p %u %s", path,
                     c->gateway.host, (unsigned)c->gateway.port, (unsigned)c->gateway.port, c->gateway.host);
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

/* Reads the secret that a key of [gateway] names. */
static cmx_err read_secret(struct agent_config *c, struct config_report *r, const char *key, const char *path,
                           char **out)
{
    char why[WHY_MAX];
    cmx_err err = path ? file_read_secret_line(path, out, why, sizeof why) : CMX_OK;

    if (err)
        config_error(r, gateway_line(c, key), "%s %s: %s", key, path, why);
    return err == CMX_ENOMEM ? err : CMX_OK;
}

static void check_key_file(const struct agent_config *c, struct config_report *r)
{
    const char *path = c->gateway.key_file;
    char why[WHY_MAX];
    cmx_err err = file_check_secret(path, why, sizeof why);

    if (err)
        config_error(r, gateway_line(c, "key_file"), "key_file %s: %s%s%s", path, why,
                     err == CMX_ENOENT ? "; make one: ssh-keygen -t ed25519 -N '' -f " : "",
                     err == CMX_ENOENT ? path : "");
}

cmx_err config_files(struct agent_config *c, struct config_report *r)
{
    const struct gateway_section *g = &c->gateway;
    unsigned before = r->errors;
    cmx_err err = read_pins(c, r);

    if (!err && g->key_file)
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
    char why[WHY_MAX];
    cmx_err err = file_read(file, CONFIG_FILE_MAX, false, &text, &len, why, sizeof why);

    *out = NULL;
    if (err) {
        config_error(r, 0, "%s", why);
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
        err = config_files(*out, r);
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

static void engine_context(const struct context_section *s, struct cmx_context *out)
{
    *out = (struct cmx_context){
        .name = s->name,
        .direction = (cmx_proxy_direction)s->direction,
        .local_host = s->local_host,
        .local_port = (uint16_t)s->local_port,
        .remote_port = (uint16_t)s->remote_port,
        .remote_address = s->remote_address,
        .remote_host = s->remote_host,
        .high_bw = s->high_bw,
        .max_connections = (unsigned)s->max_connections,
        .idle_timeout_s = (unsigned)(s->idle_timeout_ms / 1000),
        .connect_timeout_s = s->direction == CMX_REVERSE ? (unsigned)(s->connect_timeout_ms / 1000) : 0,
        .session = s->session,
        .probe_interval_s = (unsigned)(s->probe_interval_ms / 1000),
    };
}

void config_engine(const struct agent_config *c, struct cmx_gateway *gateway, struct cmx_context *contexts)
{
    const struct gateway_section *g = &c->gateway;

    *gateway = (struct cmx_gateway){
        .host = g->host,
        .port = (uint16_t)g->port,
        .user = g->user,
        .host_keys = (const char *const *)c->pins.item,
        .n_host_keys = c->pins.n,
        .key_file = g->key_file,
        .key_passphrase = c->key_passphrase,
        .password = c->password,
        .ciphers = g->ciphers,
        .login_timeout_s = (unsigned)(g->login_timeout_ms / 1000),
        .keepalive_s = (unsigned)(g->keepalive_ms / 1000),
        .keepalive_max = (unsigned)g->keepalive_max,
        .backoff_base_ms = (uint32_t)g->backoff_min_ms,
        .backoff_max_ms = (uint32_t)g->backoff_max_ms,
        .rekey_bytes = g->rekey_bytes,
    };
    if (!gateway->key_file && !gateway->password && (c->identity.key_file || c->identity.tpm_handle))
        gateway->key_load = cmx_identity_key_load;
    gateway->want_session_id = c->attest.enabled;
    for (size_t i = 0; i < c->n_contexts; i++)
        engine_context(&c->contexts[i], &contexts[i]);
}
