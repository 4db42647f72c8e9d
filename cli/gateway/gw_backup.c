#include "cli/gateway/gw_command.h"

int gw_cmd_backup(int argc, char **argv)
{
    struct gw_read x = {.what = "backup failed"};
    const struct cli_option options[] = {GW_DIR_OPTION(x.common)};
    struct cli_line line = CLI_LINE(
        "cmxsafe gateway backup", "FILE",
        "Copies the registry to FILE, also while the gateway runs. Copy the host keys yourself: they are secret. "
        "docs/GATEWAY.md describes how to restore a gateway.",
        1, 1, options);

    if (cli_parse(&line, argc, argv, &x.status))
        return x.status;
    if (cli_output_check(line.operand[0]))
        return CLI_FAILED;
    if (gw_read_begin(&x))
        return x.status;
    if (gw_read_finish(&x, gw_registry_backup(&x.g.registry, line.operand[0], &x.e)))
        return CLI_FAILED;
    printf("copied the registry to %s\n", line.operand[0]);
    return CLI_OK;
}
