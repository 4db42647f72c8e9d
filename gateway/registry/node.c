#include "gateway/registry/node.h"
#include "gateway/registry/event.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- addresses and ports of the links ---- */

/* All nodes derive the same link prefix from the fleet's prefix. The link prefix is outside the fleet's prefix. */
static cmx_err link_address(const struct gw_fleet *f, unsigned number, char out[GW_ADDRESS_MAX], struct cmx_why *e)
{
    const uint8_t local[CMX_IPV6_LEN] = {0xfd};
    uint8_t raw[CMX_IPV6_LEN];

    if (cmx_fleet_address(local, 8, CMX_DOMAIN_LINK_PREFIX, f->prefix, f->bits / 8, out) ||
        inet_pton(AF_INET6, out, raw) != 1)
        return cmx_why_fail(e, CMX_EIO, "hashing failed");
    memset(raw + 8, 0, 7);
    raw[15] = (uint8_t)number;
    inet_ntop(AF_INET6, raw, out, GW_ADDRESS_MAX);
    return CMX_OK;
}

unsigned gw_node_port(unsigned a, unsigned b)
{
    unsigned low = a < b ? a : b;
    unsigned high = a < b ? b : a;

    return GW_NODE_PORT_FIRST + (high - 1) * (high - 2) / 2 + low - 1;
}

/* ---- nodes ---- */

/* Allows only characters that are safe in BIRD's configuration and in arguments to ip and wg, because the values are
 * used there. */
static cmx_err check_node(const struct gw_node *n, struct cmx_why *e)
{
    static const char key_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    uint8_t raw[CMX_IPV6_LEN];
    cmx_err err = gw_registry_name_check(n->name, e);

    if (err)
        return err;
    if (inet_pton(AF_INET, n->underlay, raw) != 1 && inet_pton(AF_INET6, n->underlay, raw) != 1)
        return cmx_why_fail(
            e, CMX_EINVAL, "'%.60s' is not an address; give the address at which the other gateways reach this gateway",
            n->underlay);
    if (n->link_key[0] && (strlen(n->link_key) != 44 || strspn(n->link_key, key_chars) != 44))
        return cmx_why_fail(e, CMX_EINVAL, "'%.60s' is not a WireGuard key", n->link_key);
    return CMX_OK;
}

/* Reads one node. Skips a malformed row: this gateway writes none, so another gateway wrote it. */
static cmx_err read_row(struct gw_nodes *out, const struct gw_fleet *f, sqlite3_stmt *stmt, struct cmx_why *e)
{
    struct gw_node *n = &out->list[out->n];

    if (out->n == GW_NODES_MAX)
        return cmx_why_fail(e, CMX_EFORMAT, "the registry has more than %d gateways", GW_NODES_MAX);
    gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(n->name), GW_SQL_ID(n->ssh), GW_SQL_ID(n->underlay),
                                        GW_SQL_ID(n->link_key), GW_SQL_NUMBER(&n->joined), GW_SQL_NUMBER(&n->seen),
                                        GW_SQL_NUMBER(&n->sessions), GW_SQL_TEXT(n->version)));
    n->number = (unsigned)sqlite3_column_int(stmt, 8);
    if (check_node(n, NULL))
        return CMX_OK;
    out->n++;
    return link_address(f, n->number, n->link, e);
}

cmx_err gw_nodes_read(struct gw_registry *r, const struct gw_fleet *f, struct gw_nodes *out, struct cmx_why *e)
{
    char own[GW_NAME_MAX];
    char zero[GW_ADDRESS_MAX];
    sqlite3_stmt *stmt;
    cmx_err err;

    memset(out, 0, sizeof *out);
    if (gw_meta_get(r, "node", own, sizeof own))
        return CMX_OK;
    err = gw_sql_row(r, &stmt, e,
                     "SELECT n.name, n.ssh, n.underlay, n.link_key, n.joined, s.seen, s.sessions, s.version,"
                     " n.number FROM node n LEFT JOIN node_state s ON s.node = n.name ORDER BY n.number",
                     "");
    while (!err)
        err = gw_sql_next(r, stmt, read_row(out, f, stmt, e), e);
    err = gw_sql_end(stmt, err);
    if (err)
        return err;
    out->own = gw_nodes_find(out, own);
    if (!out->own)
        out->n = 0;
    err = link_address(f, 0, zero, e);
    snprintf(out->prefix, sizeof out->prefix, "%s/64", zero);
    return err;
}

const struct gw_node *gw_nodes_find(const struct gw_nodes *nodes, const char *name)
{
    for (size_t i = 0; i < nodes->n; i++)
        if (strcmp(nodes->list[i].name, name) == 0)
            return &nodes->list[i];
    return NULL;
}

static cmx_err find_number(struct gw_registry *r, struct gw_node *n, struct cmx_why *e)
{
    int64_t number = 0;
    cmx_err err = gw_sql_number(r, &number, e,
                                "WITH RECURSIVE all_numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM all_numbers"
                                " WHERE i < 64) SELECT coalesce((SELECT number FROM node WHERE name = ?), (SELECT"
                                " min(i) FROM all_numbers WHERE i NOT IN (SELECT number FROM node)), 0)",
                                "t", n->name);

    n->number = (unsigned)number;
    if (!err && !n->number)
        err = cmx_why_fail(e, CMX_ENOSPC,
                           "the fleet already has %d gateways, the maximum; remove one with 'cmxsafe gateway leave "
                           "NAME'",
                           GW_NODES_MAX);
    return err;
}

