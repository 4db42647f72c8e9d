/* gw_command.h - shared by the `cmxsafe gateway` subcommands: arguments, opening the gateway, changing its registry,
 * output. */
#ifndef CLI_GW_COMMAND_H
#define CLI_GW_COMMAND_H

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
             "the gateway's folder; without it $CMXSAFE_GATEWAY, else /var/lib/cmxsafe/gateway for root and "          \
             "~/.local/share/cmxsafe/gateway for others",                                                              \
             &(c).dir)
#define GW_JSON_OPTION(c) CLI_FLAG("json", "print JSON", &(c).json)
#define GW_DRY_RUN_OPTION(c) CLI_FLAG("dry-run", "print what would change, and change nothing", &(c).dry_run)
#define GW_CHANGE_OPTIONS(c) GW_DIR_OPTION(c), GW_JSON_OPTION(c), GW_DRY_RUN_OPTION(c)

/* ---- opening and changing the gateway ---- */

/* Opens the gateway in the folder that c names. CLI_OK, or CLI_FAILED after an error that was printed. Close with
 * gw_folder_close. */
int gw_command_open(struct gw *g, const struct gw_common *c, bool write);

/* A command that only reads the registry. Zero it and set `what`. */
struct gw_read {
    const char *what; /* begins each error message: "listing the names failed" */
    struct gw_common common;
    struct gw g;
    struct cmx_why e;
    struct gw_json json; /* valid with --json, after gw_read_array or gw_read_object */
    bool printing;       /* the document in json has begun */
    int status;          /* what gw_read_begin returned */
};

/* Opens the registry, which gw_read_finish closes. CLI_OK, or what to return after an error that was printed. */
int gw_read_begin(struct gw_read *x);
/* With --json: begins the document on stdout with an array or an object, which gw_read_finish ends. Without --json:
 * returns NULL. */
struct cmx_json *gw_read_array(struct gw_read *x);
struct cmx_json *gw_read_object(struct gw_read *x);
/* Ends the document and closes g. Prints err, with x->e as the reason. CLI_OK or CLI_FAILED. */
int gw_read_finish(struct gw_read *x, cmx_err err);

/* A command that changes the registry. Zero it and set `what`. */
struct gw_change {
    const char *what; /* begins each error message: "renaming failed" */
    struct gw_common common;
    struct gw g;
    struct cmx_why e;
    gw_outcome outcome;
    int status; /* what gw_change_begin returned */
};

/* Opens the registry and begins a transaction, which gw_change_finish or gw_change_report ends. CLI_OK, or what to
 * return after an error that was printed. */
int gw_change_begin(struct gw_change *x);

/* Commits (rolls back after err or in a dry run), then applies the registry: writes the hosts file and the packet
 * filter, loads it, and has the running gateway check its sessions. Closes g. Prints errors, with x->e as the reason.
 * CLI_OK or CLI_FAILED. */
int gw_change_finish(struct gw_change *x, cmx_err err);
/* The same, and prints the result: the text, or with --json the outcome. */
int gw_change_report(struct gw_change *x, cmx_err err, const char *fmt, ...) CMX_PRINTF(3, 4);

/* ---- output ---- */

/* The identity of a consumer; "" where consumers have none. */
void gw_command_identity(struct gw *g, const struct gw_consumer *c, char out[GW_ADDRESS_MAX]);

/* The ports or the direct services of a device as text, or `none`. */
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
/* "trusted", "untrusted", "QUARANTINED", "EXEMPT", or "-" without a policy. */
const char *gw_standing_text(const struct gw_standing *s);
/* "2026-11-22 13:05:29Z", or "-" for 0. */
const char *gw_command_time(int64_t at, char out[32]);
const char *gw_outcome_text(gw_outcome o);
/* Prints the result of a command that changes something, with --json: {"outcome":"changed"}, with "dry_run":true in a
 * dry run. */
void gw_command_print_outcome(const struct gw_common *c, gw_outcome o);
/* " (dry run)", or nothing. */
const char *gw_command_dry_run(const struct gw_common *c);

/* ---- subcommands (one file each) ---- */

int gw_cmd_access(int argc, char **argv);
int gw_cmd_approve(int argc, char **argv);
int gw_cmd_attest(int argc, char **argv);
int gw_cmd_backup(int argc, char **argv);
int gw_cmd_campaign(int argc, char **argv);
int gw_cmd_delete(int argc, char **argv);
int gw_cmd_doctor(int argc, char **argv);
int gw_cmd_enroll(int argc, char **argv);
int gw_cmd_exec(int argc, char **argv);
int gw_cmd_export(int argc, char **argv);
int gw_cmd_follow(int argc, char **argv);
int gw_cmd_grant(int argc, char **argv);
int gw_cmd_hosts(int argc, char **argv);
int gw_cmd_image(int argc, char **argv);
int gw_cmd_import(int argc, char **argv);
int gw_cmd_init(int argc, char **argv);
int gw_cmd_join(int argc, char **argv);
int gw_cmd_krl(int argc, char **argv);
int gw_cmd_leave(int argc, char **argv);
int gw_cmd_nodes(int argc, char **argv);
int gw_cmd_list(int argc, char **argv);
int gw_cmd_log(int argc, char **argv);
int gw_cmd_metrics(int argc, char **argv);
int gw_cmd_migrate(int argc, char **argv);
int gw_cmd_net(int argc, char **argv);
int gw_cmd_pending(int argc, char **argv);
int gw_cmd_platform(int argc, char **argv);
int gw_cmd_policy(int argc, char **argv);
int gw_cmd_rename(int argc, char **argv);
int gw_cmd_revoke(int argc, char **argv);
int gw_cmd_rotate(int argc, char **argv);
int gw_cmd_serve(int argc, char **argv);
int gw_cmd_show(int argc, char **argv);
int gw_cmd_status(int argc, char **argv);
int gw_cmd_update(int argc, char **argv);
int gw_cmd_watch(int argc, char **argv);
int gw_cmd_worker(int argc, char **argv);
int gw_cmd_whois(int argc, char **argv);

#endif
