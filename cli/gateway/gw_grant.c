#include <string.h>
#include <strings.h>
#include <time.h>

#include "cli/gateway/gw_command.h"
#include "cmxsafe/core/text.h"
#include "gateway/registry/party.h"
#include "gateway/registry/term.h"

static const char about[] =
    "Lets CONSUMER reach a device's service, or lists all grants. Without a grant no consumer reaches "
    "a device.\n\nCONSUMER is user:NAME, group:NAME or cgroup:PATH of this machine; the name of a "
    "platform, which logs in with a key of its own; or PRINCIPAL@CA, which logs in with a certificate (see 'cmxsafe "
    "gateway platform'). Without PORT the grant "
    "is for all ports that the device has now. @GROUP:PORT is a grant for all devices that are in that group, now or "
    "later. With --for or --until the grant ends at that time, and the connections that it permits end with it. "
    "--remove "
    "removes a grant.";

/* Parses "cam-17:81", "cam-17", "cam-17.cmx:81", "@cameras:81" or "@cameras" */
static cmx_err parse_target(const struct gw *g, const char *text, char device[GW_NAME_MAX + 1], uint16_t *port,
                            struct cmx_why *e)
{
    size_t len = strcspn(text, ":");
    size_t domain = strlen(g->domain);
    uint64_t number = 0;

    if (len > GW_NAME_MAX || (text[len] && cmx_text_u64(text + len + 1, 1, 65535, &number)))
        return cmx_why_fail(e, CMX_EINVAL, "'%.80s' is not a device's port; give DEVICE:PORT", text);
    memcpy(device, text, len);
    device[len] = '\0';
    if (len > domain + 1 && device[len - domain - 1] == '.' && strcasecmp(device + len - domain, g->domain) == 0)
        device[len - domain - 1] = '\0'; /* the text is a host name: remove the fleet's domain */
    *port = (uint16_t)number;
    return CMX_OK;
}

static void grant_json(struct cmx_json *j, const struct gw_grant_record *p, const char *who, const char *identity)
{
    cmx_json_object(j, NULL);
    cmx_json_str(j, "consumer", who);
    cmx_json_str(j, "identity", identity);
    cmx_json_str(j, "device", p->target);
    cmx_json_u64(j, "port", p->port);
    cmx_json_i64(j, "ends", p->ends);
    cmx_json_i64(j, "left", p->left);
    cmx_json_bool(j, "break_glass", p->break_glass);
    cmx_json_str(j, "why", p->why);
    cmx_json_end(j);
}

static cmx_err print_grant(void *arg, const struct gw_grant_record *p)
{
    struct gw_read *x = arg;
    char identity[GW_ADDRESS_MAX];
    char who[sizeof p->consumer.kind + sizeof p->consumer.name + 2];
    char target[sizeof p->target + 8];
    char left[GW_LENGTH_TEXT_MAX] = "ended";

    snprintf(who, sizeof who, "%s:%s", p->consumer.kind, p->consumer.name);
    gw_command_identity(&x->g, &p->consumer, identity);
    if (x->printing) {
        grant_json(&x->json.j, p, who, identity);
        return CMX_OK;
    }
    if (p->port)
        snprintf(target, sizeof target, "%s:%u", p->target, p->port);
    else
        snprintf(target, sizeof target, "%s", p->target);
    if (p->left)
        gw_term_length_text(p->left, left);
    printf("%-32s %s", who, target);
    if (p->ends)
        printf("%*s  %s%s%s", target[0] && strlen(target) < 24 ? (int)(24 - strlen(target)) : 0, "", left,
               p->left ? " left" : "", p->break_glass ? ", BREAK-GLASS" : "");
    printf("%s%s%s%s\n", identity[0] ? "  " : "", identity, p->why[0] ? "  # " : "", p->why);
    return CMX_OK;
}

static int list(const struct gw_common *c)
{
    struct gw_read x = {.what = "listing grants failed", .common = *c};

    if (gw_read_begin(&x))
        return x.status;
    (void)gw_read_array(&x);
    return gw_read_finish(&x, gw_grant_record_each(&x.g.registry, print_grant, &x, &x.e));
}

/* Prints a note if the machine does not know the name. The name may be a typing error. But the grant is valid, because
 * the account or the unit's cgroup may be created later. */
static void note_unknown_name(const struct gw_consumer *c)
{
    if (gw_command_machine_has(c))
        return;
    fprintf(stderr,
            "cmxsafe: note: this machine has no %s '%s'; check the name, and run 'cmxsafe gateway net rules' once it "
            "exists\n",
            c->kind, c->name);
}

