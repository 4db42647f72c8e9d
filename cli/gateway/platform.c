#include "cli/gateway/gw.h"

static const char about[] =
    "Registers a platform: a consumer that logs in to this gateway with a key of its own and reaches what it is "
    "granted,\n"
    "by ssh -L, -W or -D and the devices' names (docs/GATEWAY.md). Another key replaces the old one.";

int gw_cmd_platform(int argc, char **argv)
{
    struct gw_common c = {0};
    const char *key = NULL;
    const struct gw_option options[] = {
        GW_DIR_OPTION(c),
        {"key", "FILE", "the platform's public key", &key},
        GW_JSON_OPTION(c),
        GW_DRY_RUN_OPTION(c),
    };
    struct gw_command_line line = GW_COMMAND_LINE("platform", "NAME", about, 1, 1, options);
    struct gw_error e = {0};
    gw_outcome outcome = GW_UNCHANGED;
    struct gw_key k;
    struct gw g;
    cmx_err err;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (!key)
        return cli_usage("cmxsafe gateway platform", "--key is missing");
    status = gw_begin(&g, &c, "registering the platform failed", &e);
    if (status)
        return status;
    err = gw_key_read(&k, key, &e);
    if (!err)
        err = gw_platform_set(&g.registry, line.operand[0], &k, &outcome, &e);
    status = gw_finish(&g, &c, "registering the platform failed", err, &e);
    if (!status && c.json)
        gw_json_outcome(&c, outcome);
    else if (!status)
        printf("%s: %s%s\n", line.operand[0], gw_outcome_text(outcome), gw_dry_text(&c));
    return status;
}
