#include "agent/config/unit_check.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config/config_table.h"
#include "cmxsafe/core/text.h"

#define CAP_NET_BIND_SERVICE_BIT 10 /* capability.h */
#define LINE_MAX_LEN 512
#define FIRST_OPEN_PORT "/proc/sys/net/ipv4/ip_unprivileged_port_start"

/* ---- the unit ---- */

/* A unit in /etc replaces the packaged unit in /lib. Drop-ins are read after the unit. */
const char *const unit_files[] = {"/lib/systemd/system/cmxsafed.service", "/etc/systemd/system/cmxsafed.service",
                                  "/lib/systemd/system/cmxsafed.service.d/*.conf",
                                  "/etc/systemd/system/cmxsafed.service.d/*.conf", NULL};

static void add_writable(struct unit_sandbox *s, const char *root, const char *folders)
{
    while (*folders) {
        size_t have = strlen(s->writable), n = strcspn(folders, " ");

        if (n)
            snprintf(s->writable + have, sizeof s->writable - have, " %s%.*s", root, (int)n, folders);
        folders += n + strspn(folders + n, " ");
    }
}

static bool is_yes(const char *value)
{
    return strcmp(value, "yes") == 0 || strcmp(value, "true") == 0 || strcmp(value, "1") == 0 ||
           strcmp(value, "on") == 0;
}

static void unit_setting(struct unit_sandbox *s, const char *name, const char *value)
{
    if (strcmp(name, "User") == 0)
        snprintf(s->user, sizeof s->user, "%s", value);
    else if (strcmp(name, "ProtectHome") == 0)
        s->hides_home = is_yes(value) || strcmp(value, "tmpfs") == 0;
    else if (strcmp(name, "PrivateTmp") == 0)
        s->hides_tmp = is_yes(value);
    else if (strcmp(name, "ProtectSystem") == 0)
        s->read_only = strcmp(value, "strict") == 0;
    else if (strcmp(name, "AmbientCapabilities") == 0)
        s->binds_low = *value && (s->binds_low || strstr(value, "CAP_NET_BIND_SERVICE"));
    else if (strcmp(name, "ReadWritePaths") == 0)
        add_writable(s, "", value);
    else if (strcmp(name, "StateDirectory") == 0)
        add_writable(s, "/var/lib/", value);
    else if (strcmp(name, "RuntimeDirectory") == 0)
        add_writable(s, "/run/", value);
}

static void unit_file(struct unit_sandbox *s, const char *path)
{
    char line[LINE_MAX_LEN];
    const size_t n = strlen(path), end = strlen(".service");
    FILE *f = fopen(path, "re");

    if (f && n > end && strcmp(path + n - end, ".service") == 0)
        memset(s, 0, sizeof *s); /* a unit replaces the earlier unit; a drop-in adds to the unit */
    while (f && fgets(line, sizeof line, f)) {
        char *value = strchr(line, '=');

        line[strcspn(line, "\r\n")] = 0;
        if (!value || line[0] == '#' || line[0] == ';')
            continue;
        *value++ = 0;
        unit_setting(s, line, value);
    }
    if (f)
        fclose(f);
}

bool unit_sandbox_read(struct unit_sandbox *s, const char *const *patterns)
{
    memset(s, 0, sizeof *s);
    for (; *patterns; patterns++) {
        glob_t found;

        if (glob(*patterns, 0, NULL, &found) != 0)
            continue;
        for (size_t i = 0; i < found.gl_pathc; i++)
            unit_file(s, found.gl_pathv[i]);
        globfree(&found);
    }
    return s->user[0] != 0;
}

/* ---- files ---- */

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);

    return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == 0);
}

/* Returns why the unit's processes cannot access path, or NULL if they can. */
static const char *hidden(const struct unit_sandbox *s, const char *path)
{
    if (s->hides_home && (is_below(path, "/home") || is_below(path, "/root") || is_below(path, "/run/user")))
        return "cmxsafed.service does not see files below /home, /root and /run/user (ProtectHome=yes); move it to "
               "/etc/cmxsafe";
    if (s->hides_tmp && (is_below(path, "/tmp") || is_below(path, "/var/tmp")))
        return "cmxsafed.service has a /tmp of its own (PrivateTmp=yes); move it to /etc/cmxsafe";
    return NULL;
}

static bool may_write(const struct unit_sandbox *s, const char *path)
{
    char folder[256];

    for (const char *next = s->writable; *next;) {
        size_t n;

        next += strspn(next, " ");
        n = strcspn(next, " ");
        snprintf(folder, sizeof folder, "%.*s", (int)n, next);
        if (n && is_below(path, folder))
            return true;
        next += n;
    }
    return false;
}

