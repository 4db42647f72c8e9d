#include "gateway/registry/evidence_policy.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gateway/registry/event.h"
#include "gateway/registry/evidence_fit.h"
#include "gateway/registry/grant.h"

static const char *kind_of(bool is_device)
{
    return is_device ? "device" : "group";
}

/* ---- policies ---- */

static cmx_err read_manifests(struct gw_registry *r, struct gw_policy *p, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err =
        gw_sql_row(r, &stmt, e, "SELECT path, digest FROM policy_manifest WHERE policy = ? ORDER BY path", "i", p->id);

    for (p->n_manifests = 0; !err && p->n_manifests < GW_POLICY_MANIFESTS_MAX; err = gw_sql_step(r, stmt, e)) {
        struct gw_manifest_file *m = &p->manifests[p->n_manifests++];
        gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_TEXT(m->path), GW_SQL_ID(m->digest)));
    }
    return gw_sql_end(stmt, err);
}

static cmx_err read_policy(struct gw_registry *r, sqlite3_stmt *stmt, struct gw_policy *p, struct cmx_why *e)
{
    memset(p, 0, sizeof *p);
    gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_NUMBER(&p->id), GW_SQL_FLAG(&p->is_device), GW_SQL_ID(p->target),
                                        GW_SQL_NUMBER(&p->max_age_s), GW_SQL_FLAG(&p->enforce)));
    return read_manifests(r, p, e);
}

#define POLICY_COLUMNS "SELECT id, kind = 'device', target, max_age, enforce FROM policy "

static cmx_err find_policy(struct gw_registry *r, const char *target, bool is_device, struct gw_policy *p,
                           struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err =
        gw_sql_row(r, &stmt, e, POLICY_COLUMNS "WHERE kind = ? AND target = ?", "tt", kind_of(is_device), target);

    if (err == CMX_ENOENT)
        cmx_why_set(e, "%s '%.80s' has no policy", is_device ? "the device" : "the group", target);
    if (!err)
        err = read_policy(r, stmt, p, e);
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_policy_read(struct gw_registry *r, int64_t id, struct gw_policy *p, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, POLICY_COLUMNS "WHERE id = ?", "i", id);

    if (!err)
        err = read_policy(r, stmt, p, e);
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_policy_each(struct gw_registry *r, gw_policy_fn fn, void *arg, struct cmx_why *e)
{
    struct gw_policy p;
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, POLICY_COLUMNS "ORDER BY kind DESC, target", "");

    while (!err) {
        err = read_policy(r, stmt, &p, e);
        if (!err)
            err = gw_sql_next(r, stmt, fn(arg, &p), e);
    }
    return gw_sql_end(stmt, err);
}

static bool same_policy(const struct gw_policy *a, const struct gw_policy *b)
{
    bool same = a->max_age_s == b->max_age_s && a->enforce == b->enforce && a->n_manifests == b->n_manifests;

    for (size_t i = 0; same && i < a->n_manifests; i++) {
        bool found = false;
        for (size_t k = 0; !found && k < b->n_manifests; k++)
            found = strcmp(a->manifests[i].digest, b->manifests[k].digest) == 0 &&
                    strcmp(a->manifests[i].path, b->manifests[k].path) == 0;
        same = found;
    }
    return same;
}

static cmx_err write_policy(struct gw_registry *r, const struct gw_policy *p, struct cmx_why *e)
{
    int64_t id = 0;
    cmx_err err = gw_sql_number(r, &id, e,
                                "INSERT INTO policy(kind, target, max_age, enforce) VALUES(?, ?, ?, ?)"
                                " ON CONFLICT(kind, target) DO UPDATE SET max_age = excluded.max_age,"
                                " enforce = excluded.enforce RETURNING id",
                                "ttii", kind_of(p->is_device), p->target, p->max_age_s, (int64_t)p->enforce);

    if (!err)
        err = gw_sql_run(r, e, "DELETE FROM policy_manifest WHERE policy = ?", "i", id);
    for (size_t i = 0; !err && i < p->n_manifests; i++)
        err = gw_sql_run(r, e, "INSERT OR REPLACE INTO policy_manifest(policy, digest, path) VALUES(?, ?, ?)", "itt",
                         id, p->manifests[i].digest, p->manifests[i].path);
    return err;
}

