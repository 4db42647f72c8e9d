#include "cli/gateway/gw_rollout.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/common/http_client.h"
#include "cli/gateway/gw_child.h"
#include "cli/gateway/gw_reach.h"
#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "gateway/registry/event.h"
#include "gateway/registry/list.h"
#include "gateway/registry/nss.h"
#include "gateway/registry/party.h"
#include "gateway/server/gw_inside.h"

#define ARGUMENTS_MAX 60
#define ARGUMENT_CHARS 1024
#define OUTPUT_MAX 512

typedef enum { DEVICE_WAITS, DEVICE_RUNS, DEVICE_SUCCEEDED, DEVICE_FAILED } device_state;

struct one {
    struct gw_device device;
    device_state state;
    struct gw_child child;
};

struct run {
    const struct gw_rollout *job;
    struct gw g;
    struct one *list;
    size_t n, cap, running, done, failed, not_recorded;
    struct gw_reach reach;
};

static cmx_err add_device(void *arg, const struct gw_device *d)
{
    struct run *r = arg;
    const struct one x = {.device = *d};

    return d->revoked ? CMX_OK : gw_list_add(&r->list, &r->n, &r->cap, &x, sizeof x);
}

int gw_selection_check(const struct gw_selection *s, const char *command)
{
    return s->all + (s->group != NULL) + (s->n_names > 0) != 1
               ? cli_usage(command, "give one of these: names of devices, --all, --group")
               : CLI_OK;
}

static bool is_among(const int64_t *ids, size_t n, int64_t id)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

cmx_err gw_rollout_select(struct gw *g, const struct gw_selection *s, gw_device_fn fn, void *arg, struct cmx_why *e)
{
    int64_t ids[CLI_OPERANDS_MAX]; /* the devices selected so far; a device that is named twice is selected once */
    size_t n = 0;
    struct gw_device d;
    cmx_err err = s->group ? gw_device_check_group(&g->registry, s->group, e) : CMX_OK;

    if (!err && (s->all || s->group))
        return gw_device_each(&g->registry, s->group, fn, arg, e);
    for (size_t i = 0; !err && i < s->n_names; i++) {
        err = gw_device_get(&g->registry, s->names[i], &d, e);
        if (err || is_among(ids, n, d.id))
            continue;
        ids[n++] = d.id;
        err = fn(arg, &d);
    }
    return err;
}

/* Replaces {name} and {address} in one argument. */
static cmx_err expand(char out[ARGUMENT_CHARS], const char *text, const struct gw_device *d)
{
    struct cmx_buf b;
    const char *s;

    cmx_buf_init(&b, out, ARGUMENT_CHARS);
    while (*text) {
        if (strncmp(text, "{name}", 6) == 0) {
            cmx_buf_put_str(&b, d->name);
            text += 6;
        } else if (strncmp(text, "{address}", 9) == 0) {
            cmx_buf_put_str(&b, d->address);
            text += 9;
        } else {
            cmx_buf_put_u8(&b, (uint8_t)*text++);
        }
    }
    return cmx_buf_cstr(&b, &s);
}

/* Returns why the child could not be started; NULL: it was started. */
static const char *start(struct run *r, struct one *x)
{
    static char text[ARGUMENTS_MAX][ARGUMENT_CHARS];
    char url[GW_HOST_MAX + 32];
    const char *argv[ARGUMENTS_MAX + 7] = {NULL, r->job->command, "--url", url};
    size_t n = 4;

    gw_child_url(x->device.address, r->job->port, url, sizeof url);
    if (r->job->record)
        argv[n++] = "--json"; /* the verdict is read from the JSON */
    if (r->job->common.dry_run)
        argv[n++] = "--dry-run";
    for (size_t i = 0; r->job->arguments && r->job->arguments[i]; i++) {
        if (i == ARGUMENTS_MAX || expand(text[i], r->job->arguments[i], &x->device))
            return "there are too many arguments after --, or one is too long";
        argv[n++] = text[i];
    }
    argv[n] = NULL;
    if (!gw_child_start(&x->child, &r->g, false, argv))
        return "no process could be started";
    x->state = DEVICE_RUNS;
    return NULL;
}

/* Returns the device's outcome, which follows from the child's exit status and from the JSON that attest printed.
 * Writes a text for the operator into detail. problem says why the child did not run; NULL: it ran. */
static const char *read_outcome(const struct run *r, const struct one *x, int exit_status, const char *problem,
                                char detail[OUTPUT_MAX])
{
    bool good = exit_status == 0;
    bool compared = r->job->record && gw_child_json(&x->child, "verdict", detail, OUTPUT_MAX);

    if (problem)
        snprintf(detail, OUTPUT_MAX, "%s", problem);
    else if (exit_status == GW_COULD_NOT)
        snprintf(detail, OUTPUT_MAX, "the gateway's namespaces can't be entered; is it running?");
    else if (!compared)
        gw_child_last_line(&x->child, good, detail, OUTPUT_MAX);
    return good ? "match" : compared ? "differs" : "failed";
}

