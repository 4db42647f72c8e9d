/* agent_config.h - the agent's configuration file as values. One table (config_table.c) describes all keys. The parser,
 * the checks, the reference (docs/CONFIG.md, cmxsafed.conf(5)) and the suggestion for a mistyped key use it. The table
 * also says which keys a reload cannot change.
 *
 * To add settings for a module of the agent, define a struct here that begins with struct config_head, add a member of
 * this type to struct agent_config, and add rows to config_table.c. An option of a context is one row of
 * context_options.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/proxy/gateways.h"
#include "cmxsafe/proxy/proxy.h"

#define CONFIG_FILE_DEFAULT "/etc/cmxsafe/cmxsafed.conf"
#define CONFIG_KEYS_MAX 24    /* maximum number of keys in a section */
#define CONFIG_LIST_MAX 32    /* maximum number of values of a repeated key */
#define CONFIG_ERRORS_MAX 100 /* maximum number of errors reported for a file */

/* The line numbers of a section and of its keys. 0: the file does not contain the section or key. This struct is the
 * first member of every section's struct. */
struct config_head {
    unsigned line;
    unsigned key_line[CONFIG_KEYS_MAX]; /* config_key_place returns each key's index */
};

struct config_list {
    size_t n;
    char *item[CONFIG_LIST_MAX];
};

/* In this and the following sections a number is a uint64_t, a duration is in milliseconds, and a choice is an index
 * into the key's `choices`. The members of `options` have types of their own. */
struct agent_section {
    struct config_head head;
    char *control_socket;
    uint64_t log_level; /* a cmx_log_level */
    uint64_t confine;   /* an enum agent_confine */
    uint64_t confine_ports;
};

enum agent_confine { AGENT_CONFINE_NO, AGENT_CONFINE_YES, AGENT_CONFINE_REQUIRED };
enum agent_confine_ports { AGENT_PORTS_ANY, AGENT_PORTS_FIXED };

struct gateway_section {
    struct config_head head;
    struct cmx_gateway options; /* the keys in gateway_options.h; owns its strings */
    struct config_list host_key;
    char *known_hosts_file;
    char *key_passphrase_file;
    char *password_file;
};

struct context_section {
    struct config_head head;
    char name[CMX_PROXY_NAME_MAX];
    struct cmx_context options; /* the keys in context_options.h; owns its strings, except name */
};

struct isolation_section {
    struct config_head head;
    bool enabled;
    char *agent_user;
    char *resolvers;
    char *forwarder;
    char *time_servers;
    bool dhcp;
    bool ipv6;
};

struct identity_section {
    struct config_head head;
    char *key_file;
    char *tpm;
    char *tpm_handle; /* for example "0x81000100" */
};

struct attest_section {
    struct config_head head;
    bool enabled;
    uint64_t port;
    char *image;
};

/* install, confirm, rollback, restart and version are commands for /bin/sh -c; NULL: no command. */
struct ota_section {
    struct config_head head;
    char *install; /* NULL: no update service */
    char *confirm;
    char *rollback;
    char *restart;
    char *version;
    char *key_file;
    char *next_key_file;
    bool allow_unsigned;
    char *spool;
    uint64_t max_size;
    uint64_t port;
    char *host;
    uint64_t confirm_within_ms;
    uint64_t install_timeout_ms;
    uint64_t confirm_timeout_ms;
    uint64_t rollback_timeout_ms;
    uint64_t restart_timeout_ms;
    uint64_t version_timeout_ms;
};

/* The whole configuration. Owns all its strings. */
struct agent_config {
    struct agent_section agent;
    struct gateway_section gateway;
    struct isolation_section isolation;
    struct identity_section identity;
    struct attest_section attest;
    struct ota_section ota;
    size_t n_contexts;
    struct context_section contexts[CMX_PROXY_CONTEXTS_MAX];

    struct cmx_gateway_list gateways; /* parsed from gateway.options.host */

    /* config_read_files sets the following members. The memory of key_passphrase and password is wiped before it is
     * freed. */
    struct config_list pins; /* values of host_key, and the gateways' lines of known_hosts_file */
    char *key_passphrase;
    char *password;
};

/* Receives the errors. Each text is `file:line: what`, or `file: what` for an error of the whole file, without a
 * newline. */
struct config_report {
    const char *file;
    void (*line)(void *arg, const char *text); /* NULL: errors are only counted */
    void *arg;
    unsigned errors; /* errors reported so far */
};

/* Reports an error in a line of the file. line 0: the error concerns the whole file. */
void config_error(struct config_report *r, unsigned line, const char *fmt, ...) CMX_PRINTF(3, 4);

/* Reads and checks a file and the files that it names, and reports all errors. On error *out is NULL. CMX_ENOENT,
 * CMX_EPERM, CMX_EIO: the file cannot be read; CMX_EINVAL: its content is wrong; CMX_ENOMEM. */
CMX_MUST_USE cmx_err config_load(const char *file, struct config_report *r, struct agent_config **out);

/* Like config_load, but does not open the files that the configuration names: `cmxsafed status` may lack the permission
 * to read them. */
CMX_MUST_USE cmx_err config_read_text(const char *file, struct config_report *r, struct agent_config **out);

/* Reads the files that [gateway] names, checks their permissions, and reports all errors. Errors as for config_load. */
CMX_MUST_USE cmx_err config_read_files(struct agent_config *c, struct config_report *r);

/* Like config_read_text, for a text that is already in memory. Opens no file. */
CMX_MUST_USE cmx_err config_parse(const char *text, size_t len, struct config_report *r, struct agent_config **out);

/* Checks the rules that concern more than one key, and reports the line of a key that breaks a rule. */
void config_check(const struct agent_config *c, struct config_report *r);

/* Reports a spool path that leads to another file of the agent: the agent empties the spool when it starts, and each
 * upload overwrites it. same_file: compares the names (in config_check) or the files (in config_read_files). */
void config_check_spool(const struct agent_config *c, struct config_report *r,
                        bool (*same_file)(const char *a, const char *b));

/* True if host is or includes the loopback address on which the agent's own services listen. */
bool config_covers_loopback(const char *host);

/* c may be NULL. */
void config_free(struct agent_config *c);

/* Write the engine's settings: config_gateway writes only those of [gateway]; config_engine also writes those of the
 * contexts, to an array with room for c->n_contexts. The strings are borrowed from c. */
void config_gateway(const struct agent_config *c, struct cmx_gateway *gateway);
void config_engine(const struct agent_config *c, struct cmx_gateway *gateway, struct cmx_context *contexts);