/* For devices under this policy, discards all evidence that matches none of the policy's current manifests. */
static cmx_err drop_evidence(struct gw_registry *r, const struct gw_policy *p, struct cmx_why *e)
{
    return gw_sql_run(
        r, e,
        "DELETE FROM evidence WHERE manifest NOT IN (SELECT m.digest FROM policy_manifest m JOIN policy p"
        " ON p.id = m.policy WHERE p.kind = ?1 AND p.target = ?2) AND device IN (SELECT d.id FROM device d"
        " WHERE CASE ?1 WHEN 'device' THEN d.name = ?2 ELSE d.team = ?2 AND NOT EXISTS (SELECT 1 FROM"
        " policy WHERE kind = 'device' AND target = d.name) END)",
        "tt", kind_of(p->is_device), p->target);
}

cmx_err gw_policy_set(struct gw_registry *r, const struct gw_policy *p, gw_outcome *out, struct cmx_why *e)
{
    struct gw_policy old;
    struct gw_device d;
    char detail[GW_NAME_MAX];
    cmx_err err = p->is_device ? gw_device_get(r, p->target, &d, e) : gw_registry_name_check(p->target, e);

    if (err)
        return err;
    if (p->n_manifests == 0)
        return cmx_why_fail(e, CMX_EINVAL, "a policy needs a manifest; make one with 'cmxsafe image manifest'");
    if (p->max_age_s < GW_POLICY_AGE_MIN_S || p->max_age_s > GW_TERM_MAX_S)
        return cmx_why_fail(e, CMX_EINVAL, "--max-age must be at least %d seconds and at most ten years",
                            GW_POLICY_AGE_MIN_S);
    err = find_policy(r, p->target, p->is_device, &old, e);
    if (err && err != CMX_ENOENT)
        return err;
    *out = err ? GW_ADDED : same_policy(p, &old) ? GW_UNCHANGED : GW_CHANGED;
    if (*out == GW_UNCHANGED)
        return CMX_OK;
    err = write_policy(r, p, e);
    if (!err)
        err = drop_evidence(r, p, e);
    if (!err)
        err = gw_evidence_fit(r, e);
    snprintf(detail, sizeof detail, "%zu manifest%s, %s", p->n_manifests, p->n_manifests == 1 ? "" : "s",
             p->enforce ? "enforced" : "reported only");
    return err ? err : gw_event(r, "policy", p->target, detail, e);
}

cmx_err gw_policy_remove(struct gw_registry *r, const char *target, bool is_device, gw_outcome *out, struct cmx_why *e)
{
    struct gw_policy p;
    cmx_err err = find_policy(r, target, is_device, &p, e);

    *out = GW_UNCHANGED;
    if (err)
        return err == CMX_ENOENT ? CMX_OK : err;
    *out = GW_CHANGED;
    err =
        gw_sql_run(r, e, "DELETE FROM policy_manifest WHERE policy = ?1; DELETE FROM policy WHERE id = ?1", "i", p.id);
    if (!err)
        err = gw_evidence_fit(r, e);
    return err ? err : gw_event(r, "policy-remove", target, "", e);
}

cmx_err gw_policy_allow(struct gw_registry *r, const char *device, const struct gw_manifest_file *m, struct cmx_why *e)
{
    struct gw_standing s;
    int64_t n = 0;
    char detail[GW_NAME_MAX + 64];
    cmx_err err = gw_standing_get(r, device, &s, e);

    if (err || !s.policy)
        return err;
    err = gw_sql_number(r, &n, e, "SELECT count(*) FROM policy_manifest WHERE policy = ? AND digest <> ?", "it",
                        s.policy, m->digest);
    if (!err && n >= GW_POLICY_MANIFESTS_MAX)
        return cmx_why_fail(e, CMX_ENOSPC,
                            "the policy for '%.80s' already has %d manifests, the maximum; name the ones to keep with "
                            "'cmxsafe gateway policy set'",
                            device, GW_POLICY_MANIFESTS_MAX);
    if (!err)
        err = gw_sql_run(r, e, "INSERT OR IGNORE INTO policy_manifest(policy, digest, path) VALUES(?, ?, ?)", "itt",
                         s.policy, m->digest, m->path);
    if (err || sqlite3_changes(r->db) == 0)
        return err;
    snprintf(detail, sizeof detail, "manifest %.16s added", m->digest);
    return gw_event(r, "policy", device, detail, e);
}