static cmx_err write_outcome(struct run *r, const struct one *x, const char *verdict, const char *detail,
                             struct cmx_why *e)
{
    char claims[GW_CLAIMS_MAX];

    if (r->job->record) {
        gw_child_claims(&x->child, claims);
        return gw_attestation_set(&r->g.registry, x->device.id, verdict, detail, claims, e);
    }
    return gw_event(&r->g.registry, x->state == DEVICE_SUCCEEDED ? "updated" : "update-failed", x->device.name, detail,
                    e);
}

static void record(struct run *r, const struct one *x, const char *verdict, const char *detail)
{
    struct cmx_why e = {0};
    cmx_err err = gw_registry_begin_observed(&r->g.registry, &e);

    if (!err)
        err = write_outcome(r, x, verdict, detail, &e);
    if (gw_registry_end(&r->g.registry, err, &e)) {
        r->not_recorded++;
        (void)gw_fail("the outcome could not be stored", &e); /* the exit status will be 1 (summarize) */
    }
}

static void print_outcome(const struct run *r, const struct one *x, const char *detail)
{
    const bool good = x->state == DEVICE_SUCCEEDED;
    const bool dry = r->job->common.dry_run;
    struct gw_json json;

    if (r->job->common.json) {
        gw_json_begin_stdout(&json);
        cmx_json_str(&json.j, "name", x->device.name);
        if (dry)
            cmx_json_bool(&json.j, "dry_run", true);
        if (!dry || !good) {
            cmx_json_str(&json.j, "outcome", good ? "ok" : "failed");
            cmx_json_str(&json.j, "detail", detail);
        }
        gw_json_end_stdout(&json);
    } else if (dry && good) {
        printf("would %s %s\n", r->job->command, x->device.name);
    } else {
        printf("%-7s %-24s %s\n", good ? "ok" : "failed", x->device.name, detail);
    }
    fflush(stdout);
}

static void ended(struct run *r, struct one *x, int exit_status, const char *problem)
{
    bool good = exit_status == 0;
    const char *verdict;
    char detail[OUTPUT_MAX];

    x->state = good ? DEVICE_SUCCEEDED : DEVICE_FAILED;
    r->done++;
    r->failed += !good;
    verdict = read_outcome(r, x, exit_status, problem, detail);
    if (!r->job->common.dry_run)
        record(r, x, verdict, detail);
    gw_child_close(&x->child);
    print_outcome(r, x, detail);
}

static void wait_one(struct run *r)
{
    int status = 0;
    pid_t pid = waitpid(-1, &status, 0);

    for (struct one *x = r->list; pid > 0 && x < r->list + r->n; x++)
        if (x->state == DEVICE_RUNS && x->child.pid == pid) {
            r->running--;
            ended(r, x, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), NULL);
            return;
        }
}

static void roll(struct run *r)
{
    const char *problem;

    for (struct one *x = r->list; x < r->list + r->n; x++) {
        while (!gw_pace_may_start(&r->job->pace, r->done, r->running))
            wait_one(r);
        if (gw_pace_must_stop(&r->job->pace, r->done, r->failed))
            break;
        problem = start(r, x);
        if (problem)
            ended(r, x, CLI_FAILED, problem);
        else
            r->running++;
    }
    while (r->running)
        wait_one(r);
}

static void print_summary_json(const struct run *r, size_t untouched)
{
    struct gw_json json;

    gw_json_begin_stdout(&json);
    cmx_json_u64(&json.j, "ok", r->done - r->failed);
    cmx_json_u64(&json.j, "failed", r->failed);
    cmx_json_u64(&json.j, "untouched", untouched);
    gw_json_end_stdout(&json);
}

static int summarize(const struct run *r)
{
    size_t untouched = r->n - r->done;

    if (r->job->common.dry_run)
        return r->failed || untouched ? CLI_FAILED : CLI_OK;
    if (r->job->common.json)
        print_summary_json(r, untouched);
    else
        printf("%zu ok, %zu failed, %zu untouched\n", r->done - r->failed, r->failed, untouched);
    if (untouched)
        fprintf(stderr, "cmxsafe: %s stopped: too many failures; look at the failed devices, then run it again\n",
                r->job->command);
    return r->failed || untouched || r->not_recorded ? CLI_FAILED : CLI_OK;
}

