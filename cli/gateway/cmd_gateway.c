/* `cmxsafe gateway`: the table of its subcommands. */
#include "cli/gateway/gw_command.h"

static const struct cli_command commands[] = {
#define GW_COMMAND(name, run, help) {name, run, help},
    GW_COMMANDS(GW_COMMAND)
#undef GW_COMMAND
};

int cmd_gateway(int argc, char **argv)
{
    gw_program_environment();
    return cli_dispatch("cmxsafe gateway", commands, GW_COUNT(commands), argc, argv);
}
