/* `cmxsafe gateway access`: prints the access log that the running gateway writes. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "cli/common/json_get.h"
#include "cli/gateway/gw_command.h"
#include "cli/gateway/gw_fleet_follow.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "gateway/registry/list.h"
#include "gateway/registry/node.h"
#include "gateway/registry/party.h"
#include "gateway/registry/term.h"
#include "gateway/server/gw_access_read.h"

#define FOLLOW_MS 300
#define HISTORY_MS 20 /* polling interval while the other gateways send their logs */

static const char about[] =
    "Prints connections to devices' services (source, target, begin, end, bytes) and refused connections, from all "
    "gateways of\nthe fleet; with --here only from this one. "
    "A connection is printed when it closes; with --follow also when it opens. --since takes a time such as 2026-11-22 "
    "or '2026-11-22 13:05:29', or a length of time before now: 30m, 12h, 7d. The log has addresses, not names: find "
    "the connections of a renamed device by its new name, and those of a deleted one by its address.";

#define OTHERS_MAX 64
#define OTHERS_MS 10000

struct names {
    struct gw_party *parties; /* the registered parties, sorted by address */
    size_t n, cap;
    /* The owners of other addresses, such as local users and parties that were registered after this command began. A
     * look-up is slow, so there are at most OTHERS_MAX look-ups in OTHERS_MS. kind "": the address has no owner. */
    struct gw_party others[OTHERS_MAX];
    size_t n_others;
    uint64_t others_ms;
    bool warned; /* the warning about too many look-ups was printed */
};

struct party_filter {
    const char *name; /* as the operator typed it; NULL: all parties */
    char address[GW_ADDRESS_MAX];
};

struct access_job {
    struct gw g;
    struct names names;
    struct party_filter device, consumer;
    int64_t since_ms;
    bool follow;
    bool here;
    bool json;
};

/* A line of a gateway's log. The lines of all gateways are printed in the order of their times. */
struct access_line {
    int64_t at_ms;
    size_t number;    /* number of lines added earlier; orders lines with the same time */
    const char *node; /* the gateway's name */
    char *text;       /* freed with the list */
};

struct access_lines {
    struct access_line *list;
    size_t n, cap;
    bool full; /* memory ran out */
};

static cmx_err add_party(void *arg, const struct gw_party *p)
{
    struct names *names = arg;

    return gw_list_add(&names->parties, &names->n, &names->cap, p, sizeof *p);
}

/* Compares addresses. Of two parties with the same address, the active one comes before the revoked one. */
static int compare_parties(const void *a, const void *b)
{
    const struct gw_party *x = a;
    const struct gw_party *y = b;
    int order = strcmp(x->address, y->address);

    return order ? order : (int)x->revoked - (int)y->revoked;
}

static int compare_address(const void *key, const void *element)
{
    const struct gw_party *p = element;
    return strcmp(key, p->address);
}

/* Returns the owner of an address that is not in the sorted list; NULL: there were too many look-ups. */
static const struct gw_party *find_other(struct access_job *job, const char *address)
{
    struct names *names = &job->names;
    struct gw_party *p;

    if (cmx_port_now_ms() - names->others_ms >= OTHERS_MS) {
        names->n_others = 0;
        names->others_ms = cmx_port_now_ms();
    }
    for (size_t i = 0; i < names->n_others; i++)
        if (strcmp(names->others[i].address, address) == 0)
            return &names->others[i];
    if (names->n_others == OTHERS_MAX) {
        if (!names->warned)
            fprintf(stderr,
                    "cmxsafe: there are too many unknown addresses: some are shown without a name, and --device "
                    "and --consumer do not find them by name\n");
        names->warned = true;
        return NULL;
    }
    p = &names->others[names->n_others++];
    if (gw_party_find(&job->g.registry, &job->g.fleet, address, p, NULL)) {
        *p = (struct gw_party){0};
        snprintf(p->address, sizeof p->address, "%s", address);
    }
    return p;
}