/* True if the exemption was given for another reason. Only the audit trail has the reason. */
static bool is_new_reason(struct gw_registry *r, const char *device, const char *why)
{
    char last[GW_WHY_MAX] = "";
    cmx_err err =
        gw_sql_get(r, NULL, GW_SQL_COLUMNS(GW_SQL_TEXT(last)),
                   "SELECT detail FROM event WHERE what = 'exempt' AND who = ? ORDER BY id DESC LIMIT 1", "t", device);

    return err || strcmp(last, why) != 0;
}

cmx_err gw_policy_exempt(struct gw_registry *r, const char *device, bool exempt, const char *why, gw_outcome *out,
                         struct cmx_why *e)
{
    struct gw_device d;
    cmx_err err = gw_grant_check_why(why ? why : "", e);

    *out = GW_UNCHANGED;
    if (!err)
        err = gw_device_get(r, device, &d, e);
    if (!err)
        err = gw_sql_run(r, e, "UPDATE device SET exempt = ?1 WHERE id = ?2 AND exempt <> ?1", "ii", (int64_t)exempt,
                         d.id);
    if (err || (sqlite3_changes(r->db) == 0 && !(exempt && is_new_reason(r, d.name, why ? why : ""))))
        return err;
    *out = GW_CHANGED;
    return gw_event(r, exempt ? "exempt" : "unexempt", d.name, why ? why : "", e);
}

/* With one key for two devices, one of them could pass on the other's evidence as its own. As with SSH keys, the key of
 * a device that was revoked or deleted, or that got another one by `rotate`, never counts for another device. A revoked
 * device that is enrolled again, because it was repaired, keeps its key. */
static cmx_err check_key_unused(struct gw_registry *r, int64_t device, const char *line, struct cmx_why *e)
{
    char owner[GW_NAME_MAX];
    bool retired = false;
    cmx_err err =
        gw_sql_get(r, e, GW_SQL_COLUMNS(GW_SQL_ID(owner), GW_SQL_FLAG(&retired)),
                   "SELECT name, revoked IS NOT NULL FROM device WHERE attest_key = ?1 AND attest_key <> ''"
                   " AND id <> ?2 UNION ALL SELECT name, 1 FROM tombstone WHERE fingerprint = " GW_UEID_OF("?1"),
                   "ti", line, device);

    if (!err && retired)
        return cmx_why_fail(e, CMX_EEXIST,
                            "this attestation key belonged to %s, which was revoked or got another key; a retired "
                            "key can't be used again",
                            owner);
    if (!err)
        return cmx_why_fail(e, CMX_EEXIST, "this attestation key belongs to %s; give each device a key of its own",
                            owner);
    return err == CMX_ENOENT ? CMX_OK : err;
}

cmx_err gw_evidence_key_set(struct gw_registry *r, const char *device, const char *line, gw_outcome *out,
                            struct cmx_why *e)
{
    struct gw_device d;
    cmx_err err = gw_device_get(r, device, &d, e);

    *out = GW_UNCHANGED;
    if (err)
        return err;
    /* Earlier versions gave a device the key of a revoked one. Such a device keeps this key. */
    err = gw_sql_number(r, NULL, e, "SELECT 1 FROM device WHERE id = ? AND attest_key = ?", "it", d.id, line);
    if (err != CMX_ENOENT)
        return err;
    err = check_key_unused(r, d.id, line, e);
    if (!err)
        err = gw_sql_run(r, e, "UPDATE device SET attest_key = ? WHERE id = ?", "ti", line, d.id);
    if (err)
        return err;
    *out = GW_CHANGED;
    /* Evidence that was signed with the former key proves nothing about the new key. */
    err = gw_sql_run(r, e, "DELETE FROM evidence WHERE device = ?", "i", d.id);
    return err ? err : gw_event(r, "attest-key", device, line[0] ? "stored" : "removed", e);
}