static void check_readable(const struct config_key *k, const char *path, unsigned line, struct config_report *r)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 || fstat(fd, &st) != 0)
        config_error(r, line, "%s %s: %s", k->key, path, strerror(errno));
    else if (!S_ISREG(st.st_mode) && !(k->block_device && S_ISBLK(st.st_mode)))
        config_error(r, line, "%s %s: not a regular file", k->key, path);
    if (fd >= 0)
        close(fd);
}

static const char *kind_name(unsigned mode)
{
    return mode == S_IFSOCK ? "socket" : "regular file";
}

/* Checks the path of a file that the agent creates: the agent must be able to write to the folder. The agent uses or
 * replaces an existing file, which must be of the right kind. */
static void check_creatable(const struct config_key *k, const char *path, unsigned line, const struct unit_sandbox *s,
                            struct config_report *r)
{
    const char *slash = strrchr(path, '/');
    char folder[512];
    struct stat st;

    if (lstat(path, &st) == 0 && (st.st_mode & S_IFMT) != k->creates) {
        config_error(r, line, "%s %s: exists and is not a %s", k->key, path, kind_name(k->creates));
        return;
    }
    if (s && may_write(s, path))
        return; /* systemd creates the folder when the unit starts */
    if (s && s->read_only) {
        config_error(r, line, "%s %s: cmxsafed.service may not write there (ProtectSystem=strict); use %s", k->key,
                     path, k->fallback);
        return;
    }
    snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) != 0)
        config_error(r, line, "%s %s: cannot write to %s: %s", k->key, path, folder, strerror(errno));
}

static bool in_use(const struct agent_config *c, const char *section)
{
    if (strcmp(section, "ota") == 0)
        return c->ota.install != NULL;
    return strcmp(section, "attest") != 0 || c->attest.enabled;
}

static void check_path(const struct config_key *k, const char *path, const struct agent_config *c,
                       const struct unit_sandbox *s, struct config_report *r)
{
    const struct config_section *section = config_section_find(k->section, strlen(k->section));
    const struct config_head *head = (const void *)((const char *)c + section->offset);
    unsigned line = head->key_line[config_key_place(k)];
    const char *why = s ? hidden(s, path) : NULL;

    if (why)
        config_error(r, line, "%s %s: %s", k->key, path, why);
    else if (!k->creates)
        check_readable(k, path, line, r);
    else if (line || s) /* without a unit, default paths are not checked: systemd creates their folders */
        check_creatable(k, path, line, s, r);
}

static void check_paths(const struct agent_config *c, const struct unit_sandbox *s, struct config_report *r)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *k = &config_keys[i];
        const struct config_section *section = config_section_find(k->section, strlen(k->section));
        const char *const *path = (const void *)((const char *)c + section->offset + k->offset);

        if (k->type == CONFIG_PATH && *path && in_use(c, k->section))
            check_path(k, *path, c, s, r);
    }
}

/* ---- ports ---- */

static uint64_t number_in(const char *path, const char *format, uint64_t fallback)
{
    unsigned long long value = fallback;
    char line[128];
    FILE *f = fopen(path, "re");
    bool found = false;

    while (f && !found && fgets(line, sizeof line, f))
        found = sscanf(line, format, &value) == 1;
    if (f)
        fclose(f);
    return value;
}

static bool binds_low(const struct unit_sandbox *s)
{
    return s ? s->binds_low : number_in("/proc/self/status", "CapEff: %llx", 0) >> CAP_NET_BIND_SERVICE_BIT & 1;
}

static void check_port(struct config_report *r, unsigned line, const char *key, uint64_t port)
{
    uint64_t first = number_in(FIRST_OPEN_PORT, "%llu", 1024);

    if (port < first)
        config_error(
            r, line,
            "%s %llu: only a process with CAP_NET_BIND_SERVICE can listen below port %llu; choose another port, "
            "or give it to the unit (AmbientCapabilities=)",
            key, (unsigned long long)port, (unsigned long long)first);
}

static unsigned key_line(const struct config_head *head, const char *section, const char *key)
{
    unsigned line = head->key_line[config_key_place(config_key_find(section, key))];

    return line ? line : head->line;
}

static void check_ports(const struct agent_config *c, const struct unit_sandbox *s, struct config_report *r)
{
    if (binds_low(s))
        return;
    if (c->attest.enabled)
        check_port(r, key_line(&c->attest.head, "attest", "port"), "port", c->attest.port);
    if (c->ota.install)
        check_port(r, key_line(&c->ota.head, "ota", "port"), "port", c->ota.port);
    for (size_t i = 0; i < c->n_contexts; i++)
        if (c->contexts[i].options.direction == CMX_DIRECT)
            check_port(r, key_line(&c->contexts[i].head, "context", "local_port"), "local_port",
                       c->contexts[i].options.local_port);
}

void unit_check(const struct agent_config *c, const struct unit_sandbox *s, struct config_report *r)
{
    check_paths(c, s, r);
    check_ports(c, s, r);
}