static void name_of(struct access_job *job, const char *address, char *out, size_t cap)
{
    const struct gw_party *p =
        job->names.n ? bsearch(address, job->names.parties, job->names.n, sizeof *p, compare_address) : NULL;

    if (!p)
        p = find_other(job, address);
    if (!p || !p->kind[0])
        snprintf(out, cap, "%s", address);
    else if (strcmp(p->kind, "device") == 0)
        snprintf(out, cap, "%s", p->name);
    else
        snprintf(out, cap, "%s:%s", p->kind, p->name);
}

/* True if f has the party's address or printed name; f may leave out the kind in front of a name, such as "user:". */
static bool names_party(const struct party_filter *f, const char *name, const char *address)
{
    const char *colon = strchr(name, ':');
    const char *wanted = f->name;

    if (!wanted)
        return true;

    /* a device's name has no colon, and is compared without regard to case */
    return (colon ? strcmp(wanted, name) : strcasecmp(wanted, name)) == 0 || strcmp(f->address, address) == 0 ||
           (colon && strcmp(wanted, colon + 1) == 0);
}

#define EVENT_MAX 16
#define PARTY_TEXT_MAX (GW_CONSUMER_MAX + 16) /* "KIND:NAME" */

struct record {
    const char *node; /* the gateway's name; NULL: not in the output */
    char event[EVENT_MAX];
    int64_t at_ms, since_ms, bytes_in, bytes_out, count, port;
    char consumer[GW_ADDRESS_MAX], target[GW_ADDRESS_MAX];
    char consumer_name[PARTY_TEXT_MAX], target_name[PARTY_TEXT_MAX];
};

static bool read_record(struct access_job *job, const char *line, struct record *r)
{
    if (!json_text(line, "event", r->event, sizeof r->event))
        return false;
    r->at_ms = json_number(line, "at");
    r->since_ms = json_number(line, "since");
    r->bytes_in = json_number(line, "bytes_in");
    r->bytes_out = json_number(line, "bytes_out");
    r->count = json_number(line, "count");
    r->port = json_number(line, "port");
    json_text(line, "consumer", r->consumer, sizeof r->consumer);
    json_text(line, "target", r->target, sizeof r->target);
    if (!r->consumer[0])
        return true; /* the line is not about a connection */
    name_of(job, r->consumer, r->consumer_name, sizeof r->consumer_name);
    name_of(job, r->target, r->target_name, sizeof r->target_name);
    return true;
}

/* True for a line that is not about one connection: a count of refusals ("denied-more") or connections ("lost") that
 * were not logged. */
static bool is_note(const struct record *r)
{
    return !r->consumer[0];
}

static void print_json(const struct record *r)
{
    bool counts = is_note(r) || strcmp(r->event, "denied") == 0;
    bool has_bytes = !counts && strcmp(r->event, "cut") != 0;
    struct gw_json json;

    gw_json_begin_stdout(&json);
    cmx_json_str(&json.j, "event", r->event);
    cmx_json_i64(&json.j, "at_ms", r->at_ms);
    if (r->node)
        cmx_json_str(&json.j, "gateway", r->node);
    if (!counts)
        cmx_json_i64(&json.j, "since_ms", r->since_ms);
    if (!is_note(r)) {
        cmx_json_str(&json.j, "consumer", r->consumer_name);
        cmx_json_str(&json.j, "consumer_identity", r->consumer);
        cmx_json_str(&json.j, "device", r->target_name);
        cmx_json_str(&json.j, "device_identity", r->target);
        cmx_json_i64(&json.j, "port", r->port);
    }
    if (counts)
        cmx_json_i64(&json.j, "count", r->count);
    if (has_bytes) {
        cmx_json_i64(&json.j, "bytes_in", r->bytes_in);
        cmx_json_i64(&json.j, "bytes_out", r->bytes_out);
    }
    gw_json_end_stdout(&json);
}

