#include "cli/gateway/gw.h"

static const char about[] = "Takes a device's (or with --platform a platform's) key away, for good. Its live sessions "
                            "end at once; its ports and\n"
                            "grants are gone. The name may be enrolled again with a new key.";

int gw_cmd_revoke(int argc, char **argv)
{
    struct gw_common c = {0};
    bool platform = false;
    const struct gw_option options[] = {
        GW_DIR_OPTION(c),
        {"platform", NULL, "NAME is a platform", &platform},
        GW_JSON_OPTION(c),
        GW_DRY_RUN_OPTION(c),
    };
    struct gw_command_line line = GW_COMMAND_LINE("revoke", "NAME", about, 1, 1, options);
    struct gw_error e = {0};
    gw_outcome outcome = GW_UNCHANGED;
    struct gw g;
    cmx_err err;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    status = gw_begin(&g, &c, "revocation failed", &e);
    if (status)
        return status;
    err = platform ? gw_platform_revoke(&g.registry, line.operand[0], &outcome, &e)
                   : gw_device_revoke(&g.registry, line.operand[0], &outcome, &e);
    status = gw_finish(&g, &c, "revocation failed", err, &e);
    if (status)
        return status;
    if (c.json)
        gw_json_outcome(&c, outcome);
    else
        printf("%s: %s%s\n", line.operand[0], outcome == GW_UNCHANGED ? "was revoked already" : "revoked",
               gw_dry_text(&c));
    return CLI_OK;
}
