#include "gateway/registry/registry_device.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gateway/registry/event.h"
#include "gateway/registry/evidence_fit.h"

static cmx_err read_ports(struct gw_registry *r, struct gw_device *d, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, "SELECT port FROM port WHERE device = ? ORDER BY port", "i", d->id);

    for (d->n_ports = 0; !err && d->n_ports < GW_PORTS_MAX; err = gw_sql_step(r, stmt, e))
        d->ports[d->n_ports++] = (uint16_t)sqlite3_column_int(stmt, 0);
    return gw_sql_end(stmt, err);
}

static cmx_err read_directs(struct gw_registry *r, struct gw_device *d, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err =
        gw_sql_row(r, &stmt, e, "SELECT host, port FROM direct WHERE device = ? ORDER BY host, port", "i", d->id);

    for (d->n_directs = 0; !err && d->n_directs < GW_DIRECTS_MAX; err = gw_sql_step(r, stmt, e)) {
        struct gw_direct *x = &d->directs[d->n_directs++];
        gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(x->host), GW_SQL_PORT(&x->port)));
    }
    return gw_sql_end(stmt, err);
}

#define DEVICE_COLUMNS                                                                                                 \
    "SELECT d.id, d.name, coalesce(d.address, ''), d.team, coalesce(k.fingerprint, ''), coalesce(k.type, ''), "        \
    "d.enrolled,"                                                                                                      \
    " coalesce(d.revoked, 0) FROM device d LEFT JOIN key k ON k.device = d.id AND k.retired IS NULL "

static cmx_err read_device(struct gw_registry *r, sqlite3_stmt *stmt, struct gw_device *d, struct cmx_why *e)
{
    cmx_err err;

    memset(d, 0, sizeof *d);
    gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_NUMBER(&d->id), GW_SQL_ID(d->name), GW_SQL_ID(d->address),
                                        GW_SQL_ID(d->group), GW_SQL_ID(d->fingerprint), GW_SQL_ID(d->key_type),
                                        GW_SQL_NUMBER(&d->enrolled), GW_SQL_NUMBER(&d->revoked)));
    if (!d->name[0])
        return cmx_why_fail(e, CMX_EFORMAT,
                            "the registry has a device with a malformed name (row %lld of table device); restore "
                            "another backup",
                            (long long)d->id);
    err = read_ports(r, d, e);
    return err ? err : read_directs(r, d, e);
}

cmx_err gw_device_get(struct gw_registry *r, const char *name, struct gw_device *d, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, DEVICE_COLUMNS "WHERE d.name = ?", "t", name);

    if (err == CMX_ENOENT)
        cmx_why_set(e, "no device '%.80s'; see 'cmxsafe gateway list'", name);
    if (!err)
        err = read_device(r, stmt, d, e);
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_device_check_group(struct gw_registry *r, const char *group, struct cmx_why *e)
{
    cmx_err err = gw_sql_number(r, NULL, e, "SELECT 1 FROM device WHERE team = ?", "t", group);

    return err == CMX_ENOENT
               ? cmx_why_fail(e, err, "no device is in the group '%.80s'; see 'cmxsafe gateway list --all'", group)
               : err;
}

cmx_err gw_device_each(struct gw_registry *r, const char *group, gw_device_fn fn, void *arg, struct cmx_why *e)
{
    struct gw_device d;
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e, DEVICE_COLUMNS "WHERE ?1 IS NULL OR d.team = ?1 ORDER BY d.name", "t", group);

    while (!err) {
        err = read_device(r, stmt, &d, e);
        if (!err)
            err = gw_sql_next(r, stmt, fn(arg, &d), e);
    }
    return gw_sql_end(stmt, err);
}

/* Finds the device, platform or CA that has or had the key. *device: the device's id; 0: the owner is a platform, a CA
 * or a deleted device. CMX_ENOENT: nobody ever had the key. */
static cmx_err key_owner(struct gw_registry *r, const struct gw_key *k, char *name, size_t cap, int64_t *device,
                         bool *retired, struct cmx_why *e)
{
    return gw_sql_get(r, e, GW_SQL_COLUMNS(GW_SQL_ID_AT(name, cap), GW_SQL_FLAG(retired), GW_SQL_NUMBER(device)),
                      "SELECT coalesce(d.name, c.name), k.retired IS NOT NULL, coalesce(d.id, 0) FROM key k LEFT JOIN"
                      " device d ON d.id = k.device LEFT JOIN consumer c ON c.id = k.consumer WHERE k.fingerprint = ?1"
                      " UNION ALL SELECT name, 1, 0 FROM tombstone WHERE fingerprint = ?1"
                      " UNION ALL SELECT name, 0, 0 FROM authority WHERE fingerprint = ?1",
                      "t", k->fingerprint);
}

