#include "cmxsafe/proxy/gateways.h"

#include <string.h>

#include "cmxsafe/core/text.h"

static bool is_host(const char *s)
{
    const char *at = s;

    while (*at && (cmx_text_is_alnum(*at) || strchr("._-:%", *at)))
        at++;
    return *s && !*at;
}

static char *trim(char *s)
{
    char *end = s + strlen(s);

    while (*s == ' ' || *s == '\t')
        s++;
    while (end > s && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = 0;
    return s;
}

static cmx_err add_entry(struct cmx_gateway_list *l, char *entry, uint16_t port, uint8_t group)
{
    struct cmx_gateway_host *h = &l->at[l->n];

    if (l->n == CMX_GATEWAYS_MAX)
        return CMX_EINVAL;
    h->port = port;
    if (!cmx_text_split_host(trim(entry), &h->host, &h->port) || !is_host(h->host))
        return CMX_EINVAL;
    h->group = group;
    l->n++;
    return CMX_OK;
}

cmx_err cmx_gateway_list_parse(struct cmx_gateway_list *l, const char *text, uint16_t port, struct cmx_why *why)
{
    uint8_t group = 0;
    char *next = l->text;

    l->n = 0;
    for (bool more = cmx_text_copy(l->text, sizeof l->text, text) == CMX_OK; more;) {
        char *entry = next;
        size_t len = strcspn(next, ",>");
        const char separator = next[len];

        more = separator != 0;
        next[len] = 0;
        next += len + 1;
        if (add_entry(l, entry, port, group)) {
            l->n = 0;
            break;
        }
        if (separator == '>')
            group++;
    }
    return l->n ? CMX_OK
                : cmx_why_fail(why, CMX_EINVAL,
                               "'%.40s' is not a list of 1 to %d gateways, each HOST, HOST:PORT or [IPV6]:PORT", text,
                               CMX_GATEWAYS_MAX);
}

/* ---- choosing a gateway ---- */

/* Finds the first group that has untried gateways, and returns how many of them it has. *first receives the index of
 * the first of these gateways. */
static unsigned count_untried(const struct cmx_gateway_turn *t, const struct cmx_gateway_list *l, size_t *first)
{
    unsigned n = 0;

    for (size_t i = 0; i < l->n; i++) {
        if (t->tried >> i & 1)
            continue;
        if (!n)
            *first = i;
        else if (l->at[i].group != l->at[*first].group)
            break;
        n++;
    }
    return n;
}

static void choose(struct cmx_gateway_turn *t, const struct cmx_gateway_list *l, uint32_t random)
{
    size_t i = 0;
    unsigned skip = (unsigned)((uint64_t)count_untried(t, l, &i) * random >> 32);

    while (t->tried >> i & 1 || skip--)
        i++;
    t->at = (uint8_t)i;
}

void cmx_gateway_turn_begin(struct cmx_gateway_turn *t, const struct cmx_gateway_list *l, uint32_t random)
{
    t->tried = 0;
    choose(t, l, random);
}

bool cmx_gateway_turn_is_last(const struct cmx_gateway_turn *t, const struct cmx_gateway_list *l)
{
    return (t->tried | 1u << t->at) == (1u << l->n) - 1;
}

void cmx_gateway_turn_next(struct cmx_gateway_turn *t, const struct cmx_gateway_list *l, uint32_t random)
{
    t->tried = (uint8_t)(cmx_gateway_turn_is_last(t, l) ? 0u : t->tried | 1u << t->at);
    choose(t, l, random);
}

void cmx_gateway_turn_worked(struct cmx_gateway_turn *t)
{
    t->tried = 0;
}
