#include <string.h>

#include "cli/gateway/gw_command.h"
#include "gateway/server/gw_apply.h"
#include "gateway/server/gw_guard.h"
#include "gateway/server/gw_network.h"
#include "gateway/server/gw_server.h"

static const char about[] = "The network of a system gateway: its namespace, the fleet's routes, the link from the "
                            "host, and the packet filter.\n"
                            "The gateway's systemd units run up, watch, down and heal:\n"
                            "  up      sets all of it up, or repairs it\n"
                            "  watch   restores what other programs change or remove, and reports it to the gateway\n"
                            "  down    removes all of it\n"
                            "  heal    before the gateway starts, finishes a registry write that was interrupted\n"
                            "  rules   loads the rules again. Each start of a systemd unit creates a new cgroup, so a\n"
                            "          unit that has a grant needs a line in its own file:\n"
                            "          ExecStartPre=+/usr/bin/cmxsafe gateway net rules";

/* Writes the rules again first, since nft refuses a file that names a cgroup which no longer exists. */
static int up(struct gw *g, struct cmx_why *e)
{
    return gw_folder_lock(g, e) || gw_apply(g, e) ? gw_fail("net up failed", e) : gw_network_up(g);
}

static int down(struct gw *g, struct cmx_why *e)
{
    return gw_folder_lock(g, e) ? gw_fail("net down failed", e) : gw_network_down();
}

int gw_cmd_net(int argc, char **argv)
{
    struct gw_common c = {0};
    const struct cli_option options[] = {GW_DIR_OPTION(c)};
    struct cli_line line = CLI_LINE("cmxsafe gateway net", "up|watch|down|heal|rules", about, 1, 1, options);
    struct cmx_why e = {0};
    struct gw g;
    int status;
    const char *verb;

    if (cli_parse(&line, argc, argv, &status))
        return status;
    verb = line.operand[0];
    if (strcmp(verb, "up") && strcmp(verb, "down") && strcmp(verb, "heal") && strcmp(verb, "rules") &&
        strcmp(verb, "watch"))
        return cli_usage("cmxsafe gateway net", "'%s' is none of up, watch, down, heal and rules", verb);
    if (gw_command_open(&g, &c, strcmp(verb, "heal") == 0))
        return CLI_FAILED;
    if (strcmp(verb, "heal") == 0)
        status = CLI_OK;
    else if (g.simple || g.user)
        status = cli_fail("net failed", "only a system gateway has a network namespace", NULL);
    else if (strcmp(verb, "up") == 0)
        status = up(&g, &e);
    else if (strcmp(verb, "watch") == 0) {
        gw_folder_close(&g);
        return gw_guard_run(&g, 0, gw_server_tell_ready);
    } else if (strcmp(verb, "down") == 0)
        status = down(&g, &e);
    else
        status = gw_folder_lock(&g, &e) || gw_apply(&g, &e) ? gw_fail("the rules can't be loaded", &e) : CLI_OK;
    gw_folder_close(&g);
    return status;
}