cmx_err gw_evidence_key_get(struct gw_registry *r, int64_t device, char *line, size_t cap, struct cmx_why *e)
{
    cmx_err err;

    line[0] = '\0';
    err = gw_sql_get(r, e, GW_SQL_COLUMNS(GW_SQL_WHOLE_AT(line, cap)), "SELECT attest_key FROM device WHERE id = ?",
                     "i", device);
    return !err && !line[0] ? CMX_ENOENT : err;
}

cmx_err gw_evidence_port_set(struct gw_registry *r, const char *device, uint16_t port, gw_outcome *out,
                             struct cmx_why *e)
{
    struct gw_device d;
    char detail[24];
    cmx_err err = gw_device_get(r, device, &d, e);

    *out = GW_UNCHANGED;
    if (!err && !gw_device_has_port(&d, port))
        return cmx_why_fail(e, CMX_ENOENT, "%.80s has no port %u; add the port to --ports", device, port);
    if (!err)
        err = gw_sql_run(r, e, "UPDATE device SET attest_port = ?1 WHERE id = ?2 AND attest_port <> ?1", "ii",
                         (int64_t)port, d.id);
    if (err || sqlite3_changes(r->db) == 0)
        return err;
    *out = GW_CHANGED;
    snprintf(detail, sizeof detail, "port %u", port);
    return gw_event(r, "attest-port", device, detail, e);
}

/* ---- evidence of devices ---- */

#define STANDING_FROM                                                                                                  \
    " FROM device d LEFT JOIN policy p ON p.id = coalesce((SELECT id FROM policy WHERE kind = 'device' AND target ="   \
    " d.name), (SELECT id FROM policy WHERE kind = 'group' AND target = d.team)) LEFT JOIN evidence v ON"              \
    " v.device = d.id WHERE d.revoked IS NULL "

#define STANDING_COLUMNS                                                                                               \
    "SELECT d.id, d.name, coalesce(d.address, ''), coalesce(p.id, 0), coalesce(p.enforce, 0), d.exempt,"               \
    " EXISTS (SELECT 1 FROM quarantined q WHERE q.device = d.id), coalesce(p.max_age, 0), coalesce(v.given, 0),"       \
    " CASE WHEN v.trusted = 1 THEN max(" GW_SQL_LEFT ", 0) ELSE 0 END, coalesce(v.trusted, 0), d.attest_port, "        \
    "coalesce(v.reason, ''), coalesce(v.manifest, '')" STANDING_FROM

static void read_standing(sqlite3_stmt *stmt, struct gw_standing *s)
{
    memset(s, 0, sizeof *s);
    gw_sql_columns(stmt,
                   GW_SQL_COLUMNS(GW_SQL_NUMBER(&s->device), GW_SQL_ID(s->name), GW_SQL_ID(s->address),
                                  GW_SQL_NUMBER(&s->policy), GW_SQL_FLAG(&s->is_enforced), GW_SQL_FLAG(&s->exempt),
                                  GW_SQL_FLAG(&s->quarantined), GW_SQL_NUMBER(&s->max_age_s), GW_SQL_NUMBER(&s->at),
                                  GW_SQL_NUMBER(&s->left), GW_SQL_FLAG(&s->trusted), GW_SQL_PORT(&s->port),
                                  GW_SQL_TEXT(s->reason), GW_SQL_ID(s->manifest)));
    if (!s->policy)
        s->reason[0] = s->manifest[0] = '\0';
    else if (!s->at && !s->reason[0])
        snprintf(s->reason, sizeof s->reason, "it has not yet proved which firmware it runs");
    else if (s->trusted && !s->left)
        snprintf(s->reason, sizeof s->reason, "its evidence is older than the policy allows");
}

cmx_err gw_standing_get(struct gw_registry *r, const char *name, struct gw_standing *s, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, STANDING_COLUMNS "AND d.name = ?", "t", name);

    memset(s, 0, sizeof *s);
    if (!err)
        read_standing(stmt, s);
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_standing_each(struct gw_registry *r, gw_standing_fn fn, void *arg, struct cmx_why *e)
{
    struct gw_standing s;
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, STANDING_COLUMNS "AND p.id IS NOT NULL ORDER BY d.name", "");

    while (!err) {
        read_standing(stmt, &s);
        err = gw_sql_next(r, stmt, fn(arg, &s), e);
    }
    return gw_sql_end(stmt, err);
}

