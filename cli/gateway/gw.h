/* gw.h - what the `cmxsafe gateway` subcommands share: where a gateway's folder is, its settings, arguments, output.
 * Folder: registry.db, sshd_config, hostkey_*, hosts, fleet.nft, run/ (control socket, pid of the running gateway). */
#ifndef CLI_GW_H
#define CLI_GW_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "cli/cli.h"
#include "gateway/registry/device.h"
#include "gateway/registry/permit.h"
#include "gateway/registry/registry.h"

#define GW_SYSTEM_DIR "/var/lib/cmxsafe/gateway"
#define GW_INSIDE_DIR "/cmxsafe" /* where --user mode mounts the folder for sshd and its helper */
#define GW_NETNS "cmxsafe"       /* the system mode's network namespace (ip netns) */
#define GW_ACCOUNT "cmxsafe-gw"
#define GW_USER_UID 1000 /* the account's id inside --user mode's user namespace */
#define GW_PATH_MAX 4096

/* ---- arguments ---- */

struct gw_option {
    const char *name;  /* without the dashes */
    const char *value; /* what the help calls its value; NULL: a flag */
    const char *help;
    void *target; /* const char ** for a value, bool * for a flag */
};

struct gw_command_line {
    const char *command;  /* "enroll" */
    const char *operands; /* "NAME" for the help; "" */
    const char *about;    /* the help's paragraph */
    size_t min_operands;
    size_t max_operands;
    const struct gw_option *options;
    size_t n_options;
    const char *operand[4]; /* filled */
    size_t n_operands;
    char **rest; /* everything after "--", NULL when there is none */
};

/* The one of a subcommand whose operands are `least` to `most`; table: an array. */
#define GW_COMMAND_LINE(name, form, text, least, most, table)                                                          \
    {                                                                                                                  \
        .command = (name), .operands = (form), .about = (text), .min_operands = (least), .max_operands = (most),       \
        .options = (table), .n_options = GW_COUNT(table)                                                               \
    }

/* CMX_OK: go on. Else *status is what to return: CLI_OK after --help, CLI_USAGE after an error that was printed. */
CMX_MUST_USE cmx_err gw_args(struct gw_command_line *line, int argc, char **argv, int *status);

/* Options that every subcommand has; put GW_COMMON_OPTIONS in its table. */
struct gw_common {
    const char *dir;
    bool json;
    bool dry_run;
};
#define GW_DIR_OPTION(c)                                                                                               \
    {                                                                                                                  \
        "dir", "FOLDER", "the gateway's folder (default: $CMXSAFE_GATEWAY, else the system's or yours)", &(c).dir      \
    }
#define GW_JSON_OPTION(c)                                                                                              \
    {                                                                                                                  \
        "json", NULL, "print JSON", &(c).json                                                                          \
    }
#define GW_DRY_RUN_OPTION(c)                                                                                           \
    {                                                                                                                  \
        "dry-run", NULL, "say what would happen, change nothing", &(c).dry_run                                         \
    }

#define GW_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- a gateway ---- */

struct gw {
    char dir[GW_PATH_MAX - 64];
    struct gw_registry registry; /* open while the subcommand works */
    bool user;                   /* --user mode: own user, mount and network namespaces */
    bool simple;                 /* small deployment: loopback ports */
    struct gw_fleet fleet;       /* not in a small deployment */
    char fleet_text[GW_ADDRESS_MAX + 4];
    char domain[GW_NAME_MAX];
    char account[GW_NAME_MAX];
    char listen[GW_HOST_MAX]; /* "[::]:2222" */
    char host[GW_HOST_MAX];   /* how devices reach it */
    uint16_t port;
};

/* The folder: --dir, $CMXSAFE_GATEWAY, root's or the user's default. */
void gw_find_dir(struct gw *g, const struct gw_common *c);

/* Opens the gateway's registry and reads its settings; prints what is wrong. CLI_OK or CLI_FAILED. Close with gw_close.
 */
int gw_open(struct gw *g, const struct gw_common *c, bool write);
void gw_close(struct gw *g);
/* Reads the settings from an open registry. */
CMX_MUST_USE cmx_err gw_load(struct gw *g, struct gw_error *e);

/* DIR/name; always fits (dir leaves room). */
const char *gw_path(const struct gw *g, const char *name, char out[GW_PATH_MAX]);
/* The same folder as sshd and the helper see it: GW_INSIDE_DIR in --user mode. */
const char *gw_inside_dir(const struct gw *g);
/* Name of the device in the fleet: "cam-17.cmx", or "localhost" in a small deployment. */
void gw_device_host(const struct gw *g, const struct gw_device *d, char out[GW_HOST_MAX]);

/* Prints `cmxsafe: WHAT: e`. CLI_FAILED. */
int gw_fail(const char *what, const struct gw_error *e);

/* Begins a writing subcommand: opens the registry and begins a change, which gw_finish ends. CLI_OK, or what to return;
 * what went wrong is printed. */