static void print_text(const struct record *r)
{
    char from[GW_TIME_TEXT_MAX];
    char to[GW_TIME_TEXT_MAX];

    gw_command_time(r->at_ms / 1000, to);
    if (strcmp(r->event, "denied-more") == 0)
        printf("%s  denied  %lld more packets, which were not logged one by one\n", to, (long long)r->count);
    else if (is_note(r))
        printf("%s  %s  %lld connections that were not logged\n", to, r->event, (long long)r->count);
    else if (strcmp(r->event, "denied") == 0)
        printf("%s  denied  %s -> %s:%lld (%lld packets)\n", to, r->consumer_name, r->target_name, (long long)r->port,
               (long long)r->count);
    else if (strcmp(r->event, "open") == 0)
        printf("%s  open    %s -> %s:%lld\n", to, r->consumer_name, r->target_name, (long long)r->port);
    else if (strcmp(r->event, "cut") == 0)
        printf("%s  cut     %s -> %s:%lld  since %s; its end was not logged\n", to, r->consumer_name, r->target_name,
               (long long)r->port, gw_command_time(r->since_ms / 1000, from));
    else
        printf("%s  closed  %s -> %s:%lld  since %s, %lld bytes in, %lld out\n", to, r->consumer_name, r->target_name,
               (long long)r->port, gw_command_time(r->since_ms / 1000, from), (long long)r->bytes_in,
               (long long)r->bytes_out);
}

static void take_line(struct access_job *job, const char *node, const char *line)
{
    struct record r = {.node = node};

    if (!read_record(job, line, &r) || r.at_ms < job->since_ms)
        return;
    if (strcmp(r.event, "start") == 0 || (strcmp(r.event, "open") == 0 && !job->follow))
        return; /* "start" reports the start of the server, for programs that read the log itself */
    if (!names_party(&job->device, r.target_name, r.target) ||
        !names_party(&job->consumer, r.consumer_name, r.consumer))
        return;
    if (job->json)
        print_json(&r);
    else
        print_text(&r);
}

/* ---- the records of this gateway alone ---- */

static void print_here(struct access_job *job)
{
    char line[GW_ACCESS_LINE_MAX];
    struct gw_access_reader r;

    gw_access_read_begin(&r, &job->g);
    for (;;) {
        while (gw_access_read_line(&r, line))
            take_line(job, NULL, line);
        if (!job->follow || !cli_flush())
            break;
        usleep(FOLLOW_MS * 1000);
    }
    gw_access_read_end(&r);
}

/* ---- the records of all gateways ---- */

static void keep_line(void *arg, const struct gw_node *node, char *line)
{
    struct access_lines *l = arg;
    struct access_line x = {json_number(line, "at"), l->n, node->name, l->full ? NULL : cmx_mem_strdup(line)};

    if (x.text && !gw_list_add(&l->list, &l->n, &l->cap, &x, sizeof x))
        return;
    cmx_mem_free(x.text);
    l->full = true;
}

