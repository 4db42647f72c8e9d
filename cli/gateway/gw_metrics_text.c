#include "cli/gateway/gw_metrics_text.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/common/json_get.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/version.h"
#include "gateway/folder/gw_copy.h"
#include "gateway/registry/list.h"
#include "gateway/registry/node.h"
#include "gateway/server/gw_control.h"

#define SOON_S 86400 /* a grant that ends within a day is counted as ending soon */

static void put_head(FILE *f, const char *name, const char *kind, const char *help)
{
    fprintf(f, "# HELP cmxsafe_%s %s\n# TYPE cmxsafe_%s %s\n", name, help, name, kind);
}

static void put_gauge(FILE *f, const char *name, const char *help, long long value)
{
    put_head(f, name, "gauge", help);
    fprintf(f, "cmxsafe_%s %lld\n", name, value);
}

/* Writes KEY="VALUE", escaped as the text form requires. */
static void put_label(FILE *f, const char *key, const char *value)
{
    fprintf(f, "%s=\"", key);
    for (; *value; value++)
        if (*value == '\n')
            fputs("\\n", f);
        else
            fprintf(f, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
    fputc('"', f);
}

/* Writes one line "NAME{KEY="VALUE",...} N". pairs: the keys and values, ended by NULL. */
static void put_labelled(FILE *f, const char *name, const char *const pairs[], int64_t number)
{
    fprintf(f, "cmxsafe_%s{", name);
    for (size_t i = 0; pairs[i]; i += 2) {
        if (i)
            fputc(',', f);
        put_label(f, pairs[i], pairs[i + 1]);
    }
    fprintf(f, "} %lld\n", (long long)number);
}

/* ---- the gateway's own counters: members of its answer to `traffic` ---- */

static const struct {
    const char *name, *kind, *key, *help;
} counters[] = {
    {"gateway_logging_in", "gauge", "logging_in", "Connections that have not logged in yet."},
    {"gateway_connections_total", "counter", "counters.connections", "Connections accepted."},
    {"gateway_logins_total", "counter", "counters.logins", "Sessions that logged in."},
    {"gateway_failed_total", "counter", "counters.failed", "Connections that ended without a login."},
    {"gateway_refused_penalty_total", "counter", "counters.refused_penalty",
     "Connections refused because earlier logins from their source failed."},
    {"gateway_refused_pressed_total", "counter", "counters.refused_pressed",
     "Slow logins ended because other connections waited."},
    {"gateway_revoked_total", "counter", "counters.revoked", "Sessions ended because their key lost its rights."},
    {"gateway_takeovers_total", "counter", "counters.takeovers", "Dead sessions ended because their device came back."},
    {"gateway_takeovers_refused_total", "counter", "counters.takeovers_refused",
     "Takeovers refused because their device had too many in a minute."},
    {"gateway_forwards_denied_total", "counter", "counters.forwards_denied", "Forwards requested and not permitted."},
    {"gateway_ports_in_use_total", "counter", "counters.ports_in_use",
     "Listeners refused because a live session holds them."},
    {"gateway_denied_packets_total", "counter", "counters.denied_packets",
     "Packets of connections that no grant allows."},
    {"gateway_judge_repairs_total", "counter", "counters.judge_repairs",
     "Rules, routes or links that were changed and restored."},
    {"gateway_registry_trouble_total", "counter", "counters.registry_trouble",
     "Logins refused because the registry could not be read."},
    {"gateway_certificates_refused_total", "counter", "counters.certificates_refused",
     "Certificates and revoked keys that were refused."},
    {"gateway_certificate_sessions", "gauge", "certificate_sessions", "Sessions that logged in with a certificate."},
    {"gateway_certificate_end_timestamp_seconds", "gauge", "certificate_first_end",
     "The earliest expiry of the live sessions' certificates; 0: none expires."},
    {"gateway_checks_waiting", "gauge", "worker.checks_waiting", "Devices that wait for attestation."},
    {"gateway_checks_running", "gauge", "worker.checks_running", "Attestations under way."},
    {"gateway_hook_events_waiting", "gauge", "worker.events_waiting", "Events that wait for a hook."},
};

static void put_running(FILE *f, const char *answer)
{
    char judge[200];

    for (size_t i = 0; i < GW_COUNT(counters); i++) {
        put_head(f, counters[i].name, counters[i].kind, counters[i].help);
        fprintf(f, "cmxsafe_%s %lld\n", counters[i].name, (long long)json_number(answer, counters[i].key));
    }
    put_gauge(f, "gateway_judge_ok", "Whether the rules that separate the parties are watched and in force.",
              json_text(answer, "judge", judge, sizeof judge) && !judge[0]);
    put_gauge(f, "gateway_identities", "Whether sessions have identities.", json_is_true(answer, "identities"));
    put_gauge(f, "gateway_worker_up",
              "Whether the worker, which attests devices and runs hooks, reports to the gateway.",
              json_is_true(answer, "worker.running"));
}

/* ---- devices ---- */

struct device {
    char name[GW_NAME_MAX];
    char group[GW_NAME_MAX];
    char firmware[sizeof((struct gw_seen *)0)->firmware];
    const char *verdict; /* a constant string, not freed */
    int64_t seen, attested, has_policy, must_attest, quarantined, evidence_ends;
    /* claims_isolation: 1 if the evidence has a claim about isolation; isolated: 1 if this claim says "active" */
    int64_t claims_isolation, isolated;
    int64_t up;                                          /* 1 if the device has a session at any gateway */
    int64_t in, out, refused, denied, takeovers_refused; /* counted by this gateway */
};

struct fleet {
    struct gw_copy_state copy; /* state of the registry's copy */
    struct gw_nodes *nodes;
    struct gw *g;
    struct device *devices; /* sorted by name */
    size_t n, cap;
    size_t enrolled; /* all devices, including those beyond GW_METRICS_DEVICES_MAX */
    int64_t sessions;
    size_t trusted, untrusted, exempt, quarantined;
};

static const char *known_verdict(const char *text)
{
    static const char *const verdicts[] = {"match", "differs", "failed"};

    for (size_t i = 0; i < GW_COUNT(verdicts); i++)
        if (strcmp(text, verdicts[i]) == 0)
            return verdicts[i];
    return text[0] ? "other" : "never";
}

/* Reads the claim about isolation; see struct gw_attestation. */
static void read_isolation(struct device *x, const char *claims)
{
    static const char claim[] = " isolation ";
    const char *at = strstr(claims, claim);

    x->claims_isolation = at != NULL;
    x->isolated = at && strncmp(at + sizeof claim - 1, "active", 6) == 0;
}

static cmx_err fleet_add(void *arg, const struct gw_device *d)
{
    struct fleet *l = arg;
    struct device x = {0};
    struct gw_seen seen;
    struct gw_attestation attested = {0};

    if (d->revoked)
        return CMX_OK;
    if (l->enrolled++ >= GW_METRICS_DEVICES_MAX)
        return CMX_OK;
    gw_seen_get(&l->g->registry, d->id, &seen);
    gw_attestation_get(&l->g->registry, d->id, &attested);
    snprintf(x.name, sizeof x.name, "%s", d->name);
    snprintf(x.group, sizeof x.group, "%s", d->group);
    snprintf(x.firmware, sizeof x.firmware, "%s", seen.firmware);
    x.seen = seen.at;
    x.attested = attested.at;
    x.verdict = known_verdict(attested.verdict);
    read_isolation(&x, attested.claims);
    return gw_list_add(&l->devices, &l->n, &l->cap, &x, sizeof x);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct device *)a)->name, ((const struct device *)b)->name);
}