struct grant_options {
    const char *length, *until, *why;
    bool remove, break_glass;
};

static cmx_err read_terms(const struct grant_options *o, struct gw_grant_terms *t, struct cmx_why *e)
{
    cmx_err err = CMX_OK;

    *t = (struct gw_grant_terms){.why = o->why, .break_glass = o->break_glass};
    if (o->length)
        err = gw_term_parse_length(o->length, &t->length_s, e);
    if (!err && o->until)
        err = gw_term_parse_time(o->until, &t->until, e);
    return err;
}

struct grant_job {
    struct gw_change *x;
    const struct gw_consumer *consumer;
    const char *target;        /* the grant's target: a device or "@GROUP" */
    char group[GW_NAME_MAX];   /* the group of that device; "": none */
    uint16_t port;             /* 0: all */
    int64_t ends;              /* Unix time at which the grant ends; 0: it is removed, or has no end */
    char found[GW_TARGET_MAX]; /* the target of another grant that covers the same service for longer; "": none */
};

static cmx_err remove_spelling(void *arg, const struct gw_consumer *c)
{
    struct grant_job *job = arg;
    gw_outcome outcome = GW_UNCHANGED;
    cmx_err err = gw_grant_remove(&job->x->g.registry, c, job->target, job->port, &outcome, &job->x->e);

    if (outcome != GW_UNCHANGED)
        job->x->outcome = outcome;
    return err;
}

/* The registry can have a user's grant under the user's name and under the user's number. */
static cmx_err remove_other_spellings(struct grant_job *job)
{
    return gw_party_each_spelling(&job->x->g.registry, job->consumer, remove_spelling, job, &job->x->e);
}

static cmx_err remove_grant(struct grant_job *job)
{
    cmx_err err = remove_spelling(job, job->consumer);

    return err ? err : remove_other_spellings(job);
}

/* Also removes the same grant under the consumer's other spellings, because it could last longer than the new one. A
 * grant to all ports of a group removes nothing, because gw_grant_remove would also remove grants to single ports. */
static cmx_err set_grant(struct grant_job *job, const struct gw_grant_terms *t)
{
    struct gw_change *x = job->x;
    cmx_err err = gw_grant_set(&x->g.registry, job->consumer, job->target, job->port, t, &x->outcome, &x->e);

    return err || (job->target[0] == '@' && !job->port) ? err : remove_other_spellings(job);
}

/* Writes " for 2h 0m", " until 2026-11-28 18:30:00Z", or "" for a grant without an end. */
static void end_text(const struct gw_grant_terms *t, char *out, size_t cap)
{
    char length[GW_LENGTH_TEXT_MAX];
    char until[GW_TIME_TEXT_MAX];

    out[0] = '\0';
    if (t->length_s) {
        gw_term_length_text(t->length_s, length);
        snprintf(out, cap, " for %s", length);
    } else if (t->until) {
        snprintf(out, cap, " until %s", gw_command_time(t->until, until));
    }
}

static bool same_consumer(const struct gw_consumer *a, const struct gw_consumer *b)
{
    long id = gw_party_local_id(a);

    return strcmp(a->kind, b->kind) == 0 && (strcmp(a->name, b->name) == 0 || (id >= 0 && id == gw_party_local_id(b)));
}

static cmx_err match_other(void *arg, const struct gw_grant_record *p)
{
    struct grant_job *job = arg;
    struct gw_device d;
    bool group = job->target[0] == '@';
    bool own = p->port == job->port && strcmp(p->consumer.name, job->consumer->name) == 0;
    bool covers = group ? strcmp(p->target, job->target) == 0 && !own
                        : p->target[0] == '@' && strcmp(p->target + 1, job->group) == 0;

    if (group && p->target[0] != '@' && gw_device_get(&job->x->g.registry, p->target, &d, NULL) == CMX_OK)
        covers = strcmp(d.group, job->target + 1) == 0;
    if (covers && same_consumer(job->consumer, &p->consumer) && (!job->port || !p->port || job->port == p->port) &&
        (p->ends == 0 || p->ends > job->ends))
        snprintf(job->found, sizeof job->found, p->port ? "%s:%u" : "%s", p->target, p->port);
    return CMX_OK;
}

/* Finds a grant that still lets the consumer reach the same service after the job's grant has ended or is removed. For
 * a grant to a device, this is a grant to the device's group. For a grant to a group, it is a grant to one of the
 * group's devices, or another grant to the group: for other ports, or under another spelling of the consumer. */
