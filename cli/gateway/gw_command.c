#include "cli/gateway/gw_command.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gateway/registry/node.h"
#include "gateway/registry/party.h"
#include "gateway/registry/party_unique.h"
#include "gateway/server/gw_apply.h"

/* True if the operator gave no folder and the default is the user's own folder. */
static bool is_own_default(const struct gw_common *c)
{
    const char *env = getenv("CMXSAFE_GATEWAY");

    return !c->dir && !(env && env[0]) && geteuid() != 0;
}

int gw_command_open(struct gw *g, const struct gw_common *c, bool write)
{
    struct cmx_why e = {0};
    cmx_err err = gw_folder_find(g, c->dir, &e);

    if (!err)
        err = gw_folder_open(g, write, &e);
    if (!err)
        return CLI_OK;
    if (err == CMX_ENOENT && is_own_default(c) && access(GW_SYSTEM_DIR, F_OK) == 0)
        cmx_why_set(&e,
                    "you have no gateway of your own; use sudo for the system's, or set one up with 'cmxsafe gateway "
                    "init --user'");
    return gw_fail("the gateway can't be opened", &e);
}

int gw_read_begin(struct gw_read *x)
{
    x->status = gw_command_open(&x->g, &x->common, false);
    return x->status;
}

static struct cmx_json *read_begin_json(struct gw_read *x, void (*begin)(struct cmx_json *j, const char *key))
{
    if (!x->common.json)
        return NULL;
    gw_json_begin(&x->json, stdout);
    begin(&x->json.j, NULL);
    x->printing = true;
    return &x->json.j;
}

struct cmx_json *gw_read_array(struct gw_read *x)
{
    return read_begin_json(x, cmx_json_array);
}

struct cmx_json *gw_read_object(struct gw_read *x)
{
    return read_begin_json(x, cmx_json_object);
}

int gw_read_finish(struct gw_read *x, bool failed)
{
    if (x->printing) {
        cmx_json_end(&x->json.j);
        (void)gw_json_end(&x->json); /* main reports a failed write to stdout */
    }
    gw_folder_close(&x->g);
    return failed ? gw_fail(x->what, &x->e) : CLI_OK;
}

int gw_change_begin(struct gw_change *x)
{
    size_t expired;

    x->status = gw_command_open(&x->g, &x->common, true);
    if (x->status == CLI_OK && (gw_folder_lock(&x->g, &x->e) || gw_registry_begin(&x->g.registry, &x->e) ||
                                gw_grant_expire(&x->g.registry, &expired, &x->e))) {
        x->status = gw_fail(x->what, &x->e);
        gw_folder_close(&x->g);
    }
    return x->status;
}

/* Call this after the commit. Closes g. */
static int apply_changes(struct gw *g, struct cmx_why *e)
{
    cmx_err err = gw_apply_change(g, NULL, e);

    gw_folder_close(g);
    if (!err)
        return CLI_OK;
    cmx_why_set(e, "%s; fix the cause, then run 'cmxsafe gateway init'", e->text);
    return gw_fail("the registry was updated but applying it failed", e);
}

int gw_change_finish(struct gw_change *x, bool failed)
{
    if (failed || x->common.dry_run)
        gw_registry_rollback(&x->g.registry);
    else
        failed = gw_registry_commit(&x->g.registry, &x->e) != CMX_OK;
    if (!failed && !x->common.dry_run)
        return apply_changes(&x->g, &x->e);
    gw_folder_close(&x->g);
    return failed ? gw_fail(x->what, &x->e) : CLI_OK;
}

int gw_change_report(struct gw_change *x, bool failed, const char *fmt, ...)
{
    int status = gw_change_finish(x, failed);
    va_list ap;

    if (status)
        return status;
    if (x->common.json) {
        gw_command_print_outcome(&x->common, x->outcome);
        return CLI_OK;
    }
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("%s\n", gw_command_dry_run(&x->common));
    return CLI_OK;
}

cmx_err gw_command_check_identities(struct gw *g, const struct gw_consumer *c, struct cmx_why *e)
{
    return g->simple ? CMX_OK : gw_party_unique_check(&g->registry, &g->fleet, c, e);
}

static cmx_err count_device(void *arg, const struct gw_device *d)
{
    size_t *n = arg;

    *n += !d->revoked;
    return CMX_OK;
}

cmx_err gw_command_count_group(struct gw *g, const char *group, size_t *n, struct cmx_why *e)
{
    *n = 0;
    return gw_device_each(&g->registry, group, count_device, n, e);
}

void gw_command_note_empty(const char *group)
{
    fprintf(stderr, "cmxsafe: note: no device is in the group '%s' yet\n", group);
}

void gw_command_note_directs(struct gw *g, const char *name)
{
    char host[GW_NAME_MAX + sizeof g->domain];
    char devices[GW_DIRECTS_TO_MAX];

    snprintf(host, sizeof host, "%.*s.%s", GW_NAME_MAX - 1, name, g->domain);
    if (gw_device_directs_to(&g->registry, host, devices, NULL) == CMX_OK && devices[0])
        fprintf(
            stderr,
            "cmxsafe: note: %s: direct services of these devices name this host: %s; change them with 'cmxsafe gateway "
            "enroll NAME --direct ...', or the next device with this name gets their connections\n",
            host, devices);
}