static struct device *fleet_find(struct fleet *l, const char *name)
{
    struct device key;

    snprintf(key.name, sizeof key.name, "%s", name);
    return l->n ? bsearch(&key, l->devices, l->n, sizeof key, compare_names) : NULL;
}

static cmx_err add_standing(void *arg, const struct gw_standing *s)
{
    struct fleet *l = arg;
    struct device *x = fleet_find(l, s->name);

    l->exempt += s->exempt;
    l->quarantined += s->quarantined;
    l->trusted += !s->exempt && s->left > 0;
    l->untrusted += !s->exempt && s->left == 0;
    if (!x)
        return CMX_OK;
    x->has_policy = true;
    x->must_attest = !s->exempt;
    x->quarantined = s->quarantined;
    x->evidence_ends = s->left ? (int64_t)time(NULL) + s->left : 0;
    return CMX_OK;
}

/* True if the gateway last wrote to the registry at most GW_NODE_STALE_S seconds before or after the copy's last
 * confirmation. Otherwise its sessions are not counted. While PostgreSQL can't be reached, both times stay the same, so
 * the result does not change. */
static bool is_alive(const struct fleet *l, const struct gw_node *n)
{
    int64_t confirmed = (int64_t)time(NULL) - gw_copy_state_age(&l->copy);

    return llabs((long long)(confirmed - n->seen)) <= GW_NODE_STALE_S;
}

