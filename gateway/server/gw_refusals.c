#include "gateway/server/gw_refusals.h"

#include <stdio.h>
#include <stdlib.h>

#include "cmxsafe/core/mem.h"
#include "gateway/server/gw_control.h"
#include "gateway/server/gw_denied.h"

/* Removes the listed refusals from the set; newer ones stay for the next report. If a listed refusal has expired
 * meanwhile, the kernel rejects the whole command, and each refusal is then removed with a separate command. Returns
 * how many commands the kernel accepted. */
static uint32_t remove_refusals(struct nft_ctx *nft, const char *begin)
{
    static const char head[] = "delete element inet " GW_NFT_TABLE " denied { ";
    char key[GW_DENIED_ELEMENT_MAX];
    char one[sizeof head + sizeof key + 4];
    struct gw_denied x;
    uint32_t n = 0;
    char *all = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&all, &len);
    const char *separator = head;

    for (const char *at = begin; f && gw_denied_next(&at, &x); separator = ", ") {
        gw_denied_key(&x, key);
        fprintf(f, "%s%s", separator, key);
    }
    if (f)
        fputs(" }", f);
    if (f && fclose(f) == 0 && nft_run_cmd_from_buffer(nft, all) == 0)
        n = 1;
    else
        for (const char *at = begin; gw_denied_next(&at, &x);) {
            gw_denied_key(&x, key);
            snprintf(one, sizeof one, "%s%s }", head, key);
            n += nft_run_cmd_from_buffer(nft, one) == 0; /* fails if the element has expired */
        }
    free(all); /* allocated by open_memstream */
    return n;
}

void gw_refusals_tell(const struct gw *g, const char *listing)
{
    const char *at = gw_denied_begin(listing);
    struct gw_denied x;
    char line[160];

    while (gw_denied_next(&at, &x)) {
        snprintf(line, sizeof line, "denied %s %s %u %llu", x.source, x.target, x.port, x.packets);
        if (!gw_control_tell(g, line))
            break; /* without a server there is no access log */
    }
}

uint32_t gw_refusals_report(const struct gw *g, struct nft_ctx *nft)
{
    const char *begin;
    uint32_t n = 0;
    char *text;

    nft_ctx_output_set_flags(nft, 0); /* include the counters in listings */
    text = nft_run_cmd_from_buffer(nft, GW_REFUSALS_LIST) == 0 ? cmx_mem_strdup(nft_ctx_get_output_buffer(nft)) : NULL;
    nft_ctx_output_set_flags(nft, NFT_CTX_OUTPUT_STATELESS);
    begin = text ? gw_denied_begin(text) : NULL;
    if (begin) {
        n = remove_refusals(nft, begin);
        gw_refusals_tell(g, text);
    }
    cmx_mem_free(text);
    return n;
}