cmx_err gw_device_key_is_free(struct gw_registry *r, const struct gw_key *k, struct cmx_why *e)
{
    char owner[GW_NAME_MAX];
    bool retired = false;
    int64_t device;
    cmx_err err = key_owner(r, k, owner, sizeof owner, &device, &retired, e);

    if (err == CMX_ENOENT)
        return CMX_OK;
    if (err)
        return err;
    if (retired)
        return cmx_why_fail(e, CMX_EEXIST,
                            "this key was revoked or replaced (it belonged to %s); make a new key: a retired "
                            "key can't be used again",
                            owner);
    return cmx_why_fail(e, CMX_EEXIST, "this key belongs to %s; give each device a key of its own", owner);
}

/* Checks whether the key can be given to a device. */
static cmx_err check_new_key(struct gw_registry *r, const struct gw_key *k, struct cmx_why *e)
{
    if (gw_key_is_token(k))
        return cmx_why_fail(e, CMX_ENOTSUP,
                            "the key of a FIDO2 token needs a person at each login; give a device an ed25519 key");
    return gw_device_key_is_free(r, k, e);
}

/* Retires the keys of the device ?1 at the time ?2. */
#define RETIRE_KEYS "UPDATE key SET retired = ?2 WHERE device = ?1 AND retired IS NULL;"

/* Retires the device's former key, if any, and gives it the new key. */
static cmx_err set_key(struct gw_registry *r, int64_t device, const struct gw_key *k, struct cmx_why *e)
{
    return gw_sql_run(r, e,
                      RETIRE_KEYS "INSERT INTO key(device, added, fingerprint, type, blob) VALUES(?1, ?2, ?3, ?4, ?5)",
                      "iittt", device, (int64_t)time(NULL), k->fingerprint, k->type, k->blob);
}

static cmx_err write_ports(struct gw_registry *r, const struct gw_device *d, struct cmx_why *e)
{
    cmx_err err = gw_sql_run(r, e, "DELETE FROM port WHERE device = ?", "i", d->id);

    for (size_t i = 0; !err && i < d->n_ports; i++) {
        err = gw_sql_run(r, e, "INSERT INTO port(address, port, device) VALUES(?, ?, ?)", "tii", d->address,
                         (int64_t)d->ports[i], d->id);
        if (err == CMX_EEXIST)
            cmx_why_set(e, "port %u belongs to another device; choose another port, or see 'cmxsafe gateway list'",
                        d->ports[i]);
    }
    return err;
}

static cmx_err write_directs(struct gw_registry *r, const struct gw_device *d, struct cmx_why *e)
{
    cmx_err err = gw_sql_run(r, e, "DELETE FROM direct WHERE device = ?", "i", d->id);

    for (size_t i = 0; !err && i < d->n_directs; i++)
        err = gw_sql_run(r, e, "INSERT OR IGNORE INTO direct(device, host, port) VALUES(?, ?, ?)", "iti", d->id,
                         d->directs[i].host, (int64_t)d->directs[i].port);
    return err;
}

static cmx_err write_services(struct gw_registry *r, const struct gw_device *d, struct cmx_why *e)
{
    cmx_err err = write_ports(r, d, e);

    if (!err)
        err = write_directs(r, d, e);
    /* Removes grants to ports that the device no longer has. Otherwise they would count again as soon as the device has
     * the port again. */
    return err ? err
               : gw_sql_run(r, e,
                            "DELETE FROM grants WHERE device = ?1 AND port NOT IN (SELECT port FROM port WHERE device ="
                            " ?1)",
                            "i", d->id);
}

static bool same_services(const struct gw_device *a, const struct gw_device *b)
{
    if (a->n_ports != b->n_ports || a->n_directs != b->n_directs || strcmp(a->group, b->group) != 0)
        return false;
    for (size_t i = 0; i < a->n_ports; i++)
        if (!gw_device_has_port(b, a->ports[i]))
            return false;
    for (size_t i = 0; i < a->n_directs; i++)
        if (!gw_device_has_direct(b, &a->directs[i]))
            return false;
    return true;
}