static cmx_err add_claim(void *arg, const char *address, const char *node, int64_t since)
{
    struct fleet *l = arg;
    const struct gw_node *n = gw_nodes_find(l->nodes, node);
    char name[GW_NAME_MAX];
    struct device *x;

    (void)since;
    if (!n || n == l->nodes->own || !is_alive(l, n) || gw_device_name_at(&l->g->registry, address, name))
        return CMX_OK; /* skip claims of this gateway, claims of gateways that are away, and claims for platforms */
    x = fleet_find(l, name);
    if (x)
        x->up = true;
    return CMX_OK;
}

/* Counts the sessions, and sets each device's counters, from "parties" in the running gateway's answer. */
static void add_traffic(struct fleet *l, const char *answer)
{
    char name[GW_NAME_MAX];

    for (const char *object = json_first(answer, "parties"); object; object = json_next(object)) {
        struct device *x;

        json_text(object, "name", name, sizeof name);
        l->sessions += json_number(object, "sessions");
        x = fleet_find(l, name);
        if (!x)
            continue; /* skip a platform, and a device that was revoked */
        x->up |= json_number(object, "sessions") > 0;
        x->in = json_number(object, "bytes_in");
        x->out = json_number(object, "bytes_out");
        x->refused = json_number(object, "refused");
        x->denied = json_number(object, "denied");
        x->takeovers_refused = json_number(object, "takeovers_refused");
    }
}

/* ---- the metrics of a device: a table with one row for each metric ---- */

#define OF(member) offsetof(struct device, member)
#define ALWAYS 0 /* value of `shown` for a metric that is always shown; not the offset of a number in struct device */

static const struct {
    const char *name, *kind, *help; /* help NULL: this row is another value of the metric above */
    const char *direction;          /* value of the label "direction"; NULL: no such label */
    size_t value;                   /* offset of the metric's number in struct device */
    size_t shown;                   /* offset of a number: the metric is shown if that number is not 0 */
} device_metrics[] = {
    {"device_up", "gauge", "Whether the device has a session, at any gateway of the fleet.", NULL, OF(up), ALWAYS},
    {"device_last_seen_timestamp_seconds", "gauge", "When a session of the device last began or ended.", NULL, OF(seen),
     OF(seen)},
    {"device_attested_timestamp_seconds", "gauge", "When the device was last attested.", NULL, OF(attested),
     OF(attested)},
    {"device_quarantined", "gauge",
     "Whether the device is quarantined: only the verifier, the updater and break-glass grants can reach it.", NULL,
     OF(quarantined), OF(has_policy)},
    {"device_evidence_ends_timestamp_seconds", "gauge", "When the device's evidence expires; 0: it is not trusted.",
     NULL, OF(evidence_ends), OF(must_attest)},
    {"device_isolated", "gauge", "Whether the device's isolation was in force, according to its last evidence.", NULL,
     OF(isolated), OF(claims_isolation)},
    {"device_bytes_total", "counter", "Bytes that the device's sessions at this gateway carried.", "in", OF(in),
     ALWAYS},
    {"device_bytes_total", "counter", NULL, "out", OF(out), ALWAYS},
    {"device_refused_forwards_total", "counter", "Forwards that the device requested and that are not permitted.", NULL,
     OF(refused), ALWAYS},
    {"device_denied_packets_total", "counter", "Packets of connections to the device that no grant allows.", NULL,
     OF(denied), ALWAYS},
    {"device_takeovers_refused_total", "counter",
     "Takeovers refused because there were too many in a minute: two devices may have the same key.", NULL,
     OF(takeovers_refused), ALWAYS},
};
#undef OF

