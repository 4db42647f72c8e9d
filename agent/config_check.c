/* config_check.c - rules between keys. */
#include <string.h>

#include "config_table.h"

static unsigned line_of(const char *section, const struct config_head *head, const char *key)
{
    unsigned line = head->key_line[config_key_place(config_key_find(section, key))];

    return line ? line : head->line;
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
    if (!g->key_file && !g->password_file)
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
    if (c->n_contexts == 0)
        config_error(r, 0, "no [context NAME] section: nothing to do");
    for (size_t i = 0; i < c->n_contexts; i++) {
        check_direction(&c->contexts[i], r);
        check_listeners(c, i, r);
    }
}