/* Call this if d's address belongs to another device. Returns CMX_EEXIST, with a message in e that names the owner. */
static cmx_err address_taken(struct gw_registry *r, const struct gw_device *d, struct cmx_why *e)
{
    char name[GW_NAME_MAX];
    bool revoked;
    cmx_err err = gw_sql_get(r, e, GW_SQL_COLUMNS(GW_SQL_ID(name), GW_SQL_FLAG(&revoked)),
                             "SELECT name, revoked IS NOT NULL FROM device WHERE address = ?", "t", d->address);

    if (err)
        return err;
    if (revoked)
        return cmx_why_fail(e, CMX_EEXIST,
                            "the address %s belongs to %s, which is revoked; free it with 'cmxsafe gateway delete %s'",
                            d->address, name, name);
    return cmx_why_fail(e, CMX_EEXIST, "the address %s belongs to another device (%s); see 'cmxsafe gateway list'",
                        d->address, name);
}

/* Checks that no platform has the name (see check_no_device in grant.c). */
static cmx_err check_no_platform(struct gw_registry *r, const char *name, struct cmx_why *e)
{
    cmx_err err = gw_sql_number(r, NULL, e,
                                "SELECT 1 FROM consumer c JOIN key k ON k.consumer = c.id AND k.retired IS NULL WHERE"
                                " c.kind = 'platform' AND c.name = ? COLLATE NOCASE",
                                "t", name);

    if (!err)
        return cmx_why_fail(e, CMX_EEXIST, "%s is a platform; give the device another name", name);
    return err == CMX_ENOENT ? CMX_OK : err;
}

/* Enrols a device. If d->id is 0, adds a new device. Otherwise d->id is that of a revoked device, which was repaired
 * or replaced and has a new key. */
static cmx_err enroll_row(struct gw_registry *r, struct gw_device *d, const struct gw_key *k, struct cmx_why *e)
{
    const char *address = d->address[0] ? d->address : NULL;
    int64_t now = (int64_t)time(NULL);
    cmx_err err = check_new_key(r, k, e);

    if (!err)
        err = check_no_platform(r, d->name, e);
    if (err)
        return err;
    /* Deletes the evidence that the device gave before its repair. */
    err = d->id ? gw_sql_run(r, e,
                             "UPDATE device SET revoked = NULL, exempt = 0, team = ?1, enrolled = ?2, address = ?3"
                             " WHERE id = ?4; DELETE FROM evidence WHERE device = ?4",
                             "titi", d->group, now, address, d->id)
                : gw_sql_run(r, e, "INSERT INTO device(name, address, team, enrolled) VALUES(?, ?, ?, ?)", "ttti",
                             d->name, address, d->group, now);
    if (err == CMX_EEXIST)
        return address_taken(r, d, e);
    if (err)
        return err;
    if (!d->id)
        d->id = sqlite3_last_insert_rowid(r->db);
    err = set_key(r, d->id, k, e);
    if (!err)
        err = write_services(r, d, e);
    return err ? err : gw_event(r, "enroll", d->name, k->fingerprint, e);
}

/* Checks that k is the device's key or, with GW_FIELD_FORMER_KEY, a former key of the device. */
static cmx_err check_key(struct gw_registry *r, const struct gw_device *old, const struct gw_key *k, unsigned given,
                         struct cmx_why *e)
{
    char owner[GW_NAME_MAX];
    int64_t device = 0;
    bool retired = false;

    if (strcmp(old->fingerprint, k->fingerprint) == 0)
        return CMX_OK;
    if (given & GW_FIELD_FORMER_KEY && key_owner(r, k, owner, sizeof owner, &device, &retired, NULL) == CMX_OK &&
        device == old->id)
        return CMX_OK;
    return cmx_why_fail(e, CMX_EEXIST,
                        "%s is enrolled with another key (%s); if the device has a new key, use 'cmxsafe gateway "
                        "rotate %s'",
                        old->name, old->fingerprint, old->name);
}

