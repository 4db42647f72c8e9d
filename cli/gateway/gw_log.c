/* `cmxsafe gateway log`: prints the registry's audit trail. */
#include "cli/gateway/gw_command.h"
#include "gateway/registry/event.h"
#include "gateway/registry/party.h"

static const char about[] =
    "Prints the registry's audit trail, the oldest entry first: enrolments, changes, rotations, revocations, "
    "grants. With NAME, only entries that name this device, platform, user or @group; a name that a device had before "
    "it was renamed or deleted counts too. Logins are in the journal "
    "(journalctl -u cmxsafe-gateway).";

static cmx_err print_event(void *arg, int64_t at, const char *what, const char *who, const char *detail)
{
    struct cmx_json *json = arg; /* NULL: the output is text */
    char when[GW_TIME_TEXT_MAX];

    if (json) {
        cmx_json_object(json, NULL);
        cmx_json_i64(json, "at", at);
        cmx_json_str(json, "what", what);
        cmx_json_str(json, "who", who);
        cmx_json_str(json, "detail", detail);
        cmx_json_end(json);
    } else {
        printf("%s  %-16s %-24s %s\n", gw_command_time(at, when), what, who, detail);
    }
    return CMX_OK;
}

static cmx_err count_entry(void *arg, int64_t at, const char *what, const char *who, const char *detail)
{
    size_t *n = arg;

    (void)at;
    (void)what;
    (void)who;
    (void)detail;
    ++*n;
    return CMX_OK;
}

/* Fails if nothing has or had the name, which is then probably a typing error. */
static cmx_err check_name(struct gw_read *x, const char *name)
{
    struct gw_party p;
    size_t entries = 0;
    cmx_err err = gw_event_each(&x->g.registry, name, 1, count_entry, &entries, &x->e);

    if (err || entries || gw_device_check_group(&x->g.registry, name + (name[0] == '@'), NULL) == CMX_OK ||
        gw_command_find_party(&x->g, name, &p, NULL) == CMX_OK)
        return err;
    return cmx_why_fail(&x->e, CMX_ENOENT,
                        "no entry names '%.80s', and the registry does not have it; see 'cmxsafe gateway list --all'",
                        name);
}

int gw_cmd_log(int argc, char **argv)
{
    struct gw_read x = {.what = "log failed"};
    uint64_t last = 100;
    const struct cli_option options[] = {
        GW_DIR_OPTION(x.common),
        CLI_NUMBER("last", "N", 0, INT64_MAX, "the last N entries; 0: all", &last),
        GW_JSON_OPTION(x.common),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway log", "[NAME]", about, 0, 1, options);

    if (cli_parse(&line, argc, argv, &x.status) || gw_read_begin(&x))
        return x.status;
    if (line.n_operands && check_name(&x, line.operand[0]))
        return gw_read_finish(&x, true);
    return gw_read_finish(&x, gw_event_each(&x.g.registry, line.n_operands ? line.operand[0] : NULL, last, print_event,
                                            gw_read_array(&x), &x.e));
}