bool gw_command_machine_has(const struct gw_consumer *c)
{
    char path[GW_PATH_MAX];

    if (strcmp(c->kind, "cgroup") != 0)
        return gw_party_is_known(c);
    snprintf(path, sizeof path, "%s/%s", gw_cgroup_root(), c->name);
    return access(path, F_OK) == 0;
}

cmx_err gw_command_find_party(struct gw *g, const char *name, struct gw_party *p, struct cmx_why *e)
{
    struct gw_consumer c = {0};
    int64_t id;
    cmx_err err = gw_party_find(&g->registry, &g->fleet, name, p, e);

    if (err)
        return err;
    snprintf(c.kind, sizeof c.kind, "%s", p->kind);
    snprintf(c.name, sizeof c.name, "%s", p->name);
    if (gw_command_machine_has(&c))
        return CMX_OK;
    err = gw_consumer_id(&g->registry, &c, &id, e);
    return err == CMX_ENOENT
               ? cmx_why_fail(e, err, "neither the registry nor this machine has a %s '%.80s'", c.kind, c.name)
               : err;
}

void gw_command_identity(struct gw *g, const struct gw_consumer *c, char out[GW_ADDRESS_MAX])
{
    out[0] = '\0';
    if (!g->simple && !g->user && gw_party_identity(&g->registry, &g->fleet, c, out, NULL))
        out[0] = '\0';
}

void gw_command_print_ports(const struct gw_device *d, const char *separator, const char *none)
{
    for (size_t i = 0; i < d->n_ports; i++)
        printf("%s%u", i ? separator : "", d->ports[i]);
    fputs(d->n_ports ? "" : none, stdout);
}

void gw_command_print_directs(const struct gw_device *d, const char *separator, const char *none)
{
    for (size_t i = 0; i < d->n_directs; i++)
        printf(strchr(d->directs[i].host, ':') ? "%s[%s]:%u" : "%s%s:%u", i ? separator : "", d->directs[i].host,
               d->directs[i].port);
    fputs(d->n_directs ? "" : none, stdout);
}

void gw_command_put_device(struct cmx_json *j, const struct gw *g, const struct gw_device *d)
{
    char host[GW_HOST_MAX];

    gw_device_host(g, d, host);
    cmx_json_str(j, "name", d->name);
    cmx_json_str(j, "host", host);
    cmx_json_str(j, "address", d->address);
    cmx_json_str(j, "group", d->group);
    cmx_json_str(j, "key", d->fingerprint);
    cmx_json_str(j, "type", d->key_type);
    cmx_json_array(j, "ports");
    for (size_t i = 0; i < d->n_ports; i++)
        cmx_json_u64(j, NULL, d->ports[i]);
    cmx_json_end(j);
    cmx_json_array(j, "opens"); /* the direct services; the member keeps its name from version 1 */
    for (size_t i = 0; i < d->n_directs; i++) {
        cmx_json_object(j, NULL);
        cmx_json_str(j, "host", d->directs[i].host);
        cmx_json_u64(j, "port", d->directs[i].port);
        cmx_json_end(j);
    }
    cmx_json_end(j);
    cmx_json_i64(j, "enrolled", d->enrolled);
    cmx_json_i64(j, "revoked", d->revoked);
}

void gw_command_put_node(struct cmx_json *j, struct gw *g, const struct gw_device *d)
{
    char node[GW_NAME_MAX] = "";
    int64_t sequence;

    if (d->revoked || gw_claim_get(&g->registry, d->address, node, &sequence, NULL))
        node[0] = '\0';
    cmx_json_str(j, "node", node);
}

void gw_command_put_seen(struct cmx_json *j, const struct gw_seen *s)
{
    cmx_json_object(j, "seen");
    cmx_json_i64(j, "at", s->at);
    cmx_json_str(j, "from", s->source);
    cmx_json_str(j, "firmware", s->firmware);
    cmx_json_str(j, "client", s->client);
    cmx_json_end(j);
}

const char *gw_command_time(int64_t at, char out[GW_TIME_TEXT_MAX])
{
    time_t t = (time_t)at;
    struct tm tm;

    if (at == 0 || !gmtime_r(&t, &tm) || strftime(out, GW_TIME_TEXT_MAX, "%Y-%m-%d %H:%M:%SZ", &tm) == 0)
        snprintf(out, GW_TIME_TEXT_MAX, "-");
    return out;
}

const char *gw_outcome_text(gw_outcome o)
{
    static const char *const words[] = {"unchanged", "added", "changed"};
    return words[o];
}

const char *gw_command_dry_run(const struct gw_common *c)
{
    return c->dry_run ? " (dry run)" : "";
}

void gw_command_print_outcome(const struct gw_common *c, gw_outcome o)
{
    struct gw_json out;

    gw_json_begin_stdout(&out);
    cmx_json_str(&out.j, "outcome", gw_outcome_text(o));
    if (c->dry_run)
        cmx_json_bool(&out.j, "dry_run", true);
    gw_json_end_stdout(&out);
}
