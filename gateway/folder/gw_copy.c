#include "gateway/folder/gw_copy.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "gateway/folder/gw_files.h"

void gw_copy_look(struct gw *g, struct gw_copy_state *out)
{
    char path[GW_PATH_MAX];

    gw_registry_copy_state(&g->registry, gw_path(g, "registry.db", path), out);
}

const char *gw_copy_url(struct gw *g, char out[GW_REGISTRY_URL_MAX])
{
    return gw_meta_get(&g->registry, "registry", out, GW_REGISTRY_URL_MAX) == CMX_OK ? out : "";
}

void gw_copy_warning(struct gw *g, char out[GW_COPY_WARNING_MAX])
{
    struct gw_copy_state s;
    char age[GW_LENGTH_TEXT_MAX];
    char left[GW_LENGTH_TEXT_MAX];

    gw_copy_look(g, &s);
    out[0] = '\0';
    if (gw_copy_state_good(&s))
        return;
    gw_term_length_text(gw_copy_state_age(&s), age);
    gw_term_length_text(s.left, left);
    if (!s.reason[0])
        snprintf(s.reason, sizeof s.reason,
                 "'cmxsafe gateway follow' is not running; start the gateway, which runs it");
    if (s.left > 0)
        snprintf(out, GW_COPY_WARNING_MAX,
                 "this gateway has been cut off from the registry in PostgreSQL for %s: %s; all logins will be refused "
                 "in %s",
                 age, s.reason, left);
    else
        snprintf(
            out, GW_COPY_WARNING_MAX,
            "the copy of the registry is stale, so all logins are refused: PostgreSQL has not confirmed it for %s: %s",
            s.confirmed.wall ? age : "an unknown time", s.reason);
}

void gw_copy_left_out(struct gw *g, char out[GW_COPY_WARNING_MAX])
{
    char rows[GW_COPY_WARNING_MAX - 64];

    out[0] = '\0';
    if (gw_meta_get(&g->registry, GW_META_LEFT_OUT, rows, sizeof rows) != CMX_ENOENT)
        snprintf(out, GW_COPY_WARNING_MAX, "malformed rows of the shared registry are left out: %s", rows);
}

static cmx_err store_state(struct gw *g, const struct gw_copy_state *s, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    char text[GW_COPY_STATE_MAX];

    gw_copy_state_text(s, text);
    return gw_file_write(gw_path(g, GW_COPY_STATE_FILE, path), text, strlen(text), 0644, e);
}

cmx_err gw_copy_confirm(struct gw *g, struct cmx_why *e)
{
    struct gw_copy_state s = {.shared = true, .stored = gw_registry_stored(&g->registry)};

    gw_now(&s.confirmed);
    return store_state(g, &s, e);
}

cmx_err gw_copy_note(struct gw *g, const char *reason, struct cmx_why *e)
{
    struct gw_copy_state s;

    gw_copy_look(g, &s);
    snprintf(s.reason, sizeof s.reason, "%s", reason);
    return store_state(g, &s, e);
}

cmx_err gw_copy_forget(struct gw *g, struct cmx_why *e)
{
    char path[GW_PATH_MAX];

    if (unlink(gw_path(g, GW_COPY_STATE_FILE, path)) == 0 || errno == ENOENT)
        return CMX_OK;
    return cmx_why_fail(e, CMX_EPERM, "can't remove %s (%s)", path, strerror(errno));
}
