/* gw_command.h - shared by the `cmxsafe gateway` subcommands: arguments, opening the gateway, changing its registry,
 * output. */
#pragma once

#include "gateway/folder/gw_fail.h"
#include "gateway/folder/gw_files.h"
#include "gateway/folder/gw_folder.h"
#include "gateway/folder/gw_json.h"
#include "gateway/folder/gw_program.h"
#include "gateway/registry/evidence_policy.h"
#include "port/linux/cli.h"

/* ---- options that subcommands share ---- */

struct gw_common {
    const char *dir;
    bool json;
    bool dry_run;
};
#define GW_DIR_OPTION(c)                                                                                               \
    CLI_TEXT("dir", "FOLDER",                                                                                          \
             "the gateway's folder (default: $CMXSAFE_GATEWAY, or else /var/lib/cmxsafe/gateway for root and "         \
             "~/.local/share/cmxsafe/gateway for others)",                                                             \
             &(c).dir, .common = true)
#define GW_JSON_OPTION(c) CLI_FLAG("json", "print JSON", &(c).json)
#define GW_DRY_RUN_OPTION(c) CLI_FLAG("dry-run", "print what would change, and change nothing", &(c).dry_run)
#define GW_CHANGE_OPTIONS(c) GW_DIR_OPTION(c), GW_JSON_OPTION(c), GW_DRY_RUN_OPTION(c)

/* ---- opening and changing the gateway ---- */

/* Opens the gateway in the folder that c names. Returns CLI_OK; on CLI_FAILED the error was printed. Close
 * with gw_folder_close. */
int gw_command_open(struct gw *g, const struct gw_common *c, bool write);

/* A command that only reads the registry. Zero it and set `what`. */
struct gw_read {
    const char *what; /* the beginning of error messages, such as "listing the names failed" */
    struct gw_common common;
    struct gw g;
    struct cmx_why e;
    struct gw_json json; /* valid with --json, after gw_read_array or gw_read_object */
    bool printing;       /* the document in `json` has begun */
    int status;          /* the result of gw_read_begin */
};

/* Opens the registry, which gw_read_finish closes. CLI_OK; another exit status: the error was printed. */
int gw_read_begin(struct gw_read *x);
/* With --json: begins the document on stdout with an array or an object, which gw_read_finish ends. Without --json:
 * returns NULL. */
struct cmx_json *gw_read_array(struct gw_read *x);
struct cmx_json *gw_read_object(struct gw_read *x);
/* Ends the document and closes g. If the command has failed, prints the error, with x->e as the reason. CLI_OK or
 * CLI_FAILED. */
int gw_read_finish(struct gw_read *x, bool failed);

/* A command that changes the registry. Zero it and set `what`. */
struct gw_change {
    const char *what; /* the beginning of error messages, such as "renaming failed" */
    struct gw_common common;
    struct gw g;
    struct cmx_why e;
    gw_outcome outcome;
    int status; /* the result of gw_change_begin */
};

/* Opens the registry and begins a transaction, which gw_change_finish or gw_change_report ends. CLI_OK; another exit
 * status: the error was printed. */
int gw_change_begin(struct gw_change *x);

/* In a dry run, or if the command has failed, rolls back. Otherwise commits, and then applies the registry: writes the
 * hosts file, writes and loads the packet filter, and makes the running gateway check its sessions. Closes g. Prints
 * errors, with x->e as the reason. CLI_OK or CLI_FAILED. */
int gw_change_finish(struct gw_change *x, bool failed);
/* Like gw_change_finish, but on success also prints the result: the text of fmt, or with --json the outcome. */
int gw_change_report(struct gw_change *x, bool failed, const char *fmt, ...) CMX_PRINTF(3, 4);

/* Call this before the transaction ends, after a device got an address or a party was added. Returns CMX_EEXIST if a
 * device has the identity of another party as its address. c: the added party; NULL: any party may be affected. */
CMX_MUST_USE cmx_err gw_command_check_identities(struct gw *g, const struct gw_consumer *c, struct cmx_why *e);

/* Counts the devices of a group that are not revoked. */
CMX_MUST_USE cmx_err gw_command_count_group(struct gw *g, const char *group, size_t *n, struct cmx_why *e);
/* Prints a note that a group has no devices: its name may be a typing error. This is not an error, because devices may
 * join the group later. */
void gw_command_note_empty(const char *group);
/* Prints a note if devices have direct services at the host of this device, whose name is about to become free: the
 * next device with this name would get their connections. */
void gw_command_note_directs(struct gw *g, const char *name);

/* False if c is a user, group or unit that this machine does not have. */
bool gw_command_machine_has(const struct gw_consumer *c);
struct gw_party;
/* Like gw_party_find, for a name that must exist. CMX_ENOENT: neither the registry nor this machine has it, so it is
 * probably a typing error. gw_party_find also accepts users, groups and units of other machines. */
CMX_MUST_USE cmx_err gw_command_find_party(struct gw *g, const char *name, struct gw_party *p, struct cmx_why *e);

/* ---- output ---- */

/* Writes the identity of a consumer; "": it has none, as in a small deployment or in --user mode. */
void gw_command_identity(struct gw *g, const struct gw_consumer *c, char out[GW_ADDRESS_MAX]);

