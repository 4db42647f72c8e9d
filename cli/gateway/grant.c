#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "cli/gateway/gw.h"
#include "cmxsafe/core/text.h"

static const char about[] =
    "Lets CONSUMER reach a device's service; without DEVICE:PORT it lists all grants. Default: nobody.\n"
    "CONSUMER: user:NAME, group:NAME or cgroup:PATH of this machine, or a platform that logs in with a key of its own "
    "(see\n"
    "'cmxsafe gateway platform'). PORT may be left out: all that the device has now. --remove takes a grant back.";

/* "cam-17:81" or "cam-17" */
static cmx_err parse_target(const char *text, char device[GW_NAME_MAX], uint16_t *port, struct gw_error *e)
{
    size_t len = strcspn(text, ":");
    uint64_t number = 0;

    if (len >= GW_NAME_MAX || (text[len] && cmx_text_u64(text + len + 1, 1, 65535, &number)))
        return gw_error_set(e, CMX_EINVAL, "give DEVICE:PORT", "'%.80s' is not a device's port", text);
    memcpy(device, text, len);
    device[len] = '\0';
    *port = (uint16_t)number;
    return CMX_OK;
}

struct grants_job {
    bool json;
    size_t n;
};

static cmx_err print_grant(void *arg, const struct gw_permit *p)
{
    struct grants_job *job = arg;
    char who[sizeof p->consumer.kind + sizeof p->consumer.name + 2];

    snprintf(who, sizeof who, "%s:%s", p->consumer.kind, p->consumer.name);
    if (job->json) {
        printf("%s{", job->n++ ? "," : "");
        gw_json_text(stdout, true, "consumer", who);
        gw_json_text(stdout, false, "device", p->device);
        gw_json_number(stdout, false, "port", p->port);
        putchar('}');
    } else {
        printf("%-32s %s:%u\n", who, p->device, p->port);
    }
    return CMX_OK;
}

static int list(const struct gw_common *c)
{
    struct gw_error e = {0};
    struct grants_job job = {c->json, 0};
    struct gw g;
    cmx_err err;

    if (gw_open(&g, c, false))
        return CLI_FAILED;
    fputs(c->json ? "[" : "", stdout);
    err = gw_permit_each(&g.registry, NULL, print_grant, &job, &e);
    fputs(c->json ? "]\n" : "", stdout);
    gw_close(&g);
    return err ? gw_fail("listing grants failed", &e) : CLI_OK;
}

/* A name may come later; a mistake in it must not go unseen. */
static void note_stranger(const struct gw_consumer *c)
{
    uint64_t number;
    bool user = strcmp(c->kind, "user") == 0;

    if ((!user && strcmp(c->kind, "group") != 0) || cmx_text_u64(c->name, 0, 0xfffffffe, &number) == CMX_OK)
        return;
    if (user ? getpwnam(c->name) != NULL : getgrnam(c->name) != NULL)
        return;
    fprintf(stderr, "cmxsafe: note: this machine has no %s '%s'; once it has, run 'cmxsafe gateway net rules'\n",
            c->kind, c->name);
}

static int change(const struct gw_common *c, const char *who, const char *target, bool remove)
{
    struct gw_error e = {0};
    gw_outcome outcome = GW_UNCHANGED;
    struct gw_consumer consumer;
    char device[GW_NAME_MAX];
    uint16_t port = 0;
    struct gw g;
    cmx_err err;
    int status = gw_begin(&g, c, "the grant failed", &e);

    if (status)
        return status;
    err = gw_consumer_parse(&consumer, who, &e);
    if (!err)
        err = parse_target(target, device, &port, &e);
    if (!err)
        err = remove ? gw_permit_remove(&g.registry, &consumer, device, port, &outcome, &e)
                     : gw_permit_set(&g.registry, &consumer, device, port, &outcome, &e);
    if (!err && g.simple && strcmp(consumer.kind, "platform") != 0)
        err = gw_error_set(&e, CMX_ENOTSUP, "grant it to a platform, or set up a gateway with addresses",
                           "in a small deployment ports are on the loopback, which every local user reaches");
    status = gw_finish(&g, c, "the grant failed", err, &e);
    if (!status && !remove)
        note_stranger(&consumer);
    if (!status && c->json)
        gw_json_outcome(c, outcome);
    else if (!status)
        printf("%s:%s %s %s (%s)%s\n", consumer.kind, consumer.name, remove ? "no longer reaches" : "may reach", target,
               gw_outcome_text(outcome), gw_dry_text(c));
    return status;
}

int gw_cmd_grant(int argc, char **argv)
{
    struct gw_common c = {0};
    bool remove = false;
    const struct gw_option options[] = {
        GW_DIR_OPTION(c),
        {"remove", NULL, "take the grant back", &remove},
        GW_JSON_OPTION(c),
        GW_DRY_RUN_OPTION(c),
    };
    struct gw_command_line line = GW_COMMAND_LINE("grant", "[CONSUMER DEVICE[:PORT]]", about, 0, 2, options);
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (line.n_operands == 0)
        return list(&c);
    if (line.n_operands == 1)
        return cli_usage("cmxsafe gateway grant", "DEVICE:PORT is missing");
    return change(&c, line.operand[0], line.operand[1], remove);
}