static int64_t number_of(const struct device *x, size_t offset)
{
    int64_t number;

    memcpy(&number, (const char *)x + offset, sizeof number);
    return number;
}

static void put_row(FILE *f, const struct fleet *l, size_t row)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct device *x = &l->devices[i];
        const char *pairs[] = {"name", x->name, device_metrics[row].direction ? "direction" : NULL,
                               device_metrics[row].direction, NULL};

        if (device_metrics[row].shown != ALWAYS && !number_of(x, device_metrics[row].shown))
            continue;
        put_labelled(f, device_metrics[row].name, pairs, number_of(x, device_metrics[row].value));
    }
}

static void put_devices(FILE *f, const struct fleet *l)
{
    put_head(f, "device_info", "gauge", "A device that is enrolled; always 1.");
    for (size_t i = 0; i < l->n; i++) {
        const struct device *x = &l->devices[i];
        const char *pairs[] = {"name", x->name, "group", x->group, "firmware", x->firmware, NULL};

        put_labelled(f, "device_info", pairs, 1);
    }
    put_head(f, "device_verdict", "gauge", "The verdict of the last attestation; always 1.");
    for (size_t i = 0; i < l->n; i++) {
        const char *pairs[] = {"name", l->devices[i].name, "verdict", l->devices[i].verdict, NULL};

        put_labelled(f, "device_verdict", pairs, 1);
    }
    for (size_t row = 0; row < GW_COUNT(device_metrics); row++) {
        if (device_metrics[row].help)
            put_head(f, device_metrics[row].name, device_metrics[row].kind, device_metrics[row].help);
        put_row(f, l, row);
    }
}

/* ---- grants ---- */

struct grant_ends {
    size_t grants, soon;
};

static cmx_err count_grant(void *arg, const struct gw_grant_record *g)
{
    struct grant_ends *n = arg;

    if (g->ends && !g->left)
        return CMX_OK;
    n->grants++;
    n->soon += g->ends && g->left < SOON_S;
    return CMX_OK;
}

/* ---- the gateways of the fleet ---- */

static void put_nodes(FILE *f, const struct gw_nodes *nodes)
{
    const char *info[] = {"node", nodes->own->name, "version", CMX_VERSION, NULL};

    put_head(f, "gateway_info", "gauge", "The name of this gateway in the fleet, and its version.");
    put_labelled(f, "gateway_info", info, 1);
    put_head(f, "node_last_seen_timestamp_seconds", "gauge", "When a gateway of the fleet last wrote to the registry.");
    for (size_t i = 0; i < nodes->n; i++) {
        const char *pairs[] = {"node", nodes->list[i].name, NULL};

        put_labelled(f, "node_last_seen_timestamp_seconds", pairs, nodes->list[i].seen);
    }
    put_head(f, "node_sessions", "gauge", "Sessions of a gateway of the fleet when it last wrote to the registry.");
    for (size_t i = 0; i < nodes->n; i++) {
        const char *pairs[] = {"node", nodes->list[i].name, NULL};

        put_labelled(f, "node_sessions", pairs, nodes->list[i].sessions);
    }
}