/* Prints the ports or the direct services of a device as text, or `none`. */
void gw_command_print_ports(const struct gw_device *d, const char *separator, const char *none);
void gw_command_print_directs(const struct gw_device *d, const char *separator, const char *none);
/* Adds the members of a device to the open object. */
void gw_command_put_device(struct cmx_json *j, const struct gw *g, const struct gw_device *d);
/* Adds "node": the gateway of the fleet that has the device's session according to the registry; "": none. */
void gw_command_put_node(struct cmx_json *j, struct gw *g, const struct gw_device *d);
/* Adds the object "seen": when and from where the device last connected, its firmware and its SSH software. */
void gw_command_put_seen(struct cmx_json *j, const struct gw_seen *s);
/* Adds the state of the device's evidence to the open object. */
void gw_policy_put_standing(struct cmx_json *j, const struct gw_standing *s);
/* Returns the state of the evidence: "trusted", "untrusted", "QUARANTINED", "EXEMPT", or "-" without a policy. */
const char *gw_standing_text(const struct gw_standing *s);
/* Writes a Unix time: "2026-11-22 13:05:29Z", or "-" for 0. */
#define GW_TIME_TEXT_MAX 32
const char *gw_command_time(int64_t at, char out[GW_TIME_TEXT_MAX]);
const char *gw_outcome_text(gw_outcome o);
/* For --json: prints the result of a command that changes something, such as {"outcome":"changed"}; a dry run adds
 * "dry_run":true. */
void gw_command_print_outcome(const struct gw_common *c, gw_outcome o);
/* Returns " (dry run)" in a dry run, otherwise "". */
const char *gw_command_dry_run(const struct gw_common *c);

/* ---- the subcommands (one file each), in the order of --help: name, function, help ---- */

#define GW_COMMANDS(COMMAND)                                                                                           \
    COMMAND("init", gw_cmd_init, "set up a gateway")                                                                   \
    COMMAND("serve", gw_cmd_serve, "run the gateway in the foreground")                                                \
    COMMAND("enroll", gw_cmd_enroll, "register a device")                                                              \
    COMMAND("pending", gw_cmd_pending, "list unknown keys that tried to log in")                                       \
    COMMAND("approve", gw_cmd_approve, "register a device whose key tried to log in")                                  \
    COMMAND("list", gw_cmd_list, "list the devices")                                                                   \
    COMMAND("show", gw_cmd_show, "show a device, or the gateway")                                                      \
    COMMAND("revoke", gw_cmd_revoke, "revoke a key and end its sessions")                                              \
    COMMAND("delete", gw_cmd_delete, "free the name and address of a revoked device")                                  \
    COMMAND("rotate", gw_cmd_rotate, "replace a device's key")                                                         \
    COMMAND("rename", gw_cmd_rename, "rename a device")                                                                \
    COMMAND("grant", gw_cmd_grant, "let a consumer reach a device's service")                                          \
    COMMAND("import", gw_cmd_import, "register many devices from CSV")                                                 \
    COMMAND("export", gw_cmd_export, "write the devices as CSV")                                                       \
    COMMAND("platform", gw_cmd_platform, "register a consumer that logs in")                                           \
    COMMAND("krl", gw_cmd_krl, "install the list of revoked keys and certificates")                                    \
    COMMAND("policy", gw_cmd_policy, "require proof of firmware before a device can be reached")                       \
    COMMAND("status", gw_cmd_status, "show the connected sessions")                                                    \
    COMMAND("watch", gw_cmd_watch, "show the status repeatedly")                                                       \
    COMMAND("log", gw_cmd_log, "print the audit trail")                                                                \
    COMMAND("metrics", gw_cmd_metrics, "print metrics for Prometheus")                                                 \
    COMMAND("access", gw_cmd_access, "print connections to devices, also refused ones")                                \
    COMMAND("whois", gw_cmd_whois, "translate between identities and names")                                           \
    COMMAND("attest", gw_cmd_attest, "attest devices")                                                                 \
    COMMAND("update", gw_cmd_update, "update devices")                                                                 \
    COMMAND("image", gw_cmd_image, "keep firmware images for updates")                                                 \
    COMMAND("campaign", gw_cmd_campaign, "update devices in the background, as they connect")                          \
    COMMAND("doctor", gw_cmd_doctor, "check for common problems")                                                      \
    COMMAND("join", gw_cmd_join, "make this machine one more gateway of a fleet")                                      \
    COMMAND("leave", gw_cmd_leave, "take a gateway out of its fleet")                                                  \
    COMMAND("nodes", gw_cmd_nodes, "list the gateways of the fleet")                                                   \
    COMMAND("backup", gw_cmd_backup, "copy the registry while it is in use")                                           \
    COMMAND("migrate", gw_cmd_migrate, "move the registry to PostgreSQL, or back")                                     \
    COMMAND("hosts", gw_cmd_hosts, "print the devices' names and addresses")                                           \
    COMMAND("exec", gw_cmd_exec, "run a command where the devices are reachable")                                      \
    COMMAND("worker", gw_cmd_worker, "attest devices as their policies require (the gateway starts it)")               \
    COMMAND("follow", gw_cmd_follow, "keep the copy of a shared registry up to date (the gateway starts it)")          \
    COMMAND("net", gw_cmd_net, "set up or remove a system gateway's network (the units run it)")

#define GW_COMMAND(name, run, help) int run(int argc, char **argv);
GW_COMMANDS(GW_COMMAND)
#undef GW_COMMAND
