#include "cli/gateway/rollout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"

#define ARGUMENTS_MAX 60
#define ARGUMENT_CHARS 1024
#define OUTPUT_MAX 512

typedef enum { DEVICE_WAITS, DEVICE_RUNS, DEVICE_SUCCEEDED, DEVICE_FAILED } device_state;

struct one {
    struct gw_device device;
    device_state state;
    pid_t pid;
    FILE *output; /* a temporary file: nothing to deadlock on */
    struct one *next;
};

struct run {
    const struct gw_rollout *job;
    struct gw g;
    struct one *list;
    struct one **tail;
    size_t n, running, done, failed;
    uint64_t parallel, first, stop_at;
    char program[GW_PATH_MAX];
};

static cmx_err add_device(void *arg, const struct gw_device *d)
{
    struct run *r = arg;
    struct one *x;

    if (d->revoked)
        return CMX_OK;
    x = cmx_mem_alloc(sizeof *x);
    if (!x)
        return CMX_ENOMEM;
    x->device = *d;
    *r->tail = x;
    r->tail = &x->next;
    r->n++;
    return CMX_OK;
}

static cmx_err collect(struct run *r, struct gw_error *e)
{
    struct gw_device d;
    cmx_err err = CMX_OK;

    if (r->job->all || r->job->group)
        return gw_device_each(&r->g.registry, r->job->group, add_device, r, e);
    for (size_t i = 0; !err && i < r->job->n_names; i++) {
        err = gw_device_get(&r->g.registry, r->job->names[i], &d, e);
        if (!err)
            err = add_device(r, &d);
    }
    return err;
}

/* {name} and {address} in one argument. */
static cmx_err expand(char out[ARGUMENT_CHARS], const char *text, const struct gw_device *d)
{
    struct cmx_buf b;
    const char *s;
    cmx_err err = CMX_OK;

    cmx_buf_init(&b, out, ARGUMENT_CHARS);
    while (!err && *text) {
        if (strncmp(text, "{name}", 6) == 0) {
            err = cmx_buf_put_str(&b, d->name);
            text += 6;
        } else if (strncmp(text, "{address}", 9) == 0) {
            err = cmx_buf_put_str(&b, d->address);
            text += 9;
        } else {
            err = cmx_buf_put_u8(&b, (uint8_t)*text++);
        }
    }
    return err ? err : cmx_buf_cstr(&b, &s);
}

/* The port of the service on this gateway: a small deployment may have given the device another one. */
static void service_url(const struct run *r, const struct gw_device *d, char *out, size_t cap)
{
    char host[GW_HOST_MAX];

    gw_device_host(&r->g, d, host);
    snprintf(out, cap, "http://%s:%s", host, r->job->port);
}

static bool start(struct run *r, struct one *x)
{
    static char text[ARGUMENTS_MAX][ARGUMENT_CHARS];
    char *argv[ARGUMENTS_MAX + 6] = {r->program, (char *)(uintptr_t)r->job->command, (char *)(uintptr_t) "--url"};
    char url[GW_HOST_MAX + 32];
    size_t n = 4;

    service_url(r, &x->device, url, sizeof url);
    argv[3] = url;
    for (size_t i = 0; r->job->arguments && r->job->arguments[i]; i++) {
        if (i == ARGUMENTS_MAX || expand(text[i], r->job->arguments[i], &x->device))
            return false;
        argv[n++] = text[i];
    }
    argv[n] = NULL;
    x->output = tmpfile();
    x->pid = x->output ? gw_inside_start(&r->g, fileno(x->output), argv) : -1;
    x->state = x->pid > 0 ? DEVICE_RUNS : DEVICE_FAILED;
    return x->pid > 0;
}

/* The last line that it wrote, without control characters: a device chose some of it. */
static void last_line(struct one *x, char out[OUTPUT_MAX])
{
    char line[OUTPUT_MAX];

    snprintf(out, OUTPUT_MAX, "no output");
    if (!x->output)
        return;
    rewind(x->output);
    while (fgets(line, sizeof line, x->output))
        if (line[0] != '\n')
            memcpy(out, line, sizeof line);
    out[strcspn(out, "\r\n")] = '\0';
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
            *p = '?';
    fclose(x->output);
    x->output = NULL;
}

static void record(struct run *r, const struct one *x, const char *detail)
{
    struct gw_error e = {0};
    const char *verdict = x->state == DEVICE_SUCCEEDED ? "match" : strstr(detail, "DIFFERS") ? "differs" : "failed";

    if (!r->job->record || r->job->common.dry_run)
        return;
    if (gw_registry_begin(&r->g.registry, &e) ||
        gw_attestation_set(&r->g.registry, x->device.id, verdict, detail, &e) ||
        gw_registry_commit(&r->g.registry, &e)) {
        gw_registry_rollback(&r->g.registry);
        (void)gw_fail("the verdict could not be kept", &e); /* the rollout's own result stands */
    }
}

static void ended(struct run *r, struct one *x, bool good)
{
    char detail[OUTPUT_MAX];

    x->state = good ? DEVICE_SUCCEEDED : DEVICE_FAILED;
    r->done++;
    r->failed += !good;
    last_line(x, detail);
    record(r, x, detail);
    if (r->job->common.json) {
        printf("{");
        gw_json_text(stdout, true, "name", x->device.name);
        gw_json_text(stdout, false, "outcome", good ? "ok" : "failed");
        gw_json_text(stdout, false, "detail", detail);
        printf("}\n");
    } else {
        printf("%-7s %-24s %s\n", good ? "ok" : "failed", x->device.name, detail);
    }
    fflush(stdout);
}

