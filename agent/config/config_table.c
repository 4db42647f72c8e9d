#include "agent/config/config_table.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#define STR_(x) #x
#define STR(x) STR_(x)
#define SECOND 1000ull
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define SOCKET_PATH_MAX (sizeof((struct sockaddr_un *)0)->sun_path - 1)

static const char *const directions[] = {"reverse", "direct", NULL};
static const char *const peers[] = {"none", "proxy-v1", "proxy-v2", "mirror", NULL};
static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};
static const char *const confines[] = {"no", "yes", "required", NULL};
static const char *const confine_ports[] = {"any", "fixed", NULL};

const struct config_section config_sections[] = {
    {"agent", false, offsetof(struct agent_config, agent), .help = "The agent itself. May be left out."},
    {"gateway", false, offsetof(struct agent_config, gateway),
     .help = "The gateway's address; its host key (`host_key` or `known_hosts_file`: at least one pin is required); "
             "and the credentials (`key_file` or `password_file`, or the key derived from `[identity]`)."},
    {"isolation", false, offsetof(struct agent_config, isolation),
     .help = "Default deny for the whole network namespace, by nftables: see docs/ISOLATION.md. May be left out."},
    {"identity", false, offsetof(struct agent_config, identity),
     .help = "The device's key, from which its SSH key and its name are derived, and which authenticates evidence. See "
             "docs/ATTESTATION.md. May be left out.",
     .reload = CONFIG_REFUSED},
    {"attest", false, offsetof(struct agent_config, attest),
     .help = "The attestation service, with /hash and /evidence. Make it reachable with a context. May be left out.",
     .reload = CONFIG_REFUSED},
    {"ota", false, offsetof(struct agent_config, ota),
     .help = "The update service: a page and `POST /update` on loopback. Make it reachable with a context for `port`. "
             "It runs only if `install`, the command that installs each verified upload, is set.",
     .reload = CONFIG_DELAYED},
    {"context", true, offsetof(struct agent_config, contexts),
     .help = "One service's declaration. `NAME` may contain letters, digits, '.', '_' and '-'. A reverse context makes "
             "a local service reachable at the gateway; a direct context makes a service behind the gateway reachable "
             "at a local port."},
};
const size_t config_n_sections = sizeof config_sections / sizeof config_sections[0];

#define AGENT(member) offsetof(struct agent_section, member)
#define GATEWAY(member) offsetof(struct gateway_section, member)
#define ISOLATION(member) offsetof(struct isolation_section, member)
#define IDENTITY(member) offsetof(struct identity_section, member)
#define ATTEST(member) offsetof(struct attest_section, member)
#define OTA(member) offsetof(struct ota_section, member)

/* Macros that turn the rows of gateway_options.h and context_options.h into rows of this table, one macro for each kind
 * of row. s: the section. The context's name is not a `key = value` line: the section header contains it. */
