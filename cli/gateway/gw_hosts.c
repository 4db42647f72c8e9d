#include "cli/gateway/gw_command.h"
#include "gateway/render/gw_hosts_file.h"

int gw_cmd_hosts(int argc, char **argv)
{
    struct gw_read x = {.what = "listing the names failed"};
    const struct cli_option options[] = {GW_DIR_OPTION(x.common)};
    struct cli_line line =
        CLI_LINE("cmxsafe gateway hosts", "",
                 "Prints the devices' names and addresses in the form of /etc/hosts.\n"
                 "A system gateway also writes them to /etc/hosts, unless it was set up with 'init --no-etc-hosts'.",
                 0, 0, options);

    if (cli_parse(&line, argc, argv, &x.status) || gw_read_begin(&x))
        return x.status;
    return gw_read_finish(&x, gw_hosts(stdout, &x.g, &x.e));
}