static cmx_err find_other(struct grant_job *job)
{
    struct gw_device d = {0};
    cmx_err err = job->target[0] == '@' ? CMX_OK : gw_device_get(&job->x->g.registry, job->target, &d, &job->x->e);

    snprintf(job->group, sizeof job->group, "%s", d.group);
    return err ? err : gw_grant_record_each(&job->x->g.registry, match_other, job, &job->x->e);
}

static int change(struct gw_change *x, const char *who, const char *target, const struct grant_options *o)
{
    struct cmx_why *e = &x->e;
    struct gw_consumer consumer = {0};
    char device[GW_NAME_MAX + 1];
    struct gw_grant_terms terms = {0};
    char end[GW_TIME_TEXT_MAX + 8] = "";
    bool remove = o->remove;
    struct grant_job job = {.x = x, .consumer = &consumer, .target = device};
    size_t devices = 1;
    bool failed;
    int status = gw_change_begin(x);

    if (status)
        return status;
    failed = gw_consumer_parse(&consumer, who, e) || parse_target(&x->g, target, device, &job.port, e) ||
             read_terms(o, &terms, e) || (remove ? remove_grant(&job) : set_grant(&job, &terms));
    if (!failed && x->g.simple && strcmp(consumer.kind, "platform") != 0)
        failed = cmx_why_fail(e, CMX_ENOTSUP,
                              "in a small deployment, ports are on the loopback, where every local user can reach "
                              "them; grant the port to a platform, or set up a gateway with addresses");
    if (!failed && !remove)
        failed = gw_command_check_identities(&x->g, &consumer, e) ||
                 (device[0] == '@' && gw_command_count_group(&x->g, device + 1, &devices, e));
    job.ends = terms.length_s ? (int64_t)time(NULL) + terms.length_s : terms.until;
    if (!failed && (remove || job.ends))
        failed = find_other(&job);
    end_text(&terms, end, sizeof end);
    status = gw_change_report(x, failed, "%s:%s %s %s%s (%s)", consumer.kind, consumer.name,
                              remove ? "has no grant to" : "may reach", target, end, gw_outcome_text(x->outcome));
    if (!status && job.found[0])
        fprintf(stderr, "cmxsafe: note: %s:%s still has a grant to %s, which covers the same service\n", consumer.kind,
                consumer.name, job.found);
    if (!status && !remove)
        note_unknown_name(&consumer);
    if (!status && devices == 0)
        gw_command_note_empty(device + 1);
    if (!status && o->break_glass && !remove)
        fprintf(stderr, "cmxsafe: note: this grant also reaches devices that are quarantined\n");
    return status;
}

int gw_cmd_grant(int argc, char **argv)
{
    struct gw_change x = {.what = "the grant failed"};
    struct grant_options o = {0};
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(x.common),
        CLI_TEXT("for", "LENGTH", "end the grant after this time: 30m, 8h, 2d", &o.length),
        CLI_TEXT("until", "TIME", "end the grant at this time (UTC): '2026-11-28 18:30'", &o.until),
        CLI_TEXT("why", "REASON", "why the grant is given, for the audit trail", &o.why),
        CLI_FLAG("break-glass", "also reach the device while it is quarantined; needs --for or --until, and --why",
                 &o.break_glass),
        CLI_FLAG("remove", "remove the grant", &o.remove),
    };
    struct cli_line line =
        CLI_LINE("cmxsafe gateway grant", "[CONSUMER DEVICE[:PORT]|@GROUP[:PORT]]", about, 0, 2, options);

    if (cli_parse(&line, argc, argv, &x.status))
        return x.status;
    if (line.n_operands == 0 && (o.length || o.until || o.why || o.break_glass || o.remove || x.common.dry_run))
        return cli_usage(line.command,
                         "CONSUMER and DEVICE are missing; the list of grants takes only --dir and --json");
    if (line.n_operands == 0)
        return list(&x.common);
    if (line.n_operands == 1)
        return cli_usage("cmxsafe gateway grant", "DEVICE:PORT is missing");
    if (o.length && o.until)
        return cli_usage("cmxsafe gateway grant", "give --for or --until, not both");
    if (o.remove && (o.length || o.until || o.why || o.break_glass))
        return cli_usage("cmxsafe gateway grant", "--remove does not take --for, --until, --why or --break-glass");
    return change(&x, line.operand[0], line.operand[1], &o);
}
