#include "cli/gateway/gw.h"

int gw_cmd_rename(int argc, char **argv)
{
    struct gw_common c = {0};
    const struct gw_option options[] = {GW_DIR_OPTION(c), GW_JSON_OPTION(c), GW_DRY_RUN_OPTION(c)};
    struct gw_command_line line = GW_COMMAND_LINE(
        "rename", "NAME NEW-NAME", "Gives a device another name. Key, address, ports and grants stay.", 2, 2, options);
    struct gw_error e = {0};
    struct gw g;
    cmx_err err;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    status = gw_begin(&g, &c, "renaming failed", &e);
    if (status)
        return status;
    err = gw_device_rename(&g.registry, line.operand[0], line.operand[1], &e);
    status = gw_finish(&g, &c, "renaming failed", err, &e);
    if (!status && c.json)
        gw_json_outcome(&c, GW_CHANGED);
    else if (!status)
        printf("%s: is %s now%s\n", line.operand[0], line.operand[1], gw_dry_text(&c));
    return status;
}
