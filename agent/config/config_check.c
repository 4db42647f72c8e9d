/* config_check.c - checks the rules that concern more than one key. */
#include <string.h>

#include "agent/config/config_table.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/proxy/proxy_config.h"

static bool has_identity(const struct agent_config *c)
{
    return c->identity.key_file || c->identity.tpm_handle;
}

static void check_identity(const struct agent_config *c, struct config_report *r)
{
    const struct identity_section *s = &c->identity;
    uint64_t handle;

    if (s->key_file && s->tpm_handle)
        config_error(r, config_line(&s->head, "identity", "tpm_handle"),
                     "[identity] takes key_file or tpm_handle, not both");
    if (s->tpm_handle && cmx_text_u64(s->tpm_handle, 0x81000000, 0x81ffffff, &handle))
        config_error(r, config_line(&s->head, "identity", "tpm_handle"),
                     "tpm_handle: '%s' is not a persistent handle, 0x81000000 to 0x81ffffff", s->tpm_handle);
    if (s->tpm && !s->tpm_handle)
        config_error(r, config_line(&s->head, "identity", "tpm"), "tpm needs tpm_handle");
    if (c->attest.enabled && !has_identity(c))
        config_error(r, config_line(&c->attest.head, "attest", "enabled"),
                     "attestation needs a key: give key_file or tpm_handle in [identity]");
}

/* True if the file contains the key. An invalid value counts too, because its error was already reported. */
static bool key_is_given(const struct config_head *head, const char *section, const char *key)
{
    return head->key_line[config_key_place(config_key_find(section, key))] != 0;
}

static bool gateway_gives_one(const struct agent_config *c, const char *a, const char *b)
{
    return key_is_given(&c->gateway.head, "gateway", a) || key_is_given(&c->gateway.head, "gateway", b);
}

static void check_gateway(const struct agent_config *c, struct config_report *r)
{
    const struct gateway_section *g = &c->gateway;

    if (!g->head.line) {
        config_error(r, 0, "no [gateway] section");
        return;
    }
    if (!gateway_gives_one(c, "host_key", "known_hosts_file"))
        config_error(r, g->head.line, "[gateway] pins no host key: give host_key or known_hosts_file");
    if (!gateway_gives_one(c, "key_file", "password_file") && !has_identity(c))
        config_error(r, g->head.line,
                     "[gateway] has no credential: give key_file, password_file or a key in [identity]");
    if (g->key_passphrase_file && !g->options.key_file)
        config_error(r, config_line(&g->head, "gateway", "key_passphrase_file"), "key_passphrase_file needs key_file");
    if (g->options.backoff_max_ms < g->options.backoff_base_ms)
        config_error(r, config_line(&g->head, "gateway", "backoff_max"), "backoff_max is less than backoff_min");
}

/* Reports keys that the context's direction does not use, and a direct context without remote_host. */
static void check_direction(const struct context_section *s, struct config_report *r)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];
        unsigned line = k->direction ? s->head.key_line[config_key_place(k)] : 0;

        if (line && k->direction != 1 + (unsigned)s->options.direction)
            config_error(r, line, "%s is for a %s context", k->key,
                         s->options.direction == CMX_REVERSE ? "direct" : "reverse");
    }
    if (s->options.direction == CMX_DIRECT && !key_is_given(&s->head, "context", "remote_host"))
        config_error(r, s->head.line, "[context %s] lacks remote_host, which a direct context needs", s->name);
}

static void check_originators(const struct context_section *s, struct config_report *r)
{
    struct cmx_context x = s->options;
    struct cmx_why why = {""};

    x.name = s->name;
    if (cmx_proxy_context_check_originators(&x, &why) != CMX_OK)
        config_error(r, s->head.line, "%s", why.text);
}

static bool same_name(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

void config_check_spool(const struct agent_config *c, struct config_report *r,
                        bool (*same_file)(const char *a, const char *b))
{
    const char *spool = c->ota.install ? c->ota.spool : NULL;
    unsigned line = config_line(&c->ota.head, "ota", "spool");

    if (spool && r->file && same_file(spool, r->file))
        config_error(r, line, "spool: uploads would overwrite this configuration; choose another file");
    for (size_t i = 0; spool && i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];
        const struct config_section *s = config_section_find(k->section, strlen(k->section));
        const char *const *path = (const void *)((const char *)c + s->offset + k->offset);

        if (k->type == CONFIG_PATH && *path && *path != spool && same_file(spool, *path))
            config_error(r, line, "spool: uploads would overwrite the %s of [%s]; choose another file", k->key,
                         k->section);
    }
}

static bool same(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

bool config_covers_loopback(const char *host)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "0.0.0.0", "::"};

    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        if (strcmp(host, hosts[i]) == 0)
            return true;
    return false;
}

/* Reports a port that two listeners would share: the services of [attest] and [ota], or one of them and a direct
 * context. */
static void check_services(const struct agent_config *c, struct config_report *r)
{
    const uint64_t attest = c->attest.enabled ? c->attest.port : 0, ota = c->ota.install ? c->ota.port : 0;

    if (attest && attest == ota)
        config_error(r, config_line(&c->ota.head, "ota", "port"), "port %u is already the port of [attest]",
                     (unsigned)ota);
    for (size_t i = 0; i < c->n_contexts; i++) {
        const struct context_section *s = &c->contexts[i];
        const uint64_t port = s->options.local_port;

        if (s->options.direction == CMX_DIRECT && port && (port == attest || port == ota) &&
            config_covers_loopback(s->options.local_host))
            config_error(r, config_line(&s->head, "context", "local_port"), "local_port %u is already the port of [%s]",
                         (unsigned)port, port == attest ? "attest" : "ota");
    }
}

/* Reports context i if it has the same listener as an earlier context. */
static void check_listeners(const struct agent_config *c, size_t i, struct config_report *r)
{
    const struct context_section *s = &c->contexts[i];
    const struct cmx_context *x = &s->options;

    for (size_t j = 0; j < i; j++) {
        const struct cmx_context *y = &c->contexts[j].options;

        if (x->direction != y->direction)
            continue;
        if (x->direction == CMX_REVERSE && x->remote_port && x->remote_port == y->remote_port &&
            same(x->remote_address, y->remote_address))
            config_error(r, config_line(&s->head, "context", "remote_port"),
                         "remote_port %u already belongs to [context %s]", (unsigned)x->remote_port,
                         c->contexts[j].name);
        if (x->direction == CMX_DIRECT && x->local_port && x->local_port == y->local_port &&
            same(x->local_host, y->local_host))
            config_error(r, config_line(&s->head, "context", "local_port"),
                         "local_port %u already belongs to [context %s]", (unsigned)x->local_port, c->contexts[j].name);
    }
}

void config_check(const struct agent_config *c, struct config_report *r)
{
    check_gateway(c, r);
    check_identity(c, r);
    config_check_spool(c, r, same_name);
    check_services(c, r);
    if (c->n_contexts == 0)
        config_error(r, 0, "no [context NAME] section: nothing to do");
    for (size_t i = 0; i < c->n_contexts; i++) {
        check_direction(&c->contexts[i], r);
        check_originators(&c->contexts[i], r);
        check_listeners(c, i, r);
    }
}