int gw_begin(struct gw *g, const struct gw_common *c, const char *what, struct gw_error *e);

/* Ends a writing subcommand: commits (or rolls back after err or for a dry run), then lets everything that follows from
 * the registry follow: hosts file, packet filter, live sessions. Prints errors. CLI_OK or CLI_FAILED. */
int gw_finish(struct gw *g, const struct gw_common *c, const char *what, cmx_err err, struct gw_error *e);

/* ---- output ---- */

/* A JSON string, quotes included. */
void gw_json_string(FILE *f, const char *s);
/* `"key":"value"` with a comma in front unless first. */
void gw_json_text(FILE *f, bool first, const char *key, const char *value);
void gw_json_number(FILE *f, bool first, const char *key, int64_t value);
void gw_json_device(FILE *f, const struct gw *g, const struct gw_device *d);
/* "2026-11-22 13:05:29Z", or "-" for 0. */
const char *gw_time_text(int64_t at, char out[32]);
const char *gw_outcome_text(gw_outcome o);
/* What a writing subcommand ends with: {"outcome":"changed"}, with "dry_run":true in a dry run. */
void gw_json_outcome(const struct gw_common *c, gw_outcome o);
/* " (dry run)", or nothing. */
const char *gw_dry_text(const struct gw_common *c);

/* ---- files ---- */

/* Writes whole or not at all (temporary file, fsync, rename). mode as chmod's. CMX_EBUSY: path is a mount point. */
CMX_MUST_USE cmx_err gw_write_file(const char *path, const char *text, size_t len, unsigned mode, struct gw_error *e);
/* Keeps the file that others have mounted (a new one would be another): for the hosts file. A reader may see a part. */
CMX_MUST_USE cmx_err gw_write_in_place(const char *path, const char *text, size_t len, struct gw_error *e);
/* Runs argv[0] (an absolute path or found in PATH); true when it exits 0. quiet: its output is dropped. */
bool gw_run(bool quiet, const char *const argv[]);
CMX_MUST_USE cmx_err gw_mkdir(const char *path, unsigned mode, struct gw_error *e);

/* ---- what is generated from the registry; pure but for reading it ---- */

/* FILE * is the caller's, usually open_memstream's. */
void gw_sshd_config(FILE *f, const struct gw *g, const char *helper);
CMX_MUST_USE cmx_err gw_hosts(FILE *f, struct gw *g, struct gw_error *e);
/* The rules of the fleet's network namespace; and (system mode) of the host that leads into it. */
CMX_MUST_USE cmx_err gw_nft_fleet(FILE *f, struct gw *g, struct gw_error *e);
CMX_MUST_USE cmx_err gw_nft_host(FILE *f, struct gw *g, struct gw_error *e);

/* Writes hosts and fleet.nft (and host.nft) anew from the registry, and loads the rules where the gateway is up. */
CMX_MUST_USE cmx_err gw_apply(struct gw *g, struct gw_error *e);

/* Runs argv inside the running gateway's namespaces. Returns its exit status (127: could not). uid < 0: stay who we
 * are. quiet: its output is dropped. */
int gw_inside(const struct gw *g, long uid, bool quiet, char *const argv[]);
/* The same without waiting, with the gateway's own way past the packet filter (the account's group), for attest and
 * update. output: where its stdout and stderr go. -1: could not fork. */
pid_t gw_inside_start(const struct gw *g, int output, char *const argv[]);
/* The group that the fleet's filter lets pass. */
long gw_account_gid(const struct gw *g);

/* ---- the running gateway ---- */

/* Asks the control socket one line and copies the answer to out (NULL: dropped). CMX_ECLOSED: no gateway is running. */
CMX_MUST_USE cmx_err gw_control(const struct gw *g, const char *request, FILE *out, struct gw_error *e);

/* ---- subcommands (one file each) ---- */

int gw_cmd_attest(int argc, char **argv);
int gw_cmd_backup(int argc, char **argv);
int gw_cmd_doctor(int argc, char **argv);
int gw_cmd_enroll(int argc, char **argv);
int gw_cmd_exec(int argc, char **argv);
int gw_cmd_export(int argc, char **argv);
int gw_cmd_grant(int argc, char **argv);
int gw_cmd_hosts(int argc, char **argv);
int gw_cmd_import(int argc, char **argv);
int gw_cmd_init(int argc, char **argv);
int gw_cmd_list(int argc, char **argv);
int gw_cmd_log(int argc, char **argv);
int gw_cmd_metrics(int argc, char **argv);
int gw_cmd_net(int argc, char **argv);
int gw_cmd_platform(int argc, char **argv);
int gw_cmd_rename(int argc, char **argv);
int gw_cmd_revoke(int argc, char **argv);
int gw_cmd_rotate(int argc, char **argv);
int gw_cmd_serve(int argc, char **argv);
int gw_cmd_show(int argc, char **argv);
int gw_cmd_status(int argc, char **argv);
int gw_cmd_update(int argc, char **argv);
int gw_cmd_watch(int argc, char **argv);

#endif
