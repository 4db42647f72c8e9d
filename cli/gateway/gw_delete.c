#include "cli/gateway/gw_command.h"

static const char about[] =
    "Removes a revoked device from the registry, so that its name and address can be used for another device. "
    "Its keys can't be enrolled again.";

int gw_cmd_delete(int argc, char **argv)
{
    struct gw_change x = {.what = "deletion failed"};
    const struct cli_option options[] = {GW_CHANGE_OPTIONS(x.common)};
    struct cli_line line = CLI_LINE("cmxsafe gateway delete", "NAME", about, 1, 1, options);
    cmx_err err;

    if (cli_parse(&line, argc, argv, &x.status) || gw_change_begin(&x))
        return x.status;
    gw_command_note_directs(&x.g, line.operand[0]);
    err = gw_device_delete(&x.g.registry, line.operand[0], &x.outcome, &x.e);
    return gw_change_report(&x, err, "%s: %s", line.operand[0],
                            x.outcome == GW_UNCHANGED ? "was deleted already" : "deleted");
}