static void put_totals(FILE *f, const struct fleet *l, const struct grant_ends *grants)
{
    put_gauge(f, "gateway_devices", "Devices enrolled.", (long long)l->enrolled);
    put_gauge(f, "gateway_devices_omitted", "Devices beyond the limit, which have no metrics of their own.",
              (long long)(l->enrolled - l->n));
    put_gauge(f, "gateway_grants", "Grants in force.", (long long)grants->grants);
    put_gauge(f, "gateway_grants_ending_soon", "Grants that end within a day.", (long long)grants->soon);
    put_head(f, "gateway_policy_devices", "gauge", "Devices with a policy, by the state of their evidence.");
    fprintf(f,
            "cmxsafe_gateway_policy_devices{state=\"trusted\"} %zu\n"
            "cmxsafe_gateway_policy_devices{state=\"untrusted\"} %zu\n"
            "cmxsafe_gateway_policy_devices{state=\"exempt\"} %zu\n",
            l->trusted, l->untrusted, l->exempt);
    put_gauge(f, "gateway_quarantined",
              "Quarantined devices: only the verifier, the updater and break-glass grants can reach them.",
              (long long)l->quarantined);
}

/* False: the registry can't be read; e has the reason. */
static bool read_registry(struct fleet *l, struct grant_ends *grants, struct cmx_why *e)
{
    struct gw_registry *r = &l->g->registry;
    bool failed = gw_folder_open(l->g, false, e) || gw_device_each(r, NULL, fleet_add, l, e);

    if (!failed && l->n)
        qsort(l->devices, l->n, sizeof l->devices[0], compare_names);
    if (!failed)
        gw_copy_look(l->g, &l->copy);
    failed = failed || gw_standing_each(r, add_standing, l, e) || gw_grant_record_each(r, count_grant, grants, e) ||
             gw_nodes_read(r, &l->g->fleet, l->nodes, e) || gw_claim_each(r, add_claim, l, e);
    gw_folder_close(l->g);
    return !failed;
}

/* Writes the metrics about the copy of a registry that several gateways share. */
static void put_copy(FILE *f, const struct gw_copy_state *s)
{
    put_gauge(f, "gateway_registry_followed", "Whether PostgreSQL confirms the copy of the registry.",
              gw_copy_state_good(s));
    put_gauge(f, "gateway_registry_age_seconds", "Time since PostgreSQL last confirmed the copy.",
              (long long)gw_copy_state_age(s));
    put_gauge(f, "gateway_registry_left_seconds",
              "Time until logins are refused if PostgreSQL does not confirm the copy.", (long long)s->left);
}

bool gw_metrics_put(FILE *f, struct gw *g, const char *dir, struct cmx_why *e)
{
    struct fleet fleet = {.g = g, .nodes = cmx_mem_alloc(sizeof *fleet.nodes)};
    struct grant_ends grants = {0};
    bool readable = fleet.nodes && gw_folder_find(g, dir, e) == CMX_OK && read_registry(&fleet, &grants, e);
    char *answer;
    bool up = gw_control(g, "traffic", &answer, NULL) == CMX_OK;

    put_gauge(f, "gateway_up", "Whether the gateway is running.", up);
    put_gauge(f, "gateway_registry_ok", "Whether the registry can be read.", readable);
    if (answer) {
        put_running(f, answer);
        add_traffic(&fleet, answer);
        put_gauge(f, "gateway_sessions", "Sessions that are logged in.", (long long)fleet.sessions);
    }
    if (readable) {
        put_totals(f, &fleet, &grants);
        put_devices(f, &fleet);
        if (fleet.nodes->n)
            put_nodes(f, fleet.nodes);
        if (fleet.copy.shared)
            put_copy(f, &fleet.copy);
    }
    free(answer); /* allocated by open_memstream */
    cmx_mem_free(fleet.devices);
    cmx_mem_free(fleet.nodes);
    return readable;
}
