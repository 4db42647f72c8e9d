#include "cli/gateway/gw.h"

int gw_cmd_rename(int argc, char **argv)
{
    struct gw_common c = {0};
    const struct gw_option options[] = {GW_DIR_OPTION(c), GW_DRY_RUN_OPTION(c)};
    struct gw_command_line line = {.command = "rename",
                                   .operands = "NAME NEW-NAME",
                                   .about = "Gives a device another name. Key, address, ports and grants stay.",
                                   .min_operands = 2,
                                   .max_operands = 2,
                                   .options = options,
                                   .n_options = GW_COUNT(options)};
    struct gw_error e = {0};
    struct gw g;
    cmx_err err;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (gw_open(&g, &c, true))
        return CLI_FAILED;
    err = gw_registry_begin(&g.registry, &e);
    if (!err)
        err = gw_device_rename(&g.registry, line.operand[0], line.operand[1], &e);
    status = gw_finish(&g, &c, "renaming failed", err, &e);
    if (!status)
        printf("%s: is %s now\n", line.operand[0], line.operand[1]);
    return status;
}