cmx_err gw_node_put(struct gw_registry *r, struct gw_node *n, struct cmx_why *e)
{
    cmx_err err = check_node(n, e);

    if (!err)
        err = find_number(r, n, e);
    if (!err)
        err = gw_sql_run(r, e,
                         "INSERT INTO node(name, number, ssh, underlay, link_key, joined) VALUES(?, ?, ?, ?, ?, ?)"
                         " ON CONFLICT(name) DO UPDATE SET ssh = excluded.ssh, underlay = excluded.underlay,"
                         " link_key = excluded.link_key",
                         "tittti", n->name, (int64_t)n->number, n->ssh, n->underlay, n->link_key, (int64_t)time(NULL));
    return err ? err : gw_event(r, "join", n->name, n->underlay, e);
}

cmx_err gw_node_remove(struct gw_registry *r, const char *name, struct cmx_why *e)
{
    cmx_err err = gw_sql_run(r, e, "DELETE FROM node WHERE name = ?", "t", name);

    if (!err && sqlite3_changes(r->db) == 0)
        err = cmx_why_fail(e, CMX_ENOENT, "no gateway '%.60s'; see 'cmxsafe gateway nodes'", name);
    if (!err)
        err = gw_sql_run(r, e, "DELETE FROM node_state WHERE node = ?1; DELETE FROM claim WHERE node = ?1", "t", name);
    return err ? err : gw_event(r, "leave", name, "", e);
}

cmx_err gw_node_note(struct gw_registry *r, const char *name, int64_t sessions, const char *version, struct cmx_why *e)
{
    return gw_sql_run(r, e,
                      "INSERT INTO node_state(node, seen, sessions, version) VALUES(?, ?, ?, ?) ON CONFLICT(node) DO"
                      " UPDATE SET seen = excluded.seen, sessions = excluded.sessions, version = excluded.version",
                      "tiit", name, (int64_t)time(NULL), sessions, version);
}

/* ---- claims ---- */

cmx_err gw_claim_put(struct gw_registry *r, const char *address, const char *node, int64_t sequence, int64_t since,
                     struct cmx_why *e)
{
    return gw_sql_run(r, e,
                      "INSERT INTO claim(address, node, sequence, since) VALUES(?, ?, ?, ?) ON CONFLICT(address) DO"
                      " UPDATE SET node = excluded.node, sequence = excluded.sequence, since = excluded.since WHERE"
                      " excluded.sequence > claim.sequence",
                      "ttii", address, node, sequence, since);
}

cmx_err gw_claim_get(struct gw_registry *r, const char *address, char node[GW_NAME_MAX], int64_t *sequence,
                     struct cmx_why *e)
{
    node[0] = '\0';
    *sequence = 0;
    return gw_sql_get(r, e, GW_SQL_COLUMNS(GW_SQL_ID_AT(node, GW_NAME_MAX), GW_SQL_NUMBER(sequence)),
                      "SELECT node, sequence FROM claim WHERE address = ?", "t", address);
}

bool gw_claim_is_elsewhere(struct gw_registry *r, const char *address, char node[GW_NAME_MAX])
{
    char own[GW_NAME_MAX];
    int64_t sequence;

    return gw_meta_get(r, "node", own, sizeof own) == CMX_OK &&
           gw_claim_get(r, address, node, &sequence, NULL) == CMX_OK && node[0] && strcmp(node, own) != 0;
}

cmx_err gw_claim_each(struct gw_registry *r, gw_claim_fn fn, void *arg, struct cmx_why *e)
{
    char address[GW_ADDRESS_MAX];
    char node[GW_NAME_MAX];
    int64_t since;
    sqlite3_stmt *stmt;
    cmx_err err =
        gw_sql_row(r, &stmt, e, "SELECT address, node, since FROM claim WHERE node <> '' ORDER BY address", "");

    while (!err) {
        gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(address), GW_SQL_ID(node), GW_SQL_NUMBER(&since)));
        err = fn(arg, address, node, since);
        err = gw_sql_next(r, stmt, err, e);
    }
    return gw_sql_end(stmt, err);
}

unsigned gw_claim_metric(int64_t sequence)
{
    return (unsigned)(1 + (sequence > 0 ? sequence - 1 : 0) % GW_METRIC_MAX);
}

bool gw_claim_metric_newer(unsigned a, unsigned b)
{
    unsigned ahead = (a + GW_METRIC_MAX - b % GW_METRIC_MAX) % GW_METRIC_MAX;

    return ahead > 0 && ahead < GW_METRIC_MAX / 2;
}

int64_t gw_claim_next(int64_t after, unsigned metric)
{
    int64_t next = after + 1;
    unsigned ahead;

    if (!metric || gw_claim_metric_newer(gw_claim_metric(next), metric))
        return next;
    ahead = (metric + GW_METRIC_MAX - gw_claim_metric(next)) % GW_METRIC_MAX;
    return next + ahead + 1;
}
