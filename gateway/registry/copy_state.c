#include "gateway/registry/copy_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "port/linux/file_read.h"

#define FORM "cmxsafe-copy 1"

void gw_copy_state_text(const struct gw_copy_state *s, char out[GW_COPY_STATE_MAX])
{
    snprintf(out, GW_COPY_STATE_MAX, FORM " %lld %lld %s\n%.*s\n%lld\n", (long long)s->confirmed.wall,
             (long long)s->confirmed.boot_s, s->confirmed.boot[0] ? s->confirmed.boot : "-",
             (int)strcspn(s->reason, "\n"), s->reason, (long long)s->stored);
}

cmx_err gw_copy_state_parse(struct gw_copy_state *s, const char *text)
{
    long long wall;
    long long boot_s;
    int end = 0;
    size_t len;

    memset(&s->confirmed, 0, sizeof s->confirmed);
    s->stored = 0;
    s->reason[0] = '\0';
    if (sscanf(text, FORM " %18lld %18lld %39[0-9a-f-]%n", &wall, &boot_s, s->confirmed.boot, &end) != 3 || wall < 0 ||
        boot_s < 0 || text[end] != '\n') {
        memset(&s->confirmed, 0, sizeof s->confirmed);
        return CMX_EFORMAT;
    }
    s->confirmed.wall = wall;
    s->confirmed.boot_s = boot_s;
    text += end + 1;
    len = strcspn(text, "\n");
    if (text[len])
        s->stored = strtoll(text + len + 1, NULL, 10);
    if (len >= sizeof s->reason)
        len = sizeof s->reason - 1;
    memcpy(s->reason, text, len);
    s->reason[len] = '\0';
    return CMX_OK;
}

int64_t gw_copy_state_age(const struct gw_copy_state *s)
{
    struct gw_now now;
    int64_t age;

    gw_now(&now);
    age = strcmp(now.boot, s->confirmed.boot) == 0 ? now.boot_s - s->confirmed.boot_s : now.wall - s->confirmed.wall;
    return age > 0 && s->confirmed.wall ? age : 0;
}

bool gw_copy_state_good(const struct gw_copy_state *s)
{
    return !s->shared || (s->left > 0 && !s->reason[0] && gw_copy_state_age(s) <= GW_COPY_SILENT_S);
}

void gw_copy_state_read(struct gw_copy_state *out, const char *registry_path, int64_t latest, int64_t stored)
{
    char path[4200];
    const char *slash = strrchr(registry_path, '/');
    char *text;
    size_t len;
    struct gw_term t;
    struct gw_now now;
    cmx_err err;

    out->left = 0;
    snprintf(path, sizeof path, "%.*s" GW_COPY_STATE_FILE, slash ? (int)(slash + 1 - registry_path) : 0, registry_path);
    if (cmx_file_read(path, GW_COPY_STATE_MAX, false, &text, &len, NULL))
        return;
    err = gw_copy_state_parse(out, text);
    cmx_mem_free_secret(text);
    if (err)
        return;
    if (stored < out->stored) { /* PostgreSQL confirmed another copy */
        memset(&out->confirmed, 0, sizeof out->confirmed);
        return;
    }
    t = (struct gw_term){.given = out->confirmed.wall,
                         .ends = out->confirmed.wall + out->stale_after,
                         .boot = out->confirmed.boot,
                         .boot_ends = out->confirmed.boot_s + out->stale_after};
    gw_now(&now);
    out->left = gw_term_left(&t, &now, latest);
}
