#include "gateway/server/gw_revoked.h"

#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/crypto.h"
#include "cmxsafe/port/port.h"
#include "gateway/folder/gw_files.h"
#include "gateway/folder/gw_revocation.h"
#include "gateway/registry/authority.h"

struct batch {
    struct gw_session *sessions[GW_REVOCATION_KEYS_MAX];
    const char *keys[GW_REVOCATION_KEYS_MAX];
    char plain[GW_REVOCATION_KEYS_MAX]
              [GW_KEY_TYPE_MAX + GW_KEY_BLOB_MAX + 2]; /* "TYPE BASE64" of sessions without certificate */
    bool revoked[GW_REVOCATION_KEYS_MAX];
    size_t n;
};

static struct batch batch;

/* Adds the session to the batch. CMX_ENOENT: the session is not added, because the registry does not have its key. */
static cmx_err add_session(struct gw_registry *r, struct gw_session *x, struct cmx_why *e)
{
    cmx_err err = CMX_OK;

    batch.keys[batch.n] = x->certificate.text ? x->certificate.text : batch.plain[batch.n];
    if (!x->certificate.text)
        err = gw_sql_get(r, e, GW_SQL_COLUMNS(GW_SQL_TEXT(batch.plain[batch.n])),
                         "SELECT type || ' ' || blob FROM key WHERE fingerprint = ?", "t", x->fingerprint);
    if (!err)
        batch.sessions[batch.n++] = x;
    return err;
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

static cmx_err check_sessions(struct gw_server *s, struct gw_registry *r, struct cmx_why *e)
{
    struct gw_krl krl;
    cmx_err err = gw_krl_get(r, true, &krl, e);

    batch.n = 0;
    for (struct gw_session *x = s->sessions; !err && krl.len && x; x = x->next) {
        if (!x->up || x->ending)
            continue;
        err = add_session(r, x, e);
        if (err == CMX_ENOENT)
            err = CMX_OK; /* its key is no longer in the registry; recheck() in gw_session.c ends the session */
        if (batch.n == GW_REVOCATION_KEYS_MAX)
            mark_revoked(&krl);
    }
    if (batch.n)
        mark_revoked(&krl);
    cmx_mem_free(krl.bytes);
    return err;
}

/* True if the KRL file that sshd reads is the registry's KRL. */
static bool is_rendered(const struct gw_server *s)
{
    uint8_t raw[CMX_SHA256_LEN];
    char path[GW_PATH_MAX];
    char digest[sizeof s->krl] = "";
    char *text = NULL;
    size_t len = 0;

    if (gw_file_read(gw_path(s->g, "krl", path), &text, &len, NULL) == CMX_OK && len &&
        cmx_sha256_of((const uint8_t *)text, len, raw) == CMX_OK)
        cmx_text_hex_encode(digest, raw, sizeof raw);
    free(text); /* allocated by gw_file_read */
    return strcmp(digest, s->krl) == 0;
}

cmx_err gw_revoked_check(struct gw_server *s, struct gw_registry *r, struct cmx_why *e)
{
    struct gw_krl krl;
    cmx_err err = gw_krl_get(r, false, &krl, e);

    if (!err && strcmp(krl.digest, s->krl) != 0) {
        s->rendered_ms = 0;
        err = check_sessions(s, r, e);
        if (!err)
            snprintf(s->krl, sizeof s->krl, "%s", krl.digest);
    }
    if (!err && !s->rendered_ms && is_rendered(s))
        s->rendered_ms = cmx_port_now_ms();
    return err;
}

bool gw_revoked_may_be(const struct gw_server *s, const struct gw_session *x)
{
    return !s->rendered_ms || x->started_ms <= s->rendered_ms;
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
            (void)add_session(&r, x, &e); /* a session that was not added counts as revoked */
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
