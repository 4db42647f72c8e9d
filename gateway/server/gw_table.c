#include "gateway/server/gw_table.h"

#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "gateway/server/gw_load.h"
#include "gateway/server/gw_netstate.h"

struct nft_ctx *gw_table_context(void)
{
    struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);

    if (nft && (nft_ctx_buffer_output(nft) || nft_ctx_buffer_error(nft))) {
        nft_ctx_free(nft);
        return NULL;
    }
    if (nft)
        nft_ctx_output_set_flags(nft, NFT_CTX_OUTPUT_STATELESS);
    return nft;
}

bool gw_table_open(struct gw_table *t, const char *name, const char *file)
{
    struct timeval patience = {.tv_sec = 2};

    *t = (struct gw_table){.name = name, .file = file, .nft = gw_table_context()};
    t->netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (!t->nft || t->netlink < 0)
        return false;
    setsockopt(t->netlink, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return true;
}

void gw_table_close(struct gw_table *t)
{
    if (!t->name) /* it was never opened */
        return;
    if (t->nft)
        nft_ctx_free(t->nft);
    if (t->netlink >= 0)
        close(t->netlink);
    cmx_mem_free(t->reference);
    cmx_mem_free(t->found);
    *t = (struct gw_table){0};
}

/* Removes each occurrence of word (" timeout " or " expires ") and the time after it. These times depend on when the
 * rules were loaded. */
static void strip_times(char *text, const char *word)
{
    char *at = text;

    while ((at = strstr(at, word)) != NULL) {
        char *end = at + strlen(word);
        end += strcspn(end, " ,}\n");
        memmove(at, end, strlen(end) + 1);
    }
}

/* Removes from the listing the elements of a set to which the kernel adds elements. nft lists them at the end of the
 * set. */
static void strip_elements(char *text, const char *set)
{
    char *at = strstr(text, set);
    char *end = at ? strstr(at, "\n\t}") : NULL;
    char *elements = at ? strstr(at, "\n\t\telements = {") : NULL;

    if (elements && end && elements < end)
        memmove(elements, end, strlen(end) + 1);
}

/* Returns nft's listing of the table, without times and without elements that the kernel added; free it with
 * cmx_mem_free. NULL: there is no such table. */
static char *table_text(struct nft_ctx *nft, const char *name)
{
    char command[64];
    const char *listing;
    char *text;

    snprintf(command, sizeof command, "list table inet %s", name);
    listing = nft_run_cmd_from_buffer(nft, command) == 0 ? nft_ctx_get_output_buffer(nft) : NULL;
    text = listing ? cmx_mem_strdup(listing) : NULL;
    if (!text)
        return NULL;
    strip_times(text, " expires ");
    strip_times(text, " timeout ");
    strip_elements(text, "\tset denied {");
    strip_elements(text, "\tset operators {");
    return text;
}

void gw_table_keep_found(struct gw_table *t)
{
    cmx_mem_free(t->found);
    t->found = table_text(t->nft, t->name);
}

bool gw_table_take_reference(struct gw_table *t, const struct gw *g, struct nft_ctx *scratch, int ns)
{
    char path[GW_PATH_MAX];
    bool loaded = gw_load_rules(g, gw_path(g, t->file, path), ns);

    cmx_mem_free(t->reference);
    t->reference = loaded ? table_text(scratch, t->name) : NULL;
    (void)nft_run_cmd_from_buffer(scratch, "flush ruleset"); /* frees the kernel's memory; a failure does no harm */
    return t->reference != NULL;
}

bool gw_table_matches(struct gw_table *t)
{
    uint32_t generation;
    bool known = gw_netstate_generation(t->netlink, &generation);
    char *text = known && t->reference ? table_text(t->nft, t->name) : NULL;
    bool same = text && strcmp(text, t->reference) == 0;

    cmx_mem_free(text);
    if (same)
        t->generation = generation;
    return same;
}

bool gw_table_is_unchanged(const struct gw_table *t)
{
    uint32_t generation;

    return gw_netstate_generation(t->netlink, &generation) && generation == t->generation;
}

void gw_table_changed_here(struct gw_table *t, uint32_t n)
{
    uint32_t generation;

    if (gw_netstate_generation(t->netlink, &generation) && generation == t->generation + n)
        t->generation = generation;
}