static cmx_err enroll_known(struct gw_registry *r, struct gw_device *d, const struct gw_device *old,
                            const struct gw_key *k, unsigned given, gw_outcome *out, struct cmx_why *e)
{
    cmx_err err;

    d->id = old->id;
    if (old->revoked) {
        *out = GW_ADDED;
        return enroll_row(r, d, k, e);
    }
    err = check_key(r, old, k, given, e);
    if (err)
        return err;
    if (strcmp(old->address, d->address) != 0)
        return cmx_why_fail(e, CMX_EEXIST,
                            "%s has the address %s, which consumers use; to change the address to %s, revoke and "
                            "delete the device, and enrol it again with a new key",
                            d->name, old->address, d->address);
    if (same_services(old, d)) {
        *out = GW_UNCHANGED;
        return CMX_OK;
    }
    *out = GW_CHANGED;
    err = gw_sql_run(r, e, "UPDATE device SET team = ? WHERE id = ?", "ti", d->group, d->id);
    if (!err)
        err = gw_evidence_fit(r, e); /* another group may have another policy */
    if (!err)
        err = write_services(r, d, e);
    return err ? err : gw_event(r, "change", d->name, old->fingerprint, e);
}

cmx_err gw_device_merge(struct gw_registry *r, struct gw_device *d, unsigned given, struct cmx_why *e)
{
    struct gw_device old;
    cmx_err err = gw_device_get(r, d->name, &old, e);

    if (err == CMX_ENOENT || (!err && old.revoked))
        return CMX_OK;
    if (err)
        return err;
    if (!(given & GW_FIELD_ADDRESS))
        memcpy(d->address, old.address, sizeof d->address);
    if (!(given & GW_FIELD_GROUP))
        memcpy(d->group, old.group, sizeof d->group);
    if (!(given & GW_FIELD_PORTS)) {
        memcpy(d->ports, old.ports, sizeof d->ports);
        d->n_ports = old.n_ports;
    }
    if (!(given & GW_FIELD_DIRECTS)) {
        memcpy(d->directs, old.directs, sizeof d->directs);
        d->n_directs = old.n_directs;
    }
    return CMX_OK;
}

cmx_err gw_device_enroll(struct gw_registry *r, struct gw_device *d, const struct gw_key *k, unsigned given,
                         gw_outcome *out, struct cmx_why *e)
{
    struct gw_device old;
    cmx_err err = gw_device_name_check(d->name, e);

    if (err)
        return err;
    if (d->n_ports == 0 && d->n_directs == 0)
        return cmx_why_fail(e, CMX_EINVAL, "%s would have no service; give --ports or --direct", d->name);
    err = gw_device_get(r, d->name, &old, e);
    if (err == CMX_ENOENT) {
        *out = GW_ADDED;
        d->id = 0;
        return enroll_row(r, d, k, e);
    }
    return err ? err : enroll_known(r, d, &old, k, given, out, e);
}

cmx_err gw_device_revoke(struct gw_registry *r, const char *name, gw_outcome *out, struct cmx_why *e)
{
    struct gw_device d;
    cmx_err err = gw_device_get(r, name, &d, e);

    if (err)
        return err;
    *out = d.revoked ? GW_UNCHANGED : GW_CHANGED;
    if (d.revoked)
        return CMX_OK;
    /* Also frees the device's ports, because other devices of a small deployment may use them. */
    err = gw_sql_run(r, e,
                     "UPDATE device SET revoked = ?2 WHERE id = ?1;" RETIRE_KEYS
                     "DELETE FROM grants WHERE device = ?1; DELETE FROM port WHERE device = ?1",
                     "ii", d.id, (int64_t)time(NULL));
    return err ? err : gw_event(r, "revoke", d.name, d.fingerprint, e);
}

cmx_err gw_device_retire_attest_key(struct gw_registry *r, const char *name, const char *keep, struct cmx_why *e)
{
    return gw_sql_run(r, e,
                      "INSERT OR IGNORE INTO tombstone(fingerprint, name, deleted) SELECT " GW_UEID_OF(
                          "attest_key") ", name, ? FROM device WHERE name = ? AND attest_key NOT IN ('', ?)",
                      "itt", (int64_t)time(NULL), name, keep);
}

/* Call this if no device has this name. True if the last device that had it lost it by this action: "delete", or
 * "rename" with the new name as detail, which this device has not lost since. */
static bool is_done(struct gw_registry *r, const char *name, const char *action, const char *detail)
{
    return gw_sql_number(r, NULL, NULL,
                         "SELECT 1 FROM (SELECT what, who, detail FROM (SELECT * FROM event ORDER BY id DESC LIMIT"
                         " 100000) WHERE who COLLATE NOCASE IN (?1, ?3) AND what IN ('delete', 'rename') ORDER BY id"
                         " DESC LIMIT 1) WHERE what = ?2 AND who = ?1 COLLATE NOCASE AND"
                         " (?3 = '' OR detail = ?3 COLLATE NOCASE)",
                         "ttt", name, action, detail) == CMX_OK;
}

