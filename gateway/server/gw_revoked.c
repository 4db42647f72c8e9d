#include "gateway/server/gw_revoked.h"

#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "gateway/folder/gw_revocation.h"
#include "gateway/registry/authority.h"

#define RENDER_MS 60000 /* a new KRL in the registry reaches sshd's file within this time */

struct batch {
    struct gw_session *sessions[GW_REVOCATION_KEYS_MAX];
    const char *keys[GW_REVOCATION_KEYS_MAX];
    char plain[GW_REVOCATION_KEYS_MAX]
              [GW_KEY_TYPE_MAX + GW_KEY_BLOB_MAX + 2]; /* "TYPE BASE64" of sessions without certificate */
    bool revoked[GW_REVOCATION_KEYS_MAX];
    size_t n;
};

static struct batch batch;

static bool add_session(struct gw_registry *r, struct gw_session *x)
{
    char *plain = batch.plain[batch.n];
    sqlite3_stmt *stmt = NULL;
    bool found = x->certificate.text != NULL;

    batch.keys[batch.n] = found ? x->certificate.text : plain;
    if (!found) {
        found = gw_sql_row(r, &stmt, NULL, "SELECT type, blob FROM key WHERE fingerprint = ?", "t", x->fingerprint) ==
                CMX_OK;
        if (found)
            snprintf(plain, sizeof batch.plain[0], "%s %s", gw_sql_text(stmt, 0), gw_sql_text(stmt, 1));
        sqlite3_finalize(stmt);
    }
    batch.sessions[batch.n] = x;
    batch.n += found;
    return batch.n == GW_REVOCATION_KEYS_MAX;
}

static void mark_revoked(const struct gw_krl *krl)
{
    struct cmx_why e = {0};

    if (gw_revocation_ask(krl->bytes, krl->len, batch.keys, batch.n, batch.revoked, &e))
        gw_note("%s: ending the sessions whose keys could not be checked", e.text);
    for (size_t i = 0; i < batch.n; i++)
        batch.sessions[i]->revoked = batch.revoked[i];
    batch.n = 0;
}

cmx_err gw_revoked_check(struct gw_server *s, struct gw_registry *r, struct cmx_why *e)
{
    struct gw_krl krl;
    cmx_err err = gw_krl_get(r, false, &krl, e);

    if (err || strcmp(krl.digest, s->krl) == 0)
        return err;
    if (krl.digest[0])
        err = gw_krl_get(r, true, &krl, e);
    if (err)
        return err;
    snprintf(s->krl, sizeof s->krl, "%s", krl.digest);
    s->krl_ms = cmx_port_now_ms();
    batch.n = 0;
    for (struct gw_session *x = s->sessions; krl.len && x; x = x->next)
        if (x->up && !x->ending && add_session(r, x))
            mark_revoked(&krl);
    if (batch.n)
        mark_revoked(&krl);
    cmx_mem_free(krl.bytes);
    return CMX_OK;
}

bool gw_revoked_may_be(const struct gw_server *s, const struct gw_session *x)
{
    return s->krl_ms && x->started_ms <= s->krl_ms + RENDER_MS;
}

bool gw_revoked_session(struct gw_server *s, struct gw_session *x)
{
    struct gw_registry r;
    struct cmx_why e = {0};
    struct gw_krl krl = {0};
    char path[GW_PATH_MAX];
    bool revoked = true;

    if (gw_registry_open(&r, gw_path(s->g, "registry.db", path), false, &e) == CMX_OK) {
        batch.n = 0;
        if (gw_krl_get(&r, true, &krl, &e) == CMX_OK)
            (void)add_session(&r, x); /* the result only says whether the batch is full */
        revoked =
            batch.n == 0 ||
            (krl.len && (gw_revocation_ask(krl.bytes, krl.len, batch.keys, 1, batch.revoked, &e) || batch.revoked[0]));
        batch.n = 0;
        gw_registry_close(&r);
    }
    cmx_mem_free(krl.bytes);
    if (e.text[0])
        gw_note("%s: %s", x->from, e.text);
    return revoked;
}