static int compare_lines(const void *a, const void *b)
{
    const struct access_line *x = a;
    const struct access_line *y = b;

    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

/* Prints the lines in the order of their times, unless memory ran out. Frees the list. */
static cmx_err print_lines(struct access_job *job, struct access_lines *l, struct cmx_why *e)
{
    if (!l->full && l->n)
        qsort(l->list, l->n, sizeof l->list[0], compare_lines);
    for (size_t i = 0; !l->full && i < l->n; i++)
        take_line(job, l->list[i].node, l->list[i].text);
    for (size_t i = 0; i < l->n; i++)
        cmx_mem_free(l->list[i].text);
    cmx_mem_free(l->list);
    return l->full ? cmx_why_fail(e, CMX_ENOMEM, "out of memory") : CMX_OK;
}

static void print_line(void *arg, const struct gw_node *node, char *line)
{
    take_line(arg, node->name, line);
}

/* Prints the records that the logs have now, in the order of their times. With --follow, then prints new records as
 * they arrive, and returns only if memory runs out or the output cannot be written. */
static cmx_err print_fleet(struct access_job *job, const struct gw_nodes *nodes, struct cmx_why *e)
{
    static struct gw_fleet_follow others;
    struct access_lines lines = {0};
    char line[GW_ACCESS_LINE_MAX];
    struct gw_access_reader r;
    cmx_err err;

    gw_fleet_follow_begin(&others, nodes, job->since_ms);
    gw_access_read_begin(&r, &job->g);
    while (!gw_fleet_follow_caught_up(&others) && !lines.full) {
        gw_fleet_follow_step(&others, keep_line, &lines);
        usleep(HISTORY_MS * 1000);
    }
    while (!lines.full && gw_access_read_line(&r, line))
        keep_line(&lines, nodes->own, line);
    err = print_lines(job, &lines, e);
    while (!err && job->follow && cli_flush()) {
        while (gw_access_read_line(&r, line))
            take_line(job, nodes->own->name, line);
        gw_fleet_follow_step(&others, print_line, job);
        usleep(FOLLOW_MS * 1000);
    }
    gw_fleet_follow_end(&others);
    gw_access_read_end(&r);
    return err;
}

/* Parses a length of time before now, or a time in UTC. */
static bool parse_since(const char *text, int64_t *ms)
{
    struct cmx_why ignored;
    int64_t length = 0, at = 0;

    if (gw_term_parse_length(text, &length, &ignored) && gw_term_parse_time(text, &at, &ignored))
        return false;
    *ms = (length ? (int64_t)time(NULL) - length : at) * 1000;
    return true;
}

static cmx_err print_access(struct access_job *job, struct cmx_why *e)
{
    static struct gw_nodes nodes;
    cmx_err err = CMX_OK;

    if (!job->here && geteuid() == 0)
        err = gw_nodes_read(&job->g.registry, &job->g.fleet, &nodes, e);
    if (!err && !nodes.own)
        print_here(job);
    else if (!err)
        err = print_fleet(job, &nodes, e);
    return err;
}

/* Finds the address of the filter's party. The log has only addresses, so a name that a device had before it was
 * renamed or deleted finds nothing. Such a name is refused like a typing error. Any address is accepted. */
static cmx_err find_filter(struct access_job *job, struct party_filter *f, struct cmx_why *e)
{
    struct gw_party p = {0};
    uint8_t raw[16];
    cmx_err err;

    if (!f->name)
        return CMX_OK;
    if (inet_pton(AF_INET6, f->name, raw) == 1)
        return inet_ntop(AF_INET6, raw, f->address, sizeof f->address) ? CMX_OK : CMX_EINTERNAL;
    err = gw_command_find_party(&job->g, f->name, &p, e);
    if (err == CMX_ENOENT)
        cmx_why_set(e,
                    "%s; for a device that was renamed or deleted, 'cmxsafe gateway log %.80s' shows its new name "
                    "or its address",
                    e->text, f->name);
    snprintf(f->address, sizeof f->address, "%s", p.address);
    return err;
}

static int run(struct access_job *job, const struct gw_common *c)
{
    struct cmx_why e = {0};
    cmx_err err;

    if (gw_command_open(&job->g, c, false))
        return CLI_FAILED;
    if (job->g.simple || job->g.user) {
        gw_folder_close(&job->g);
        return cli_fail("access failed", "only a system gateway has identities, and therefore an access log", NULL);
    }
    err = find_filter(job, &job->device, &e);
    if (!err)
        err = find_filter(job, &job->consumer, &e);
    if (!err)
        err = gw_party_each(&job->g.registry, &job->g.fleet, add_party, &job->names, &e);
    if (!err && job->names.n)
        qsort(job->names.parties, job->names.n, sizeof job->names.parties[0], compare_parties);
    if (!err)
        err = print_access(job, &e);
    cmx_mem_free(job->names.parties);
    gw_folder_close(&job->g);
    return err ? gw_fail("access failed", &e) : CLI_OK;
}

int gw_cmd_access(int argc, char **argv)
{
    struct gw_common c = {0};
    struct access_job job = {0};
    const char *since = NULL;
    const struct cli_option options[] = {
        GW_DIR_OPTION(c),
        CLI_TEXT("device", "NAME", "only connections to the device with this name or address", &job.device.name),
        CLI_TEXT("consumer", "NAME", "only connections from the device, platform or user with this name or address",
                 &job.consumer.name),
        CLI_TEXT("since", "TIME", "only records since this time", &since),
        CLI_FLAG("here", "only the records of this gateway", &job.here),
        CLI_FLAG("follow", "print new records as they are written, until Ctrl-C", &job.follow),
        GW_JSON_OPTION(c),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway access", "", about, 0, 0, options);
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (since && !parse_since(since, &job.since_ms))
        return cli_usage("cmxsafe gateway access",
                         "--since takes a time, or a duration such as 30m, 12h or 7d, not '%s'", since);
    job.json = c.json;
    return run(&job, &c);
}
