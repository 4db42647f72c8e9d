#include "cli/gateway/gw_command.h"

int gw_cmd_rename(int argc, char **argv)
{
    struct gw_change x = {.what = "renaming failed"};
    const struct cli_option options[] = {GW_CHANGE_OPTIONS(x.common)};
    struct cli_line line = CLI_LINE("cmxsafe gateway rename", "NAME NEW-NAME",
                                    "Gives a device another name. Key, address, ports and grants stay.", 2, 2, options);
    cmx_err err;

    if (cli_parse(&line, argc, argv, &x.status) || gw_change_begin(&x))
        return x.status;
    gw_command_note_directs(&x.g, line.operand[0]);
    err = gw_device_rename(&x.g.registry, line.operand[0], line.operand[1], &x.outcome, &x.e);
    return gw_change_report(&x, err, "%s: renamed to %s", line.operand[0], line.operand[1]);
}