cmx_err gw_device_delete(struct gw_registry *r, const char *name, gw_outcome *out, struct cmx_why *e)
{
    struct gw_device d;
    cmx_err err = gw_device_get(r, name, &d, e);

    *out = GW_UNCHANGED;
    if (err)
        return err == CMX_ENOENT && is_done(r, name, "delete", "") ? CMX_OK : err;
    if (!d.revoked)
        return cmx_why_fail(e, CMX_EINVAL, "%s is active; revoke it first with 'cmxsafe gateway revoke %s'", d.name,
                            d.name);
    *out = GW_CHANGED;
    err = gw_device_retire_attest_key(r, d.name, "", e);
    if (err)
        return err;
    /* Also deletes the device's policy. Otherwise a later device with this name would get it. */
    err = gw_sql_run(r, e,
                     "INSERT INTO tombstone(fingerprint, name, deleted) SELECT fingerprint, ?2, ?3 FROM key WHERE"
                     " device = ?1;"
                     "DELETE FROM key WHERE device = ?1; DELETE FROM attestation WHERE device = ?1;"
                     "DELETE FROM seen WHERE device = ?1; DELETE FROM evidence WHERE device = ?1;"
                     "DELETE FROM grants WHERE device = ?1; DELETE FROM port WHERE device = ?1;"
                     "DELETE FROM direct WHERE device = ?1; DELETE FROM campaign_device WHERE device = ?1;"
                     "DELETE FROM device WHERE id = ?1;"
                     "DELETE FROM policy_manifest WHERE policy IN (SELECT id FROM policy WHERE kind = 'device' AND"
                     " target = ?2);"
                     "DELETE FROM policy WHERE kind = 'device' AND target = ?2",
                     "iti", d.id, d.name, (int64_t)time(NULL));
    return err ? err : gw_event(r, "delete", d.name, d.address, e);
}

cmx_err gw_device_rename(struct gw_registry *r, const char *name, const char *to, gw_outcome *out, struct cmx_why *e)
{
    struct gw_device d;
    struct gw_device other;
    cmx_err err = gw_device_name_check(to, e);

    *out = GW_UNCHANGED;
    if (!err)
        err = gw_device_get(r, name, &d, e);
    if (err == CMX_ENOENT && gw_device_get(r, to, &other, NULL) == CMX_OK && is_done(r, name, "rename", to))
        return CMX_OK;
    if (err || strcmp(d.name, to) == 0)
        return err;
    *out = GW_CHANGED;
    err = check_no_platform(r, to, e);
    if (err)
        return err;
    err = gw_sql_run(r, e,
                     "UPDATE device SET name = ?1 WHERE id = ?2;"
                     "UPDATE policy SET target = ?1 WHERE kind = 'device' AND target = ?3",
                     "tit", to, d.id, d.name);
    if (err == CMX_EEXIST && gw_device_get(r, to, &other, NULL) == CMX_OK && other.revoked)
        return cmx_why_fail(e, err, "the name %s belongs to a revoked device; free it with 'cmxsafe gateway delete %s'",
                            to, to);
    if (err == CMX_EEXIST)
        return cmx_why_fail(e, err, "there is a device '%s' already", to);
    return err ? err : gw_event(r, "rename", d.name, to, e);
}

cmx_err gw_device_rotate(struct gw_registry *r, const char *name, const struct gw_key *k, gw_outcome *out,
                         struct cmx_why *e)
{
    struct gw_device d;
    cmx_err err = gw_device_get(r, name, &d, e);

    if (err)
        return err;
    if (d.revoked)
        return cmx_why_fail(e, CMX_EINVAL, "%s is revoked; enrol it again with a new key", name);
    *out = GW_UNCHANGED;
    if (strcmp(d.fingerprint, k->fingerprint) == 0)
        return CMX_OK;
    *out = GW_CHANGED;
    err = check_new_key(r, k, e);
    if (!err)
        err = set_key(r, d.id, k, e);
    return err ? err : gw_event(r, "rotate", d.name, k->fingerprint, e);
}

