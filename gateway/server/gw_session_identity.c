#include "gateway/server/gw_session_identity.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "gateway/registry/authority.h"
#include "gateway/registry/party.h"
#include "gateway/server/gw_idsock.h"
#include "gateway/server/gw_revoked.h"

static struct gw_certificate certificate; /* scratch space, too large for the stack */

static cmx_err give_identity(struct gw_server *s, struct gw_session *x, const char *fingerprint,
                             const struct gw_device *d, struct cmx_why *e)
{
    cmx_err err = gw_idsock_session_set(s->idsock, x->number, d, e);

    if (err)
        return err;
    snprintf(x->candidate, sizeof x->candidate, "%s", fingerprint);
    snprintf(x->address, sizeof x->address, "%s", d->address);
    return CMX_OK;
}

cmx_err gw_session_set_identity(struct gw_server *s, struct gw_session *x, const char *fingerprint, struct cmx_why *e)
{
    struct gw_registry r;
    struct gw_device d;
    char path[GW_PATH_MAX];
    cmx_err err = gw_registry_open(&r, gw_path(s->g, "registry.db", path), false, e);

    if (err)
        return err;
    err = gw_party_of_key(&r, &s->g->fleet, fingerprint, &d, e);
    gw_registry_close(&r);
    return err ? err : give_identity(s, x, fingerprint, &d, e);
}

void gw_session_drop_certificate(struct gw_session *x)
{
    cmx_mem_free(x->certificate.text);
    x->certificate = (struct gw_session_certificate){0};
}

static cmx_err keep_certificate(struct gw_session *x, const char *text, const struct gw_authority *a,
                                const struct gw_certificate *c)
{
    size_t len = strlen(text) + 1;
    struct gw_session_certificate *k = &x->certificate;
    int64_t now = (int64_t)time(NULL);

    gw_session_drop_certificate(x);
    k->text = cmx_mem_alloc(len);
    if (!k->text)
        return CMX_ENOMEM;
    memcpy(k->text, text, len);
    snprintf(k->authority, sizeof k->authority, "%s", a->name);
    snprintf(k->id, sizeof k->id, "%s", c->id);
    k->serial = c->serial;
    if (c->ends < INT64_MAX) {
        k->ends = (int64_t)c->ends;
        k->end_ms = cmx_port_now_ms() + (k->ends > now ? (uint64_t)(k->ends - now) * 1000 : 0) + 1;
    }
    return CMX_OK;
}

/* Gives x the certificate `text` and its identity. The caller has parsed `text` into the global `certificate`. */
static cmx_err set_certificate(struct gw_server *s, struct gw_session *x, const char *text, struct cmx_why *e)
{
    struct gw_registry r;
    struct gw_authority a = {0};
    struct gw_consumer who;
    struct gw_device d = {0};
    char path[GW_PATH_MAX];
    cmx_err err = gw_registry_open(&r, gw_path(s->g, "registry.db", path), false, e);

    if (err)
        return err;
    err = gw_authority_accept(&r, &certificate, (int64_t)time(NULL), &a, &who, e);
    if (!err && s->idsock)
        err = gw_party_identity(&r, &s->g->fleet, &who, d.address, e);
    gw_registry_close(&r);
    if (!err)
        err = keep_certificate(x, text, &a, &certificate);
    snprintf(d.name, sizeof d.name, "%.63s", who.name);
    return err || !s->idsock ? err : give_identity(s, x, certificate.fingerprint, &d, e);
}

struct gw_session *gw_session_numbered(const struct gw_server *s, uint64_t number)
{
    struct gw_session *x = s->sessions;

    while (x && x->number != number)
        x = x->next;
    return x;
}

/* Finds the session by the control group of the process if there are identity sockets, otherwise by its process group.
 * sshd's helper is in both groups of its session. */
struct gw_session *gw_session_of_process(const struct gw_server *s, pid_t pid)
{
    pid_t group = s->idsock ? 0 : getpgid(pid);
    struct gw_session *x = s->sessions;

    if (s->idsock)
        return gw_session_numbered(s, gw_idsock_session_of(s->idsock, pid));
    while (x && (group <= 0 || x->pid != group))
        x = x->next;
    return x;
}

/* Once a session is up, its identity is fixed, because one of its processes may have been compromised. */
static bool logs_in(const struct gw_session *x)
{
    return !x->up && !x->ending;
}

bool gw_session_identify(struct gw_server *s, struct gw_session *x, const char *fingerprint)
{
    struct cmx_why e = {0};

    if (!s->idsock || !logs_in(x) || !gw_session_set_identity(s, x, fingerprint, &e))
        return true;
    gw_note("%s: %s", x->from, e.text);
    return false;
}

bool gw_session_certify(struct gw_server *s, struct gw_session *x, const char *text)
{
    struct cmx_why e = {0};
    cmx_err err;

    if (!logs_in(x))
        return false;
    err = gw_certificate_parse(&certificate, text, &e);
    if (!err)
        err = set_certificate(s, x, text, &e);
    if (!err && gw_revoked_session(s, x)) /* sshd has checked it too, but possibly against an earlier KRL */
        err = cmx_why_fail(&e, CMX_EPERM, "the KRL revokes the certificate");
    if (err) {
        gw_session_drop_certificate(x);
        gw_note("%s: %s", x->from, cmx_why_text(&e, err));
    }
    return !err;
}

/* x stores the last certificate that sshd's helper looked up. Checks that sshd accepted the same certificate. */
cmx_err gw_session_check_certificate(struct gw_session *x, const struct gw_log_line *l, struct cmx_why *e)
{
    if (!l->authority[0]) {
        gw_session_drop_certificate(x);
        return CMX_OK;
    }
    if (!x->certificate.text || gw_certificate_parse(&certificate, x->certificate.text, NULL) ||
        strcmp(certificate.fingerprint, l->fingerprint) != 0 || strcmp(certificate.authority, l->authority) != 0 ||
        certificate.serial != l->serial)
        return cmx_why_fail(e, CMX_EPERM, "sshd accepted a certificate other than the one that its helper looked up");
    return CMX_OK;
}
