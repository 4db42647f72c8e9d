/* `cmxsafe gateway`: the table of its subcommands. */
#include "cli/gateway/gw.h"

static const struct cli_command commands[] = {
    {"init", gw_cmd_init, "set a gateway up"},
    {"serve", gw_cmd_serve, "run it in the foreground"},
    {"enroll", gw_cmd_enroll, "register a device"},
    {"list", gw_cmd_list, "list the devices"},
    {"show", gw_cmd_show, "show a device, or the gateway"},
    {"revoke", gw_cmd_revoke, "take a key away, ending its sessions"},
    {"rotate", gw_cmd_rotate, "give a device a new key"},
    {"rename", gw_cmd_rename, "give a device another name"},
    {"grant", gw_cmd_grant, "say who may reach a device's service"},
    {"import", gw_cmd_import, "register many devices from CSV"},
    {"export", gw_cmd_export, "write the devices as CSV"},
    {"platform", gw_cmd_platform, "register a consumer that logs in"},
    {"status", gw_cmd_status, "say who is connected"},
    {"watch", gw_cmd_watch, "show the status again and again"},
    {"log", gw_cmd_log, "print who and what was changed, and when"},
    {"metrics", gw_cmd_metrics, "print metrics for Prometheus"},
    {"attest", gw_cmd_attest, "attest devices"},
    {"update", gw_cmd_update, "roll an update out"},
    {"doctor", gw_cmd_doctor, "check what usually goes wrong"},
    {"backup", gw_cmd_backup, "copy the registry while it is in use"},
    {"hosts", gw_cmd_hosts, "print the devices' names and addresses"},
    {"exec", gw_cmd_exec, "run a command where the devices are reachable"},
    {"net", gw_cmd_net, "the system gateway's network namespace (for the units)"},
};

int cmd_gateway(int argc, char **argv)
{
    return cli_dispatch("cmxsafe gateway", commands, GW_COUNT(commands), argc, argv);
}