cmx_err gw_device_key_line(struct gw_registry *r, const struct gw_device *d, char *out, size_t cap, struct cmx_why *e)
{
    cmx_err err = gw_sql_get(r, e, GW_SQL_COLUMNS(GW_SQL_WHOLE_AT(out, cap)),
                             "SELECT type || ' ' || blob FROM key WHERE device = ? AND retired IS NULL", "i", d->id);

    if (err == CMX_ENOENT)
        cmx_why_set(e, "%s has no key; give it one with 'cmxsafe gateway rotate'", d->name);
    return err;
}

cmx_err gw_device_find_retired_key(struct gw_registry *r, const char *fingerprint, struct cmx_why *e)
{
    return gw_sql_number(r, NULL, e,
                         "SELECT 1 FROM key k LEFT JOIN device d ON d.id = k.device WHERE k.fingerprint = ?1"
                         " AND (k.retired IS NOT NULL OR d.revoked IS NOT NULL)"
                         " UNION ALL SELECT 1 FROM tombstone WHERE fingerprint = ?1",
                         "t", fingerprint);
}

bool gw_device_is_quarantined(struct gw_registry *r, const char *address)
{
    return gw_sql_number(r, NULL, NULL,
                         "SELECT 1 FROM device d JOIN quarantined q ON q.device = d.id WHERE d.address = ?", "t",
                         address) != CMX_ENOENT; /* after an error the device counts as quarantined */
}

cmx_err gw_device_find_host(struct gw_registry *r, const char *host, struct gw_device *d)
{
    char name[GW_NAME_MAX];
    char address[GW_ADDRESS_MAX];
    uint8_t raw[CMX_IPV6_LEN];

    if (inet_pton(AF_INET6, host, raw) != 1)
        snprintf(name, sizeof name, "%.*s", (int)strcspn(host, "."), host);
    else if (!inet_ntop(AF_INET6, raw, address, sizeof address) || gw_device_name_at(r, address, name))
        return CMX_ENOENT;
    return gw_device_get(r, name, d, NULL);
}

cmx_err gw_device_name_at(struct gw_registry *r, const char *address, char name[GW_NAME_MAX])
{
    return gw_sql_get(r, NULL, GW_SQL_COLUMNS(GW_SQL_ID_AT(name, GW_NAME_MAX)),
                      "SELECT name FROM device WHERE address = ? AND revoked IS NULL", "t", address);
}

/* Stores the reason in the first line of the column detail, and one claim in each further line. */
cmx_err gw_attestation_set(struct gw_registry *r, int64_t device, const char *verdict, const char *detail,
                           const char *claims, struct cmx_why *e)
{
    char text[sizeof((struct gw_attestation *)0)->detail + GW_CLAIMS_MAX];
    const size_t line = strcspn(detail, "\n"); /* further lines of detail would be read as claims */

    snprintf(text, sizeof text, "%.*s%s%s", line < 500 ? (int)line : 500, detail, claims[0] ? "\n" : "", claims);
    return gw_sql_run(
        r, e,
        "INSERT INTO attestation(device, at, verdict, detail) VALUES(?, ?, ?, ?) ON CONFLICT(device) DO UPDATE"
        " SET at = excluded.at, verdict = excluded.verdict, detail = excluded.detail",
        "iitt", device, (int64_t)time(NULL), verdict, text);
}

void gw_attestation_get(struct gw_registry *r, int64_t device, struct gw_attestation *out)
{
    memset(out, 0, sizeof *out);
    (void)!gw_sql_get(r, NULL,
                      GW_SQL_COLUMNS(GW_SQL_NUMBER(&out->at), GW_SQL_ID(out->verdict), GW_SQL_TEXT(out->detail),
                                     GW_SQL_TEXT(out->claims)),
                      "SELECT at, verdict, substr(detail, 1, instr(detail || char(10), char(10)) - 1),"
                      " substr(detail, instr(detail || char(10), char(10)) + 1) FROM attestation WHERE device = ?",
                      "i", device);
}

cmx_err gw_device_directs_to(struct gw_registry *r, const char *host, char out[GW_DIRECTS_TO_MAX], struct cmx_why *e)
{
    return gw_sql_get(
        r, e, GW_SQL_COLUMNS(GW_SQL_WHOLE_AT(out, GW_DIRECTS_TO_MAX)),
        "SELECT coalesce(group_concat(name, ', '), '') FROM (SELECT DISTINCT name FROM direct x JOIN device d"
        " ON d.id = x.device WHERE d.revoked IS NULL AND x.host = ? COLLATE NOCASE ORDER BY name LIMIT 5)",
        "t", host);
}