#define ANY -1
#define OPTION(type, s, key, member, only)                                                                             \
    STR(s), key, type, offsetof(struct s##_section, options) + offsetof(struct cmx_##s, member),                       \
        sizeof(((struct cmx_##s *)0)->member), .direction = 1 + (only)
#define OPTION_TEXT_AS(type, s, key, member, min_, max_, fallback_, only, without_, help_)                             \
    {OPTION(type, s, key, member, only), .max = max_, .fallback = fallback_, .without = without_, .help = help_},
#define OPTION_NUMBER_AS(type, s, key, member, min_, max_, fallback_, only, without_, help_)                           \
    {OPTION(type, s, key, member, only), .min = min_, .max = max_, .fallback = STR(fallback_), .help = help_},
#define OPTION_DURATION(unit_, suffix, s, key, member, min_, max_, fallback_, only, without_, help_)                   \
    {OPTION(CONFIG_DURATION, s, key, member, only),                                                                    \
     .min = (min_) * (unit_),                                                                                          \
     .max = (max_) * (unit_),                                                                                          \
     .step = unit_,                                                                                                    \
     .unit = unit_,                                                                                                    \
     .fallback = STR(fallback_) suffix,                                                                                \
     .help = help_},
#define OPTION_GATEWAYS(s, key, member, min_, max_, fallback_, only, without_, help_)                                  \
    {OPTION(CONFIG_GATEWAYS, s, key, member, only), .required = true, .help = help_},
#define OPTION_ACCOUNT(s, key, member, min_, max_, fallback_, only, without_, help_)                                   \
    {OPTION(CONFIG_TEXT, s, key, member, only), .max = max_, .required = true, .help = help_},
#define OPTION_PORT(s, key, member, min_, max_, fallback_, only, without_, help_)                                      \
    {OPTION(CONFIG_NUMBER, s, key, member, only),                                                                      \
     .min = min_,                                                                                                      \
     .max = max_,                                                                                                      \
     .fallback = (fallback_) ? STR(fallback_) : NULL,                                                                  \
     .required = !(fallback_),                                                                                         \
     .help = help_},
#define OPTION_SWITCH(s, key, member, min_, max_, fallback_, only, without_, help_)                                    \
    {OPTION(CONFIG_BOOL, s, key, member, only), .fallback = (fallback_) ? "yes" : "no", .help = help_},
#define OPTION_DIRECTION(s, key, member, min_, max_, fallback_, only, without_, help_)                                 \
    {OPTION(CONFIG_CHOICE, s, key, member, only), .choices = directions, .fallback = "reverse", .help = help_},
#define OPTION_PEER(s, key, member, min_, max_, fallback_, only, without_, help_)                                      \
    {OPTION(CONFIG_CHOICE, s, key, member, only), .choices = peers, .fallback = "none", .help = help_},
#define OPTION_ADDRESSES(s, key, member, min_, max_, fallback_, only, without_, help_)                                 \
    {OPTION(CONFIG_TEXT, s, key, member, only), .max = 4096, .without = without_, .help = help_},
#define OPTION_FILE(...) OPTION_TEXT_AS(CONFIG_PATH, __VA_ARGS__)
#define OPTION_NAME(...) OPTION_TEXT_AS(CONFIG_NAME, __VA_ARGS__)
#define OPTION_HOST(...) OPTION_TEXT_AS(CONFIG_HOST, __VA_ARGS__)
#define OPTION_TEXT(...) OPTION_TEXT_AS(CONFIG_TEXT, __VA_ARGS__)
#define OPTION_COUNT(...) OPTION_NUMBER_AS(CONFIG_NUMBER, __VA_ARGS__)
#define OPTION_BYTES(...) OPTION_NUMBER_AS(CONFIG_BYTES, __VA_ARGS__)
#define OPTION_SECONDS(...) OPTION_DURATION(SECOND, "s", __VA_ARGS__)
#define OPTION_MS(...) OPTION_DURATION(1, "ms", __VA_ARGS__)
#define OPTION_ID(...)

const struct config_key config_keys[] = {
    {"agent", "control_socket", CONFIG_PATH, AGENT(control_socket), .creates = S_IFSOCK, .max = SOCKET_PATH_MAX,
     .fallback = "/run/cmxsafe/cmxsafed.sock", .restart = true,
     .help = "UNIX socket for `cmxsafed status`; mode 0660."},
    {"agent", "log_level", CONFIG_CHOICE, AGENT(log_level), .choices = log_levels, .fallback = "info",
     .help = "The least important level that is logged."},
    {"agent", "confine", CONFIG_CHOICE, AGENT(confine), .choices = confines, .fallback = "yes", .restart = true,
     .help =
         "Landlock and seccomp for the agent itself: `yes` applies what the kernel has; with `required` the agent does "
         "not start if something is missing."},
    {"agent", "confine_ports", CONFIG_CHOICE, AGENT(confine_ports), .choices = confine_ports, .fallback = "any",
     .restart = true,
     .help =
         "`fixed`: Landlock limits TCP connect and bind to the ports that the configuration has when the agent starts; "
         "a reload that needs another port is refused. `any`: ports are not limited."},

#define CMX_GATEWAY_OPTION(kind, member, key, min, max, fallback, without, help)                                       \
    OPTION_##kind(gateway, key, member, min, max, fallback, ANY, without, help)
#include "cmxsafe/proxy/gateway_options.h"
    {"gateway", "host_key", CONFIG_PIN_LIST, GATEWAY(host_key),
     .help = "A pin: `SHA256:...` as `ssh-keygen -l` prints it, or a known_hosts line. Repeat it for key rotation and "
             "for several gateways; each pin is valid for all of them. At most " STR(
                 CMX_PROXY_HOST_KEYS_MAX) " pins in all."},
    {"gateway", "known_hosts_file", CONFIG_PATH, GATEWAY(known_hosts_file),
     .help = "OpenSSH known_hosts file; its lines for the gateways in `host`, with their ports, are pins."},
    {"gateway", "key_passphrase_file", CONFIG_PATH, GATEWAY(key_passphrase_file),
     .help = "File whose first line is the key's passphrase; needs the same mode as `key_file`."},
    {"gateway", "password_file", CONFIG_PATH, GATEWAY(password_file), .without = "no password is ever offered",
     .help = "File whose first line is the password; needs the same mode as `key_file`. Used for the methods password "
             "and keyboard-interactive (one question)."},

    {"isolation", "enabled", CONFIG_BOOL, ISOLATION(enabled), .fallback = "no",
     .help = "The agent installs the rules before its first session, or does not start. It installs them again when "
             "another program changes them. Enabling isolation needs a restart. The rules stay in force when the agent "
             "ends; `cmxsafed isolation --remove` removes them."},
    {"isolation", "agent_user", CONFIG_TEXT, ISOLATION(agent_user), .max = 32,
     .without = "the agent's own; for `isolation --apply`, that of cmxsafed.service",
     .help = "Name or uid of the agent's user, the only one that may connect to the gateway and to the contexts' "
             "services. Needed for `cmxsafed isolation --apply` with a file other than the default."},
    {"isolation", "resolvers", CONFIG_TEXT, ISOLATION(resolvers), .without = "those of /etc/resolv.conf",
     .help =
         "Addresses of the name servers that the agent may query to look up the gateway's name; none are needed when "
         "the gateway is an address."},
    {"isolation", "forwarder", CONFIG_TEXT, ISOLATION(forwarder), .max = 32,
     .without = "systemd-resolved's, if it is used",
     .help =
         "Name or uid of the user, not root, that a name server on this machine (dnsmasq, unbound) runs as. This user "
         "may query `resolvers` while the agent looks up the gateway's name. `resolvers` must then contain the "
         "addresses of the name server and of its upstream servers."},
    {"isolation", "time_servers", CONFIG_TEXT, ISOLATION(time_servers), .without = "none",
     .help = "Addresses of the NTP servers that the machine may query."},
    {"isolation", "dhcp", CONFIG_BOOL, ISOLATION(dhcp), .fallback = "yes",
     .help = "Permit answers to the machine's own DHCP and DHCPv6 requests."},
    {"isolation", "ipv6", CONFIG_BOOL, ISOLATION(ipv6), .fallback = "yes",
     .help = "Permit neighbour and router discovery; `no` disables IPv6."},

    {"identity", "key_file", CONFIG_PATH, IDENTITY(key_file),
     .help =
         "32 raw bytes that only root or the agent's user can access. Evidence reports such a key as a software key."},
    {"identity", "tpm", CONFIG_TEXT, IDENTITY(tpm), .max = 200, .without = "tpm2-tss's default",
     .help = "How to reach the TPM 2.0, as in tpm2-tools: `device:/dev/tpmrm0`."},
    {"identity", "tpm_handle", CONFIG_TEXT, IDENTITY(tpm_handle), .max = 16, .without = "no TPM",
     .help = "Persistent handle of an HMAC-SHA256 key, such as `0x81000100`."},

    {"attest", "enabled", CONFIG_BOOL, ATTEST(enabled), .fallback = "no",
     .help = "Serve attestation on 127.0.0.1. Needs a key in [identity]."},
    {"attest", "port", CONFIG_NUMBER, ATTEST(port), .min = 1, .max = 65535, .fallback = "8888",
     .help = "TCP port of the service."},
    {"attest", "image", CONFIG_PATH, ATTEST(image), .block_device = true,
     .without = "evidence without measurements, and no /hash",
     .help =
         "File or block device of at most 4 GB that is measured like a device's flash. The agent opens it at start, or "
         "later if that fails."},

    {"ota", "install", CONFIG_COMMAND, OTA(install), .max = 1000, .without = "no update service",
     .help = "Command that reads the update from its standard input, such as `swupdate-client`; exit status 0: "
             "installed. When it fails, its last line of output is sent to the client."},
    {"ota", "confirm", CONFIG_COMMAND, OTA(confirm), .max = 1000,
     .help =
         "Command that makes a new system permanent. It runs once the device has reached its gateway. When it fails, "
         "it is tried again until `confirm_within` has passed."},
    {"ota", "rollback", CONFIG_COMMAND, OTA(rollback), .max = 1000,
     .help = "Command that makes the next boot start the old system. It runs when the new system is not confirmed in "
             "time. Then `restart` runs."},
    {"ota", "restart", CONFIG_COMMAND, OTA(restart), .max = 1000,
     .without = "updates take effect at once, without a trial",
     .help = "Command that restarts the machine into the installed system, such as `touch /run/cmxsafe/reboot` (see "
             "docs/OTA.md). It runs after the answer was sent to the client."},
    {"ota", "version", CONFIG_COMMAND, OTA(version), .max = 1000,
     .help = "Command whose last line of output is the running version. The old and the new system must report "
             "different versions, so that the agent recognizes that the old system has booted again."},
    {"ota", "install_timeout", CONFIG_DURATION, OTA(install_timeout_ms), .min = SECOND, .max = DAY, .fallback = "30m",
     .help = "How long `install` may run. A hook that takes longer is ended with all its descendants."},
    {"ota", "confirm_timeout", CONFIG_DURATION, OTA(confirm_timeout_ms), .min = SECOND, .max = HOUR, .fallback = "60s",
     .help = "How long `confirm` may run."},
    {"ota", "rollback_timeout", CONFIG_DURATION, OTA(rollback_timeout_ms), .min = SECOND, .max = HOUR,
     .fallback = "60s", .help = "How long `rollback` may run."},
    {"ota", "restart_timeout", CONFIG_DURATION, OTA(restart_timeout_ms), .min = SECOND, .max = HOUR, .fallback = "60s",
     .help = "How long `restart` may run."},
    {"ota", "version_timeout", CONFIG_DURATION, OTA(version_timeout_ms), .min = SECOND, .max = HOUR, .fallback = "10s",
     .help = "How long `version` may run."},
    {"ota", "key_file", CONFIG_PATH, OTA(key_file), .without = "required, except with `allow_unsigned`",
     .help = "Public key (P-256, PEM or hex) that verifies updates; `cmxsafe image sign --opaque` signs them."},
    {"ota", "next_key_file", CONFIG_PATH, OTA(next_key_file), .help = "A second key, for key rotation."},
    {"ota", "allow_unsigned", CONFIG_BOOL, OTA(allow_unsigned), .fallback = "no",
     .help = "Accept unsigned updates if there is no `key_file`; for an installer that checks signatures itself."},
    {"ota", "spool", CONFIG_PATH, OTA(spool), .creates = S_IFREG, .fallback = "/var/lib/cmxsafed/update",
     .help = "File that holds an update until it has been verified. The state of the update is kept beside it."},
    {"ota", "max_size", CONFIG_BYTES, OTA(max_size), .min = 1024, .max = 4000000000ull, .fallback = "1G",
     .help = "Larger updates are refused."},
    {"ota", "port", CONFIG_NUMBER, OTA(port), .min = 1, .max = 65535, .fallback = "8989",
     .help = "TCP port of the service."},
    {"ota", "host", CONFIG_HOST, OTA(host),
     .help =
         "A further host name by which clients reach the service. Addresses, localhost and names under .cmx are always "
         "accepted."},
    {"ota", "confirm_within", CONFIG_DURATION, OTA(confirm_within_ms), .min = SECOND, .max = DAY, .fallback = "5m",
     .help =
         "How long a new system may take to reach its gateway and to be confirmed; after this time it is rolled back."},

#define CMX_OPTION(kind, member, task, key, min, max, fallback, only, without, help)                                   \
    OPTION_##kind(context, key, member, min, max, fallback, only, without, help)
#include "cmxsafe/proxy/context_options.h"
};
const size_t config_n_keys = sizeof config_keys / sizeof config_keys[0];

const struct config_section *config_section_find(const char *name, size_t len)
{
    for (size_t i = 0; i < config_n_sections; i++)
        if (strlen(config_sections[i].name) == len && strncmp(config_sections[i].name, name, len) == 0)
            return &config_sections[i];
    return NULL;
}

const struct config_key *config_key_find(const char *section, const char *key)
{
    for (size_t i = 0; i < config_n_keys; i++)
        if (strcmp(config_keys[i].section, section) == 0 && strcmp(config_keys[i].key, key) == 0)
            return &config_keys[i];
    return NULL;
}

size_t config_key_place(const struct config_key *k)
{
    size_t place = 0;

    while (k > config_keys && strcmp(k[-1].section, k->section) == 0) {
        k--;
        place++;
    }
    return place;
}

unsigned config_line(const struct config_head *head, const char *section, const char *key)
{
    unsigned line = head->key_line[config_key_place(config_key_find(section, key))];

    return line ? line : head->line;
}
