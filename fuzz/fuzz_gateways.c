/* Parses any text as a list of gateways from a configuration file or NVS. An accepted list must be within the limits.
 * The list is then written as text, and the text is parsed again. The result must be the same list, unless the text is
 * too long. The order in which gateways are tried must contain each gateway once. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/proxy/gateways.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Writes the list in the syntax that the parser must accept. */
static void write_list(const struct cmx_gateway_list *l, char *out, size_t cap)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        bool first_of_group = i && l->at[i].group != l->at[i - 1].group;

        n += (size_t)snprintf(out + n, cap - n, "%s[%s]:%u",
                              !i               ? ""
                              : first_of_group ? ">"
                                               : ",",
                              l->at[i].host, (unsigned)l->at[i].port);
    }
}

static void check_order(const struct cmx_gateway_list *l, uint32_t random)
{
    struct cmx_gateway_turn t;
    unsigned seen = 0, group = 0;

    cmx_gateway_turn_begin(&t, l, random);
    for (size_t i = 0; i < l->n; i++) {
        assert(t.at < l->n && !(seen >> t.at & 1) && l->at[t.at].group >= group);
        seen |= 1u << t.at;
        group = l->at[t.at].group;
        assert(cmx_gateway_turn_is_last(&t, l) == (i + 1 == l->n));
        random = random * 1664525u + 1013904223u;
        cmx_gateway_turn_next(&t, l, random);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), again[CMX_GATEWAYS_TEXT_MAX + CMX_GATEWAYS_MAX * 10];
    struct cmx_gateway_list l, m;

    memcpy(text, data, size);
    text[size] = 0;
    if (cmx_gateway_list_parse(&l, text, 22, NULL) != CMX_OK) {
        assert(l.n == 0);
        free(text);
        return 0;
    }
    free(text);
    assert(l.n >= 1 && l.n <= CMX_GATEWAYS_MAX && l.at[0].group == 0);
    write_list(&l, again, sizeof again);
    if (cmx_gateway_list_parse(&m, again, 1, NULL) == CMX_OK) {
        assert(m.n == l.n);
        for (size_t i = 0; i < l.n; i++)
            assert(m.at[i].port == l.at[i].port && m.at[i].group == l.at[i].group &&
                   strcmp(m.at[i].host, l.at[i].host) == 0);
    } else {
        assert(strlen(again) >= CMX_GATEWAYS_TEXT_MAX);
    }
    check_order(&l, (uint32_t)size * 2654435761u);
    return 0;
}
