/* config.h - the agent's configuration: what a file says, as values. One table (config_table.c) drives reading,
 * checking, the reference (docs/CONFIG.md, cmxsafed.conf(5)) and the suggestion for a mistyped key.
 *
 * A module of the agent gets its settings in three steps: a struct here that begins with struct config_head, a member
 * of it in struct agent_config, and rows in config_table.c. */
#ifndef CMX_AGENT_CONFIG_H
#define CMX_AGENT_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/proxy/proxy.h"

#define CONFIG_FILE_DEFAULT "/etc/cmxsafe/cmxsafed.conf"
#define CONFIG_FILE_MAX (64 * 1024) /* bytes; a configuration is written by hand */
#define CONFIG_LINE_MAX 4096        /* bytes; a known_hosts line of an RSA key has some 800 */
#define CONFIG_KEYS_MAX 24          /* keys of one section */
#define CONFIG_LIST_MAX 32          /* values of one repeated key */
#define CONFIG_ERRORS_MAX 100       /* reported of one file */

/* Where a section's instance and its keys stand in the file; 0: not there. First member of every section's struct. */
struct config_head {
    unsigned line;
    unsigned key_line[CONFIG_KEYS_MAX]; /* by the key's place in its section's rows */
};

struct config_list {
    size_t n;
    char *item[CONFIG_LIST_MAX];
};

/* Numbers are uint64_t, durations ms, choices an index: the table's setters know these and bool, char *, config_list.
 */
struct agent_section {
    struct config_head head;
    char *control_socket;
    uint64_t log_level; /* cmx_log_level */
    uint64_t confine;   /* enum agent_confine */
    uint64_t confine_ports;
};

enum agent_confine { AGENT_CONFINE_NO, AGENT_CONFINE_YES, AGENT_CONFINE_REQUIRED };
enum agent_confine_ports { AGENT_PORTS_ANY, AGENT_PORTS_FIXED };

struct gateway_section {
    struct config_head head;
    char *host;
    uint64_t port;
    char *user;
    struct config_list host_key;
    char *known_hosts_file;
    char *key_file;
    char *key_passphrase_file;
    char *password_file;
    char *ciphers;
    uint64_t login_timeout_ms;
    uint64_t keepalive_ms;
    uint64_t keepalive_max;
    uint64_t backoff_min_ms;
    uint64_t backoff_max_ms;
    uint64_t rekey_bytes;
};

struct context_section {
    struct config_head head;
    char name[CMX_PROXY_NAME_MAX];
    uint64_t direction; /* cmx_proxy_direction */
    char *local_host;
    uint64_t local_port;
    uint64_t remote_port;
    char *remote_address;
    char *remote_host;
    bool high_bw;
    uint64_t max_connections;
    uint64_t idle_timeout_ms;
    uint64_t connect_timeout_ms;
    char *session;
    uint64_t probe_interval_ms;
    char *users;
};

struct isolation_section {
    struct config_head head;
    bool enabled;
    char *agent_user;
    char *resolvers;
    char *time_servers;
    bool dhcp;
    bool ipv6;
};

struct identity_section {
    struct config_head head;
    char *key_file;
    char *tpm;
    char *tpm_handle; /* as tpm2-tools write it, "0x81000100" */
};

struct attest_section {
    struct config_head head;
    bool enabled;
    uint64_t port;
    char *image;
};

/* Commands are run by /bin/sh -c; NULL: none. */
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
};

/* Owns every string in it. */
struct agent_config {
    struct agent_section agent;
    struct gateway_section gateway;
    struct isolation_section isolation;
    struct identity_section identity;
    struct attest_section attest;
    struct ota_section ota;
    size_t n_contexts;
    struct context_section contexts[CMX_PROXY_CONTEXTS_MAX];

    /* From the files that the sections name (config_files): */
    struct config_list pins; /* host_key and the gateway's lines of known_hosts_file */
    char *key_passphrase;    /* secrets: wiped when freed */
    char *password;
};

/* Where errors go: each as `file:line: what`, or `file: what` for the file as a whole, without a newline. */
struct config_report {
    const char *file;
    void (*line)(void *arg, const char *text);
    void *arg;
    unsigned errors; /* so far */
};

/* line 0: the file as a whole. */
void config_error(struct config_report *r, unsigned line, const char *fmt, ...) CMX_PRINTF(3, 4);

/* Reads, checks and resolves a whole file; all its errors are reported, not just the first. On error *out is NULL.
 * CMX_ENOENT, CMX_EPERM, CMX_EIO: the file can't be read; CMX_EINVAL: its content; CMX_ENOMEM. */
CMX_MUST_USE cmx_err config_load(const char *file, struct config_report *r, struct agent_config **out);

/* The same without the files that the configuration names: for a client that may not read them. */
CMX_MUST_USE cmx_err config_read_text(const char *file, struct config_report *r, struct agent_config **out);

/* The part of it that touches no file at all. */
CMX_MUST_USE cmx_err config_parse(const char *text, size_t len, struct config_report *r, struct agent_config **out);

/* The part that does: permissions of keys, passwords, known hosts. CMX_EINVAL, CMX_ENOMEM. */
CMX_MUST_USE cmx_err config_files(struct agent_config *c, struct config_report *r);

/* Rules between keys, reported with the line of the key that breaks them. */
void config_check(const struct agent_config *c, struct config_report *r);

/* NULL is fine. */
void config_free(struct agent_config *c);

/* What the engine takes, borrowed from c. contexts: CMX_PROXY_CONTEXTS_MAX of them. */
void config_engine(const struct agent_config *c, struct cmx_gateway *gateway, struct cmx_context *contexts);

#endif
