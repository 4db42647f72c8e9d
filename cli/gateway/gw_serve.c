#include "cli/gateway/gw_command.h"
#include "gateway/server/gw_expiry.h"
#include "gateway/server/gw_start.h"

static const char about[] = "Runs the gateway in the foreground: accepts devices, starts an sshd for each "
                            "connection and monitors the sessions.\n"
                            "A system gateway is started by its systemd units; root may also start it by hand. SIGTERM "
                            "ends it and every session.";

int gw_cmd_serve(int argc, char **argv)
{
    struct gw_common c = {0};
    bool inside = false;
    const struct cli_option options[] = {
        GW_DIR_OPTION(c),
        CLI_FLAG("inside", "internal: set when --user mode runs this command in the namespaces", &inside),
    };
    struct cli_line line = CLI_LINE("cmxsafe gateway serve", "", about, 0, 0, options);
    struct gw_expiry expiry = {0};
    struct gw g;
    int status;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    if (gw_command_open(&g, &c, false))
        return CLI_FAILED;
    gw_folder_close(&g);
    /* In --user mode no systemd unit renders the rules before the start, so grants that ended while the gateway was not
     * running are removed here. */
    if (!inside && g.user)
        (void)gw_expiry_tick(&expiry, &g); /* expiry.failed records a failure */
    if (expiry.failed)
        return cli_fail("the gateway can't start", "its rules could not be updated", "see the message above");
    return gw_start(&g, inside);
}
