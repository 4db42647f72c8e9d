/* config_check.c - rules between keys. */
#include <string.h>

#include "cmxsafe/core/text.h"
#include "config_table.h"

static unsigned line_of(const char *section, const struct config_head *head, const char *key)
{
    unsigned line = head->key_line[config_key_place(config_key_find(section, key))];

    return line ? line : head->line;
}

static bool has_identity(const struct agent_config *c)
{
    return c->identity.key_file || c->identity.tpm_handle;
}

static void check_identity(const struct agent_config *c, struct config_report *r)
{
    const struct identity_section *s = &c->identity;
    uint64_t handle;

    if (s->key_file && s->tpm_handle)
        config_error(r, line_of("identity", &s->head, "tpm_handle"), "one key: key_file or tpm_handle, not both");
    if (s->tpm_handle && cmx_text_u64(s->tpm_handle, 0x81000000, 0x81ffffff, &handle))
        config_error(r, line_of("identity", &s->head, "tpm_handle"),
                     "tpm_handle: '%s' is no persistent handle, 0x81000000 to 0x81ffffff", s->tpm_handle);
    if (s->tpm && !s->tpm_handle)
        config_error(r, line_of("identity", &s->head, "tpm"), "tpm without tpm_handle");
    if (c->attest.enabled && !has_identity(c))
        config_error(r, line_of("attest", &c->attest.head, "enabled"),
                     "attestation needs a key: give key_file or tpm_handle in [identity]");
}

static void check_gateway(const struct agent_config *c, struct config_report *r)
{
    const struct gateway_section *g = &c->gateway;

    if (!g->head.line) {
        config_error(r, 0, "no [gateway] section");
        return;
    }
    if (g->host_key.n == 0 && !g->known_hosts_file)
        config_error(r, g->head.line, "[gateway] pins no host key: give host_key or known_hosts_file");
    if (!g->key_file && !g->password_file && !has_identity(c))
        config_error(r, g->head.line, "[gateway] has no credential: give key_file or password_file");
    if (g->key_passphrase_file && !g->key_file)
        config_error(r, line_of("gateway", &g->head, "key_passphrase_file"), "key_passphrase_file without key_file");
    if (g->backoff_max_ms < g->backoff_min_ms)
        config_error(r, line_of("gateway", &g->head, "backoff_max"), "backoff_max is less than backoff_min");
}

/* A key that the context's direction has no use for is a mistake, not a default. */
static void check_direction(const struct context_section *s, struct config_report *r)
{
    static const struct {
        const char *key;
        cmx_proxy_direction direction;
    } only[] = {{"remote_address", CMX_REVERSE},
                {"connect_timeout", CMX_REVERSE},
                {"probe_interval", CMX_REVERSE},
                {"users", CMX_DIRECT},
                {"remote_host", CMX_DIRECT}};

    for (size_t i = 0; i < sizeof only / sizeof only[0]; i++) {
        unsigned line = s->head.key_line[config_key_place(config_key_find("context", only[i].key))];

        if (line && s->direction != (uint64_t)only[i].direction)
            config_error(r, line, "%s is for a %s context", only[i].key,
                         s->direction == CMX_REVERSE ? "direct" : "reverse");
    }
    if (s->direction == CMX_DIRECT && !s->remote_host)
        config_error(r, s->head.line, "[context %s] lacks remote_host, which a direct context needs", s->name);
}

static bool same(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* Two contexts can't listen at one place. */
static void check_listeners(const struct agent_config *c, size_t i, struct config_report *r)
{
    const struct context_section *s = &c->contexts[i];

    for (size_t j = 0; j < i; j++) {
        const struct context_section *o = &c->contexts[j];

        if (s->direction != o->direction)
            continue;
        if (s->direction == CMX_REVERSE && s->remote_port && s->remote_port == o->remote_port &&
            same(s->remote_address, o->remote_address))
            config_error(r, line_of("context", &s->head, "remote_port"), "remote_port %llu is [context %s]'s already",
                         (unsigned long long)s->remote_port, o->name);
        if (s->direction == CMX_DIRECT && s->local_port && s->local_port == o->local_port &&
            same(s->local_host, o->local_host))
            config_error(r, line_of("context", &s->head, "local_port"), "local_port %llu is [context %s]'s already",
                         (unsigned long long)s->local_port, o->name);
    }
}

void config_check(const struct agent_config *c, struct config_report *r)
{
    check_gateway(c, r);
    check_identity(c, r);
    if (c->n_contexts == 0)
        config_error(r, 0, "no [context NAME] section: nothing to do");
    for (size_t i = 0; i < c->n_contexts; i++) {
        check_direction(&c->contexts[i], r);
        check_listeners(c, i, r);
    }
}