static void wait_one(struct run *r)
{
    int status = 0;
    pid_t pid = waitpid(-1, &status, 0);

    for (struct one *x = r->list; x && pid > 0; x = x->next)
        if (x->state == DEVICE_RUNS && x->pid == pid) {
            r->running--;
            ended(r, x, WIFEXITED(status) && WEXITSTATUS(status) == 0);
            return;
        }
}

/* Too many failures to go on? The first ones must all succeed; then the share of those done counts. */
static bool must_stop(const struct run *r)
{
    if (r->failed == 0)
        return false;
    if (r->first && r->done <= r->first)
        return true;
    return r->stop_at < 100 && r->failed * 100 >= r->stop_at * r->done;
}

static void roll(struct run *r)
{
    for (struct one *x = r->list; x; x = x->next) {
        size_t limit = r->done + r->running < r->first ? 1 : (size_t)r->parallel;
        while (r->running >= limit || (r->first && r->done < r->first && r->done + r->running >= r->first))
            wait_one(r);
        if (must_stop(r))
            break;
        if (r->job->common.dry_run) {
            if (r->job->common.json)
                printf("{\"name\":\"%s\",\"dry_run\":true}\n", x->device.name);
            else
                printf("would %s %s\n", r->job->command, x->device.name);
            continue;
        }
        if (start(r, x))
            r->running++;
        else
            ended(r, x, false);
    }
    while (r->running)
        wait_one(r);
}

static bool read_numbers(struct run *r)
{
    return cmx_text_u64(r->job->parallel, 1, GW_ROLLOUT_PARALLEL_MAX, &r->parallel) == CMX_OK &&
           cmx_text_u64(r->job->first, 0, 1000000, &r->first) == CMX_OK &&
           cmx_text_u64(r->job->stop_at, 1, 100, &r->stop_at) == CMX_OK;
}

static int summarize(const struct run *r)
{
    size_t untouched = r->n - r->done;

    if (r->job->common.dry_run)
        return CLI_OK;
    printf(r->job->common.json ? "{\"ok\":%zu,\"failed\":%zu,\"untouched\":%zu}\n"
                               : "%zu ok, %zu failed, %zu untouched\n",
           r->done - r->failed, r->failed, untouched);
    if (untouched)
        fprintf(stderr, "cmxsafe: %s stopped: too many failures; look at the failed devices, then run it again\n",
                r->job->command);
    return r->failed || untouched ? CLI_FAILED : CLI_OK;
}

static void free_list(struct run *r)
{
    while (r->list) {
        struct one *next = r->list->next;
        cmx_mem_free(r->list);
        r->list = next;
    }
}

static int run_job(const struct gw_rollout *job)
{
    struct run *r = cmx_mem_alloc(sizeof *r);
    struct gw_error e = {0};
    int status;
    ssize_t len;
    cmx_err err;

    if (!r)
        return cli_fail(job->command, "out of memory", NULL);
    r->job = job;
    r->tail = &r->list;
    len = readlink("/proc/self/exe", r->program, sizeof r->program - 1);
    if (len <= 0 || !read_numbers(r)) {
        cmx_mem_free(r);
        return cli_usage("cmxsafe gateway", "%s: --parallel 1 to %d, --first a number, --stop-at 1 to 100",
                         job->command, GW_ROLLOUT_PARALLEL_MAX);
    }
    status = gw_open(&r->g, &job->common, job->record);
    if (status == CLI_OK) {
        err = collect(r, &e);
        if (err)
            status = gw_fail(job->command, &e);
        else if (r->n == 0)
            status = cli_fail(job->command, "no device is meant", "name devices, or give --all or --group");
        else {
            roll(r);
            status = summarize(r);
        }
        gw_close(&r->g);
    }
    free_list(r);
    cmx_mem_free(r);
    return status;
}

int gw_rollout_command(struct gw_rollout *job, const char *operands, const char *about, int argc, char **argv)
{
    char port[64], parallel[64], first[128], stop_at[96];
    const struct gw_option options[] = {
        GW_DIR_OPTION(job->common),
        {"all", NULL, "all devices", &job->all},
        {"group", "NAME", "the devices of this group", &job->group},
        {"port", "PORT", port, &job->port},
        {"parallel", "N", parallel, &job->parallel},
        {"first", "N", first, &job->first},
        {"stop-at", "PERCENT", stop_at, &job->stop_at},
        GW_JSON_OPTION(job->common),
        GW_DRY_RUN_OPTION(job->common),
    };
    struct gw_command_line line = GW_COMMAND_LINE(job->command, operands, about, 0, GW_COUNT(line.operand), options);
    int status;

    snprintf(port, sizeof port, "where the service is (default %s)", job->port);
    snprintf(parallel, sizeof parallel, "how many at a time (default %s)", job->parallel);
    snprintf(first, sizeof first, "that many one by one before the others (default %s); one failure among them stops",
             job->first);
    snprintf(stop_at, sizeof stop_at, "begin no more when that share has failed (default %s; 100: never)",
             job->stop_at);
    if (gw_args(&line, argc, argv, &status))
        return status;
    if (strcmp(job->command, "update") == 0 && (!line.rest || !line.rest[0]))
        return cli_usage("cmxsafe gateway update", "no image: give it after --, as in '--all -- firmware.bin'");
    job->arguments = line.rest;
    job->names = line.operand;
    job->n_names = line.n_operands;
    return run_job(job);
}