/* Identifies the operator: the user who ran sudo; else the systemd service that runs this command; else the user. */
static void find_operator(struct gw_consumer *c)
{
    static const char slice[] = "/system.slice/";
    const char *sudo = geteuid() == 0 ? getenv("SUDO_UID") : NULL;
    char cgroup[GW_CONSUMER_MAX];
    uint64_t uid = getuid();
    size_t len;

    *c = (struct gw_consumer){.kind = "user"};
    if (!(sudo && cmx_text_u64(sudo, 0, UINT32_MAX - 1, &uid) == CMX_OK) &&
        gw_cgroup_of("/proc/self/cgroup", cgroup, sizeof cgroup)) {
        len = strlen(cgroup);
        if (strncmp(cgroup, slice, strlen(slice)) == 0 && len > 8 && strcmp(cgroup + len - 8, ".service") == 0) {
            snprintf(c->kind, sizeof c->kind, "cgroup");
            snprintf(c->name, sizeof c->name, "%s", cgroup + 1);
            return;
        }
    }
    snprintf(c->name, sizeof c->name, "%llu", (unsigned long long)uid);
    snprintf(c->name, sizeof c->name, "%s", gw_nss_find(GW_NSS_USER, c->name)->first);
}

/* Makes the children send their requests from the operator's identity, so that the devices' services and the access log
 * show the operator. */
static cmx_err take_identity(struct run *r, struct cmx_why *e)
{
    struct gw_consumer *operator= & r->reach.operator;
    cmx_err err;

    if (r->g.user || r->g.simple || r->job->common.dry_run)
        return CMX_OK;
    find_operator(operator);
    err = gw_registry_begin(&r->g.registry, e);
    if (!err)
        err = gw_consumer_note(&r->g.registry, operator, e);
    err = gw_registry_end(&r->g.registry, err, e);
    if (!err)
        err = gw_party_identity(&r->g.registry, &r->g.fleet, operator, r->reach.source, e);
    if (!err)
        setenv(HTTP_SOURCE_VARIABLE, r->reach.source, 1);
    return err;
}

/* Adds to r->reach the selected devices that are connected to other gateways. */
static cmx_err find_far(struct run *r, struct cmx_why *e)
{
    cmx_err err = CMX_OK;

    r->reach.common = &r->job->common;
    r->reach.why = r->job->command;
    r->reach.port = (uint16_t)r->job->port;
    for (size_t i = 0; !err && i < r->n && !r->job->common.dry_run; i++)
        err = gw_reach_add(&r->reach, &r->g, &r->list[i].device, e);
    return err;
}

static int roll_within_reach(struct run *r)
{
    int status = gw_reach_open(&r->reach);
    int closed;

    if (status == CLI_OK) {
        roll(r);
        status = summarize(r);
    }
    closed = gw_reach_close(&r->reach);
    return status ? status : closed;
}

static int run_job(const struct gw_rollout *job)
{
    struct run *r = cmx_mem_alloc(sizeof *r);
    struct cmx_why e = {0};
    int status;

    if (!r)
        return cli_fail(job->command, "out of memory", NULL);
    r->job = job;
    status = gw_command_open(&r->g, &job->common, !job->common.dry_run);
    if (status == CLI_OK) {
        if (take_identity(r, &e) || gw_rollout_select(&r->g, &job->selection, add_device, r, &e) || find_far(r, &e))
            status = gw_fail(job->command, &e);
        else if (r->n == 0)
            status = cli_fail(job->command, "no active device was selected", "see 'cmxsafe gateway list'");
        else
            status = roll_within_reach(r);
        gw_folder_close(&r->g);
    }
    cmx_mem_free(r->list);
    cmx_mem_free(r);
    return status;
}

int gw_rollout_command(struct gw_rollout *job, const char *rest, const char *about, int argc, char **argv)
{
    char command[40];
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(job->common),
        GW_SELECTION_OPTIONS(job->selection),
        CLI_NUMBER("port", "PORT", 1, 65535, "the service's port on the device", &job->port),
        GW_PACE_OPTIONS(job->pace),
    };
    struct cli_line line = CLI_LINE(command, "[NAME ...]", about, 0, GW_COUNT(line.operand), options);
    int status;

    snprintf(command, sizeof command, "cmxsafe gateway %s", job->command);
    line.rest_form = rest;
    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (strcmp(job->command, "update") == 0 && (!line.rest || !line.rest[0]))
        return cli_usage("cmxsafe gateway update", "no image: give it after --, as in '--all -- firmware.bin'");
    for (char **a = line.rest; a && *a; a++)
        if (strcmp(*a, "--dry-run") == 0)
            return cli_usage(command, "give --dry-run before --");
    job->arguments = line.rest;
    job->selection.names = line.operand;
    job->selection.n_names = line.n_operands;
    status = gw_selection_check(&job->selection, command);
    return status ? status : run_job(job);
}
