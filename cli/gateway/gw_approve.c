/* `cmxsafe gateway pending` and `approve`: list keys that tried to log in and are not enrolled, and enrol one of
 * them. */
#include <stdlib.h>
#include <string.h>

#include "cli/common/json_get.h"
#include "cli/gateway/gw_enroll.h"
#include "cli/gateway/gw_status.h"
#include "gateway/server/gw_control.h"

static const char about_pending[] =
    "Lists keys that tried to log in and are not enrolled, the latest first: the last 128, and at most 4 from one\n"
    "source. Compare the fingerprint with the one in the device's log before you approve it.";
static const char about_approve[] = "Enrols a device whose key tried to log in (see 'cmxsafe gateway pending'). "
                                    "Compare FINGERPRINT with the one in the\n"
                                    "device's log: any client can offer any public key.";

static int print_pending(struct gw *g, const char *answer, const struct gw_fleet_answers *others, bool json)
{
    char fingerprint[GW_FINGERPRINT_MAX];
    char from[GW_SOURCE_TEXT_MAX];
    char first[GW_TIME_TEXT_MAX];
    char last[GW_TIME_TEXT_MAX];

    (void)g;
    (void)others;
    (void)json;
    printf("%-51s %-24s %-21s %-21s %s\n", "FINGERPRINT", "FROM", "FIRST", "LAST", "TRIES");
    for (const char *object = json_first(answer, "pending"); object; object = json_next(object)) {
        json_text(object, "fingerprint", fingerprint, sizeof fingerprint);
        json_text(object, "from", from, sizeof from);
        printf("%-51s %-24s %-21s %-21s %lld\n", fingerprint, from,
               gw_command_time(json_number(object, "first"), first), gw_command_time(json_number(object, "last"), last),
               (long long)json_number(object, "tries"));
    }
    return CLI_OK;
}

static const struct gw_status_view pending_view = {.request = "pending", .print = print_pending};

int gw_cmd_pending(int argc, char **argv)
{
    struct gw_common c = {0};
    const struct cli_option options[] = {GW_DIR_OPTION(c), GW_JSON_OPTION(c)};
    struct cli_line line = CLI_LINE("cmxsafe gateway pending", "", about_pending, 0, 0, options);
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    return gw_status_show(&c, true, &pending_view);
}

/* Finds the key with this fingerprint in the gateway's answer. */
static cmx_err find_key(const char *answer, const char *wanted, struct gw_key *k, struct cmx_why *e)
{
    char line[GW_KEY_TYPE_MAX + GW_KEY_BLOB_MAX];
    char found[GW_FINGERPRINT_MAX];
    size_t n = 0;

    for (const char *object = json_first(answer, "pending"); object; object = json_next(object)) {
        json_text(object, "fingerprint", found, sizeof found);
        if (strcmp(found, wanted) != 0)
            continue;
        json_text(object, "key", line, sizeof line);
        n++;
    }
    if (n == 0)
        return cmx_why_fail(e, CMX_ENOENT, "no key %.60s tried to log in lately; see 'cmxsafe gateway pending'",
                            wanted);
    if (gw_key_parse(k, line, e))
        return CMX_EFORMAT;
    /* The list comes from the gateway's unprivileged account, which an attacker may have taken over. So compute the
     * fingerprint from the key: it must be the one that the operator compared. */
    return strcmp(k->fingerprint, wanted) == 0
               ? CMX_OK
               : cmx_why_fail(e, CMX_EFORMAT, "the gateway reported another key for %.60s", wanted);
}

static int approve(struct gw_change *x, const char *fingerprint, const struct gw_enroll_fields *fields)
{
    struct cmx_why ignored = {0};
    char request[GW_FINGERPRINT_MAX + 16];
    char *answer = NULL;
    struct gw_device d = {0};
    struct gw_key k = {0};
    struct gw running;
    cmx_err err;
    int status = gw_change_begin(x);

    if (status)
        return status;
    running = x->g;
    status = gw_status_ask(&x->g, "pending", &answer);
    err = status ? CMX_ECLOSED : find_key(answer, fingerprint, &k, &x->e);
    free(answer); /* allocated by open_memstream */
    if (err == CMX_ENOENT && !gw_enroll_get_key(&x->g.registry, fields->name, &k, &ignored) &&
        strcmp(k.fingerprint, fingerprint) == 0)
        err = CMX_OK; /* the device is already enrolled with this key */
    if (!err)
        err = gw_enroll_fields(&x->g, fields, &k, &d, &x->outcome, &x->e);
    if (!err && (fields->address || fields->mac))
        err = gw_command_check_identities(&x->g, NULL, &x->e);
    if (status) {
        gw_folder_close(&x->g);
        return status;
    }
    status = gw_change_report(x, err, "%s: %s, address %s", d.name, gw_outcome_text(x->outcome),
                              d.address[0] ? d.address : "-");
    snprintf(request, sizeof request, "forget %s", k.fingerprint);
    if (!status && !x->common.dry_run)
        (void)!gw_control(&running, request, NULL, &ignored); /* on failure the key stays listed, which is harmless */
    return status;
}

int gw_cmd_approve(int argc, char **argv)
{
    struct gw_change x = {.what = "approval failed"};
    struct gw_enroll_fields fields = {0};
    const struct cli_option options[] = {
        GW_CHANGE_OPTIONS(x.common),
        CLI_TEXT("ports", "LIST", "the ports of the device's services, such as 81,8989,8888", &fields.ports,
                 .or_empty = true),
        GW_DIRECT_OPTION(fields),
        CLI_TEXT("address", "ADDRESS", "the device's address within the fleet, instead of the derived one",
                 &fields.address),
        CLI_TEXT("group", "NAME", "the device's group, for grants, policies and rollouts", &fields.group,
                 .or_empty = true),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway approve", "FINGERPRINT NAME", about_approve, 2, 2, options);

    if (cli_parse(&line, argc, argv, &x.status))
        return x.status;
    fields.name = line.operand[1];
    return approve(&x, line.operand[0], &fields);
}
