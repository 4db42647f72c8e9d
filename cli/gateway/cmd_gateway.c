/* `cmxsafe gateway`: the table of its subcommands. */
#include "cli/gateway/gw_command.h"

static const struct cli_command commands[] = {
    {"init", gw_cmd_init, "set up a gateway"},
    {"serve", gw_cmd_serve, "run it in the foreground"},
    {"enroll", gw_cmd_enroll, "register a device"},
    {"pending", gw_cmd_pending, "list unknown keys that tried to log in"},
    {"approve", gw_cmd_approve, "register a device whose key tried to log in"},
    {"list", gw_cmd_list, "list the devices"},
    {"show", gw_cmd_show, "show a device, or the gateway"},
    {"revoke", gw_cmd_revoke, "revoke a key and end its sessions"},
    {"delete", gw_cmd_delete, "free the name and address of a revoked device"},
    {"rotate", gw_cmd_rotate, "replace a device's key"},
    {"rename", gw_cmd_rename, "rename a device"},
    {"grant", gw_cmd_grant, "let a consumer reach a device's service"},
    {"import", gw_cmd_import, "register many devices from CSV"},
    {"export", gw_cmd_export, "write the devices as CSV"},
    {"platform", gw_cmd_platform, "register a consumer that logs in"},
    {"krl", gw_cmd_krl, "install the list of revoked keys and certificates"},
    {"policy", gw_cmd_policy, "require proof of firmware before a device can be reached"},
    {"status", gw_cmd_status, "show the connected sessions"},
    {"watch", gw_cmd_watch, "show the status repeatedly"},
    {"log", gw_cmd_log, "print the audit trail"},
    {"metrics", gw_cmd_metrics, "print metrics for Prometheus"},
    {"access", gw_cmd_access, "print who reached what, and who was refused"},
    {"whois", gw_cmd_whois, "translate between identities and names"},
    {"attest", gw_cmd_attest, "attest devices"},
    {"update", gw_cmd_update, "update devices"},
    {"image", gw_cmd_image, "keep firmware images for updates"},
    {"campaign", gw_cmd_campaign, "update devices in the background, as they connect"},
    {"doctor", gw_cmd_doctor, "check for common problems"},
    {"join", gw_cmd_join, "make this machine one more gateway of a fleet"},
    {"leave", gw_cmd_leave, "take a gateway out of its fleet"},
    {"nodes", gw_cmd_nodes, "list the gateways of the fleet"},
    {"backup", gw_cmd_backup, "copy the registry while it is in use"},
    {"migrate", gw_cmd_migrate, "move the registry to PostgreSQL, or back"},
    {"hosts", gw_cmd_hosts, "print the devices' names and addresses"},
    {"exec", gw_cmd_exec, "run a command where the devices are reachable"},
    {"worker", gw_cmd_worker, "attest devices as their policies require (the gateway starts it)"},
    {"follow", gw_cmd_follow, "follow the registry in PostgreSQL (the gateway starts it)"},
    {"net", gw_cmd_net, "the system gateway's network namespace (for the units)"},
};

int cmd_gateway(int argc, char **argv)
{
    gw_program_environment();
    return cli_dispatch("cmxsafe gateway", commands, GW_COUNT(commands), argc, argv);
}
