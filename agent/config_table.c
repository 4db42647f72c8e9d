#include "config_table.h"

#include <string.h>

#define STR_(x) #x
#define STR(x) STR_(x)
#define SECOND 1000ull
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)

static const char *const directions[] = {"reverse", "direct", NULL};
static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};
static const char *const confines[] = {"no", "yes", "required", NULL};
static const char *const confine_ports[] = {"any", "fixed", NULL};

const struct config_section config_sections[] = {
    {"agent", false, offsetof(struct agent_config, agent), "The agent itself. May be left out."},
    {"gateway", false, offsetof(struct agent_config, gateway),
     "How to reach the gateway, how to know it (`host_key`, `known_hosts_file`: at least one pin, it can't be turned "
     "off) and "
     "how to log in (`key_file`, `password_file`: at least one, or the key derived from `[identity]`)."},
    {"isolation", false, offsetof(struct agent_config, isolation),
     "Default deny for the whole network namespace, by nftables: see docs/ISOLATION.md. May be left out."},
    {"identity", false, offsetof(struct agent_config, identity),
     "The device's key, from which its SSH key and its name are derived and by which it attests: see "
     "docs/ATTESTATION.md. A change needs a restart. May be left out."},
    {"attest", false, offsetof(struct agent_config, attest),
     "Attestation as a service of the device: /hash and /evidence. Make it reachable with a context. A change needs a "
     "restart. May be left out."},
    {"ota", false, offsetof(struct agent_config, ota),
     "Updates over the air: a page and `POST /update` on the loopback, made reachable by a context for `port`. What "
     "was uploaded "
     "and verified is handed to a command. May be left out; `install` turns it on. A change needs a restart."},
    {"context", true, offsetof(struct agent_config, contexts),
     "One service's declaration; `NAME` is of letters, digits, '.', '_' and '-'. A reverse context makes a local "
     "service "
     "reachable at the gateway; a direct one makes a service behind the gateway reachable at a local port."},
};
const size_t config_n_sections = sizeof config_sections / sizeof config_sections[0];

#define AGENT(member) offsetof(struct agent_section, member)
#define GATEWAY(member) offsetof(struct gateway_section, member)
#define ISOLATION(member) offsetof(struct isolation_section, member)
#define IDENTITY(member) offsetof(struct identity_section, member)
#define ATTEST(member) offsetof(struct attest_section, member)
#define OTA(member) offsetof(struct ota_section, member)
#define CONTEXT(member) offsetof(struct context_section, member)