static cmx_err set_firmware(struct gw_registry *r, int64_t device, const char *firmware, struct cmx_why *e)
{
    return gw_sql_run(r, e,
                      "INSERT INTO seen(device, at, source, firmware) VALUES(?, ?, '', ?) ON CONFLICT(device) DO UPDATE"
                      " SET firmware = excluded.firmware",
                      "iit", device, (int64_t)time(NULL), firmware);
}

cmx_err gw_evidence_set(struct gw_registry *r, int64_t device, const struct gw_verdict *v, struct cmx_why *e)
{
    struct gw_now now;
    cmx_err err;

    gw_now(&now);
    err = gw_sql_run(r, e,
                     "INSERT OR REPLACE INTO evidence(device, given, ends, boot, boot_ends, trusted, reason, manifest)"
                     " VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
                     "iiitiitt", device, now.wall, now.wall + v->max_age_s, now.boot, now.boot_s + v->max_age_s,
                     (int64_t)v->trusted, v->reason, v->manifest);
    if (!err)
        err = gw_evidence_fit(r, e); /* the policy may have changed since the check began */
    return err || !v->firmware ? err : set_firmware(r, device, v->firmware, e);
}

cmx_err gw_evidence_missing(struct gw_registry *r, int64_t device, const char *reason, bool *changed, struct cmx_why *e)
{
    cmx_err err = gw_sql_run(r, e,
                             "INSERT INTO evidence(device, given, ends, boot, boot_ends, trusted, reason, manifest)"
                             " VALUES(?, 0, 0, '', 0, 0, ?, '') ON CONFLICT(device) DO UPDATE SET"
                             " reason = excluded.reason WHERE trusted = 0 AND reason <> excluded.reason",
                             "it", device, reason);

    *changed = !err && sqlite3_changes(r->db) > 0;
    return err;
}

cmx_err gw_evidence_basis(struct gw_registry *r, int64_t device, struct gw_basis *out, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err =
        gw_sql_row(r, &stmt, e,
                   "SELECT d.attest_key || char(10) || coalesce((SELECT group_concat(digest) FROM (SELECT"
                   " digest FROM policy_manifest WHERE policy = p.id ORDER BY digest)), '') || char(10) ||"
                   " coalesce(v.given || ' ' || v.trusted || ' ' || v.manifest, '')" STANDING_FROM "AND d.id = ?",
                   "i", device);

    if (!err)
        err = cmx_sha256_of(gw_sql_text(stmt, 0), strlen(gw_sql_text(stmt, 0)), out->digest);
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_evidence_login(struct gw_registry *r, int64_t device, struct cmx_why *e)
{
    struct gw_now now;

    gw_now(&now);
    return gw_sql_run(r, e,
                      "UPDATE evidence SET ends = min(ends, ?1), boot_ends = min(boot_ends, ?2) WHERE device = ?3 AND"
                      " trusted = 1",
                      "iii", now.wall + GW_LOGIN_GRACE_S, now.boot_s + GW_LOGIN_GRACE_S, device);
}

/* ---- when devices were last connected ---- */

cmx_err gw_seen_set(struct gw_registry *r, const char *device, const struct gw_seen *s, struct cmx_why *e)
{
    return gw_sql_run(r, e,
                      "INSERT INTO seen(device, at, source, firmware, client) SELECT id, ?1, ?2, '', ?3 FROM device"
                      " WHERE name = ?4 ON CONFLICT(device) DO UPDATE SET at = excluded.at, source = excluded.source,"
                      " client = CASE excluded.client WHEN '' THEN client ELSE excluded.client END, told = 0",
                      "ittt", s->at, s->source, s->client, device);
}

void gw_seen_get(struct gw_registry *r, int64_t device, struct gw_seen *s)
{
    memset(s, 0, sizeof *s);
    (void)!gw_sql_get(
        r, NULL,
        GW_SQL_COLUMNS(GW_SQL_NUMBER(&s->at), GW_SQL_TEXT(s->source), GW_SQL_TEXT(s->firmware), GW_SQL_TEXT(s->client)),
        "SELECT at, source, firmware, client FROM seen WHERE device = ?", "i", device);
}
