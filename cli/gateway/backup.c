#include "cli/gateway/gw.h"

int gw_cmd_backup(int argc, char **argv)
{
    struct gw_common c = {0};
    const struct gw_option options[] = {GW_DIR_OPTION(c)};
    struct gw_command_line line =
        GW_COMMAND_LINE("backup", "FILE",
                        "Copies the registry, whole and consistent, while the gateway runs. Host "
                        "keys are copied by you (they are secret);\n"
                        "docs/GATEWAY.md tells how to restore.",
                        1, 1, options);
    struct gw_error e = {0};
    struct gw g;
    cmx_err err;
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    if (gw_open(&g, &c, false))
        return CLI_FAILED;
    err = gw_registry_backup(&g.registry, line.operand[0], &e);
    gw_close(&g);
    if (err)
        return gw_fail("backup failed", &e);
    printf("copied the registry to %s\n", line.operand[0]);
    return CLI_OK;
}