const struct config_key config_keys[] = {
    {"agent", "control_socket", CONFIG_PATH, AGENT(control_socket), .fallback = "/run/cmxsafe/cmxsafed.sock",
     .help = "UNIX socket that `cmxsafed status` asks; mode 0660. A change needs a restart."},
    {"agent", "log_level", CONFIG_CHOICE, AGENT(log_level), .choices = log_levels, .fallback = "info",
     .help = "The least important lines that are still logged."},
    {"agent", "confine", CONFIG_CHOICE, AGENT(confine), .choices = confines, .fallback = "yes",
     .help =
         "Landlock and seccomp for the agent itself: `yes` applies what the kernel has, `required` refuses to start "
         "if something is missing. A change needs a restart."},
    {"agent", "confine_ports", CONFIG_CHOICE, AGENT(confine_ports), .choices = confine_ports, .fallback = "any",
     .help =
         "`fixed`: Landlock limits TCP connect and bind to the ports of the configuration at start, for the life of "
         "the process; a reload that needs another port is refused. `any`: a reload may bring new ports. A change "
         "needs a restart."},

    {"gateway", "host", CONFIG_HOST, GATEWAY(host), .required = true, .help = "Name or address of the SSH server."},
    {"gateway", "port", CONFIG_NUMBER, GATEWAY(port), .min = 1, .max = 65535, .fallback = "22",
     .help = "Its TCP port."},
    {"gateway", "user", CONFIG_TEXT, GATEWAY(user), .max = 64, .required = true, .help = "Account to log in to."},
    {"gateway", "host_key", CONFIG_PIN_LIST, GATEWAY(host_key),
     .help = "A pin: `SHA256:...` as `ssh-keygen -l` prints it, or a known_hosts line. Repeat it for key rotation, at "
             "most " STR(CMX_PROXY_HOST_KEYS_MAX) " pins in all."},
    {"gateway", "known_hosts_file", CONFIG_PATH, GATEWAY(known_hosts_file),
     .help = "OpenSSH known_hosts file; the lines that name this host and port are pins."},
    {"gateway", "key_file", CONFIG_PATH, GATEWAY(key_file),
     .help = "Private key, OpenSSH or PEM; refused if group or others can access it."},
    {"gateway", "key_passphrase_file", CONFIG_PATH, GATEWAY(key_passphrase_file),
     .help = "File whose first line is the key's passphrase; the same permissions."},
    {"gateway", "password_file", CONFIG_PATH, GATEWAY(password_file), .without = "no password is ever offered",
     .help = "File whose first line is the password; the same permissions. It is told by the method password, or to "
             "the one "
             "question of keyboard-interactive."},
    {"gateway", "ciphers", CONFIG_TEXT, GATEWAY(ciphers), .max = 512,
     .without = "current ones, ordered by what the CPU accelerates", .help = "OpenSSH names, comma separated."},
    {"gateway", "login_timeout", CONFIG_DURATION, GATEWAY(login_timeout_ms), .min = SECOND, .max = 300 * SECOND,
     .fallback = STR(CMX_PROXY_LOGIN_TIMEOUT_S) "s",
     .help = "From TCP connect to the last forward granted, each attempt."},
    {"gateway", "keepalive", CONFIG_DURATION, GATEWAY(keepalive_ms), .min = SECOND, .max = HOUR,
     .fallback = STR(CMX_PROXY_KEEPALIVE_S) "s", .help = "A request with reply after that much silence."},
    {"gateway", "keepalive_max", CONFIG_NUMBER, GATEWAY(keepalive_max), .min = 1, .max = 100,
     .fallback = STR(CMX_PROXY_KEEPALIVE_MAX), .help = "That many unanswered: the gateway is dead, connect again."},
    {"gateway", "backoff_min", CONFIG_DURATION, GATEWAY(backoff_min_ms), .min = 100, .max = HOUR, .step = 1,
     .fallback = STR(CMX_PROXY_BACKOFF_BASE_MS) "ms",
     .help = "Ceiling of the first wait between attempts; it doubles."},
    {"gateway", "backoff_max", CONFIG_DURATION, GATEWAY(backoff_max_ms), .min = 100, .max = DAY, .step = 1,
     .fallback = STR(CMX_PROXY_BACKOFF_MAX_MS) "ms", .help = "Ceiling of all waits."},
    {"gateway", "rekey_bytes", CONFIG_BYTES, GATEWAY(rekey_bytes), .max = 1ull << 40, .fallback = "0",
     .help = "New session keys after that many bytes; 0: the SSH library's default."},

    {"isolation", "enabled", CONFIG_BOOL, ISOLATION(enabled), .fallback = "no",
     .help =
         "The agent puts the ruleset into force before its first session, or does not start. It stays in force when "
         "the agent ends; `cmxsafed isolation --remove` removes it."},
    {"isolation", "agent_user", CONFIG_TEXT, ISOLATION(agent_user), .max = 32, .without = "the agent's own",
     .help = "Name or uid of the only user that reaches the gateway and the contexts' services: the agent's. For "
             "`cmxsafed isolation --apply`, which root calls."},
    {"isolation", "resolvers", CONFIG_TEXT, ISOLATION(resolvers), .without = "those of /etc/resolv.conf",
     .help = "Addresses of the name servers that the agent may ask while it looks the gateway up; none are needed when "
             "the gateway is an address."},
    {"isolation", "time_servers", CONFIG_TEXT, ISOLATION(time_servers), .without = "none",
     .help = "Addresses of the NTP servers that may be asked."},
    {"isolation", "dhcp", CONFIG_BOOL, ISOLATION(dhcp), .fallback = "yes",
     .help = "Answers to the machine's own DHCP and DHCPv6 requests pass."},
    {"isolation", "ipv6", CONFIG_BOOL, ISOLATION(ipv6), .fallback = "yes",
     .help = "Neighbour and router discovery pass; `no` leaves IPv6 without a link."},

    {"identity", "key_file", CONFIG_PATH, IDENTITY(key_file),
     .help =
         "32 raw bytes that only root or the agent's user can access. Evidence then says that the key is software."},
    {"identity", "tpm", CONFIG_TEXT, IDENTITY(tpm), .max = 200, .without = "tpm2-tss's default",
     .help = "How to reach the TPM 2.0, as tpm2-tools name it: `device:/dev/tpmrm0`."},
    {"identity", "tpm_handle", CONFIG_TEXT, IDENTITY(tpm_handle), .max = 16, .without = "no TPM",
     .help = "Persistent handle of an HMAC-SHA256 key, such as `0x81000100`."},

    {"attest", "enabled", CONFIG_BOOL, ATTEST(enabled), .fallback = "no",
     .help = "Serve attestation on 127.0.0.1. Needs a key in [identity]."},
    {"attest", "port", CONFIG_NUMBER, ATTEST(port), .min = 1, .max = 65535, .fallback = "8888",
     .help = "Its TCP port."},
    {"attest", "image", CONFIG_PATH, ATTEST(image), .without = "evidence without measurements, and no /hash",
     .help = "File or block device, at most 4 GB, that is attested as a device's flash is; opened at start."},

    {"ota", "install", CONFIG_TEXT, OTA(install), .max = 1000, .without = "no update service",
     .help = "Command that gets the update on its standard input, such as `swupdate-client`; exit status 0: installed. "
             "Its last line of output is told to the client when it fails."},
    {"ota", "confirm", CONFIG_TEXT, OTA(confirm), .max = 1000,
     .help = "Command that makes a new system permanent; run once its sessions are up."},
    {"ota", "rollback", CONFIG_TEXT, OTA(rollback), .max = 1000,
     .help = "Command that goes back to the old system (and restarts); run when the sessions are not up in time."},
    {"ota", "restart", CONFIG_TEXT, OTA(restart), .max = 1000, .without = "it takes effect at once, without a trial",
     .help = "Command that restarts into what was installed, such as `systemctl reboot`; run after the client has its "
             "answer."},
    {"ota", "version", CONFIG_TEXT, OTA(version), .max = 1000,
     .help = "Command whose last line of output is the running version."},
    {"ota", "key_file", CONFIG_PATH, OTA(key_file), .without = "required, but for `allow_unsigned`",
     .help = "Public key (PEM or hex, P-256) that updates must be signed with: `cmxsafe image sign --opaque`."},
    {"ota", "next_key_file", CONFIG_PATH, OTA(next_key_file), .help = "A second one, for key rotation."},
    {"ota", "allow_unsigned", CONFIG_BOOL, OTA(allow_unsigned), .fallback = "no",
     .help = "Accept updates without a signature where no `key_file` is given (the handler checks its own)."},
    {"ota", "spool", CONFIG_PATH, OTA(spool), .fallback = "/var/lib/cmxsafed/update",
     .help = "File that holds an update until it has been verified; its state is kept beside it."},
    {"ota", "max_size", CONFIG_BYTES, OTA(max_size), .min = 1024, .max = 4000000000ull, .fallback = "1G",
     .help = "Larger updates are refused."},
    {"ota", "port", CONFIG_NUMBER, OTA(port), .min = 1, .max = 65535, .fallback = "8989",
     .help = "TCP port on the loopback."},
    {"ota", "host", CONFIG_HOST, OTA(host),
     .help = "A further name by which clients reach the page; addresses, localhost and names under .cmx are known."},
    {"ota", "confirm_within", CONFIG_DURATION, OTA(confirm_within_ms), .min = SECOND, .max = DAY, .fallback = "5m",
     .help = "How long a new system may take until its sessions are up."},

    {"context", "direction", CONFIG_CHOICE, CONTEXT(direction), .choices = directions, .fallback = "reverse",
     .help = "`reverse`: gateway port to local service; `direct`: local port to a service behind the gateway."},
    {"context", "local_host", CONFIG_HOST, CONTEXT(local_host), .fallback = "127.0.0.1",
     .help = "reverse: where the service is; direct: the address to listen on."},
    {"context", "local_port", CONFIG_NUMBER, CONTEXT(local_port), .min = 1, .max = 65535, .required = true,
     .help = "reverse: the service's port; direct: the listener's port."},
    {"context", "remote_port", CONFIG_NUMBER, CONTEXT(remote_port), .min = 1, .max = 65535, .required = true,
     .help = "reverse: the port to listen on at the gateway; direct: the port of `remote_host`."},
    {"context", "remote_address", CONFIG_HOST, CONTEXT(remote_address), .without = "localhost",
     .help = "reverse: the address to listen on at the gateway, such as the virtual IPv6 address of a CMX-GW."},
    {"context", "remote_host", CONFIG_HOST, CONTEXT(remote_host), .without = "required for direct",
     .help = "direct: the service's host as the gateway sees it."},
    {"context", "high_bw", CONFIG_BOOL, CONTEXT(high_bw), .fallback = "no",
     .help = "Larger buffers for each connection."},
    {"context", "max_connections", CONFIG_NUMBER, CONTEXT(max_connections), .min = 1, .max = CMX_PROXY_CONNECTIONS_MAX,
     .fallback = STR(CMX_PROXY_CONNECTIONS_DEFAULT), .help = "At once; more are refused."},
    {"context", "idle_timeout", CONFIG_DURATION, CONTEXT(idle_timeout_ms), .max = 30 * DAY, .fallback = "0s",
     .help = "A connection with no byte either way for that long is closed; 0: never."},
    {"context", "connect_timeout", CONFIG_DURATION, CONTEXT(connect_timeout_ms), .min = SECOND, .max = 300 * SECOND,
     .fallback = "10s", .help = "reverse: to the local service."},
    {"context", "session", CONFIG_NAME, CONTEXT(session), .without = "one of its own",
     .help = "Contexts that name the same session share one SSH connection."},
    {"context", "probe_interval", CONFIG_DURATION, CONTEXT(probe_interval_ms), .max = DAY, .fallback = "0s",
     .help = "reverse: how often the gateway's listener is tried end to end; 0: off."},
    {"context", "users", CONFIG_TEXT, CONTEXT(users), .without = "any local user",
     .help = "direct, with isolation: the users that may connect to the listener, names or uids."},
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
