#include "agent/config/unit_check.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config/config_table.h"
#include "cmxsafe/core/mem.h"
#include "port/linux/file_read.h"
#include "port/linux/ini_file.h"

#define FIRST_OPEN_PORT "/proc/sys/net/ipv4/ip_unprivileged_port_start"
#define EXAMPLES "/usr/share/doc/cmxsafe-agent/examples/"

/* ---- the unit ---- */

/* The unit and its drop-ins in systemd's folders (systemd.unit(5)). The folder with the lowest priority comes first. */
const char *const unit_files[] = {"/lib/systemd/system/cmxsafed.service",
                                  "/usr/local/lib/systemd/system/cmxsafed.service",
                                  "/run/systemd/system/cmxsafed.service", "/etc/systemd/system/cmxsafed.service", NULL};
const char *const unit_drop_ins[] = {
    "/lib/systemd/system/cmxsafed.service.d/*.conf", "/usr/local/lib/systemd/system/cmxsafed.service.d/*.conf",
    "/run/systemd/system/cmxsafed.service.d/*.conf", "/etc/systemd/system/cmxsafed.service.d/*.conf", NULL};

static void add_writable(struct unit_sandbox *s, const char *root, const char *folders)
{
    for (folders += strspn(folders, " "); *folders; folders += strspn(folders, " ")) {
        const char *folder = folders + strspn(folders, "-+"); /* ReadWritePaths= allows these prefixes */
        size_t have = strlen(s->writable), n = strcspn(folder, " ");

        snprintf(s->writable + have, sizeof s->writable - have, " %s%.*s", root, (int)n, folder);
        folders = folder + n;
    }
}

static bool is_one_of(const char *value, const char *const *words)
{
    for (; *words; words++)
        if (strcasecmp(value, *words) == 0)
            return true;
    return false;
}

static bool is_yes(const char *value)
{
    static const char *const words[] = {"yes", "y", "true", "t", "on", "1", NULL};

    return is_one_of(value, words);
}

static bool is_no(const char *value)
{
    static const char *const words[] = {"no", "n", "false", "f", "off", "0", NULL};

    return is_one_of(value, words);
}

/* Applies the value of a list of capabilities to *set, as systemd does: an empty value clears the set, and "~" removes
 * the capabilities that follow. */
static void add_capabilities(uint64_t *set, const char *value)
{
    const uint64_t named = (strstr(value, "CAP_NET_BIND_SERVICE") ? 1u << CAP_NET_BIND_SERVICE : 0) |
                           (strstr(value, "CAP_NET_ADMIN") ? 1u << CAP_NET_ADMIN : 0);

    if (!*value)
        *set = 0;
    else if (*value == '~')
        *set &= ~named;
    else
        *set = (*set == UINT64_MAX ? 0 : *set) | named; /* the first list replaces the default, UINT64_MAX */
}

static bool on_section(void *arg, unsigned line, const char *text, size_t len)
{
    (void)arg;
    (void)line;
    return len == strlen("Service") && strncmp(text, "Service", len) == 0;
}

static void on_setting(void *arg, unsigned line, const char *name, const char *value, const char *comment)
{
    struct unit_sandbox *s = arg;

    (void)line;
    (void)comment;
    if (strcmp(name, "User") == 0)
        snprintf(s->user, sizeof s->user, "%s", value);
    else if (strcmp(name, "ProtectHome") == 0)
        s->hides_home = is_yes(value) || strcmp(value, "tmpfs") == 0;
    else if (strcmp(name, "PrivateTmp") == 0)
        s->hides_tmp = is_yes(value) || strcmp(value, "disconnected") == 0;
    else if (strcmp(name, "ProtectSystem") == 0)
        s->read_only = strcmp(value, "strict") == 0;
    else if (strcmp(name, "PrivateUsers") == 0)
        s->own_users = !is_no(value); /* every other value names a kind of user namespace: self, identity, full, ... */
    else if (strcmp(name, "AmbientCapabilities") == 0)
        add_capabilities(&s->ambient, value);
    else if (strcmp(name, "CapabilityBoundingSet") == 0)
        add_capabilities(&s->bounds, value);
    else if (strcmp(name, "ReadWritePaths") == 0)
        add_writable(s, "", value);
    else if (strcmp(name, "StateDirectory") == 0)
        add_writable(s, "/var/lib/", value);
    else if (strcmp(name, "RuntimeDirectory") == 0)
        add_writable(s, "/run/", value);
}

static void on_error(void *arg, unsigned line, const char *what)
{
    (void)arg;
    (void)line;
    (void)what; /* like systemd, ignores a line with an error */
}

/* A file that cannot be read, and /dev/null, count as empty. A link to /dev/null disables a unit or a drop-in. */
static void read_settings(struct unit_sandbox *s, const char *path)
{
    const struct cmx_ini_handler handler = {.arg = s, .section = on_section, .pair = on_setting, .error = on_error};
    char *text = NULL;
    size_t len = 0;

    if (cmx_file_read(path, CMX_INI_FILE_MAX, false, &text, &len, NULL) != CMX_OK)
        return;
    cmx_ini_parse(text, len, &handler);
    cmx_mem_free_secret(text);
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(name_of(*(char *const *)a), name_of(*(char *const *)b));
}

/* Reads the drop-ins as systemd does: in the order of their names, whatever their folder is. If several drop-ins have
 * the same name, only the last one found has an effect. */
static void read_drop_ins(struct unit_sandbox *s, const char *const *patterns)
{
    glob_t found = {.gl_pathc = 0};
    size_t n = 0;

    for (int flags = 0; *patterns; patterns++, flags = GLOB_APPEND)
        (void)glob(*patterns, flags, NULL, &found); /* a pattern that matches nothing adds nothing */
    for (size_t i = 0; i < found.gl_pathc; i++) {
        size_t later = i + 1;

        while (later < found.gl_pathc && compare_names(&found.gl_pathv[i], &found.gl_pathv[later]) != 0)
            later++;
        /* Swap the paths instead of overwriting one, because globfree frees every path. */
        if (later == found.gl_pathc) {
            char *kept = found.gl_pathv[i];

            found.gl_pathv[i] = found.gl_pathv[n];
            found.gl_pathv[n++] = kept;
        }
    }
    if (n)
        qsort(found.gl_pathv, n, sizeof found.gl_pathv[0], compare_names);
    for (size_t i = 0; i < n; i++)
        read_settings(s, found.gl_pathv[i]);
    globfree(&found);
}

bool unit_sandbox_read(struct unit_sandbox *s, const char *const *units, const char *const *drop_ins)
{
    const char *unit = NULL;

    *s = (struct unit_sandbox){.bounds = UINT64_MAX};
    for (; *units; units++)
        unit = access(*units, F_OK) == 0 ? *units : unit;
    if (unit)
        read_settings(s, unit);
    read_drop_ins(s, drop_ins);
    return s->user[0] != 0;
}

/* ---- files ---- */

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);

    return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == 0);
}

/* Returns why the unit's processes cannot access path, or NULL if they can. The caller adds how to correct this. */
static const char *hidden(const struct unit_sandbox *s, const char *path)
{
    if (s->hides_home && (is_below(path, "/home") || is_below(path, "/root") || is_below(path, "/run/user")))
        return "cmxsafed.service cannot see files below /home, /root or /run/user (ProtectHome=yes)";
    if (s->hides_tmp && (is_below(path, "/tmp") || is_below(path, "/var/tmp")))
        return "cmxsafed.service has a /tmp of its own (PrivateTmp=yes)";
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
        config_error(r, line, "%s %s: %s%s", k->key, path, strerror(errno),
                     errno == EACCES ? "; the agent's user must be able to read it (chown, chgrp)" : "");
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
        return; /* systemd creates a StateDirectory or RuntimeDirectory when the unit starts */
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

    if (why && k->creates)
        config_error(r, line, "%s %s: %s; use %s", k->key, path, why, k->fallback);
    else if (why)
        config_error(r, line, "%s %s: %s; move the file to /etc/cmxsafe", k->key, path, why);
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

/* True if the unit's process has the capability; without a unit, if this process has it. */
static bool has_capability(const struct unit_sandbox *s, int capability)
{
    const uint64_t set = !s             ? number_in("/proc/self/status", "CapEff: %llx", 0)
                         : s->own_users ? 0
                                        : s->ambient & s->bounds;

    return set >> capability & 1;
}

static void check_port(struct config_report *r, unsigned line, const char *key, uint64_t port)
{
    uint64_t first = number_in(FIRST_OPEN_PORT, "%llu", 1024);

    if (port < first)
        config_error(
            r, line,
            "%s %llu: only a process with CAP_NET_BIND_SERVICE can listen below port %llu; choose another port, "
            "or give the agent this capability (a drop-in for the unit: " EXAMPLES "low-ports.conf)",
            key, (unsigned long long)port, (unsigned long long)first);
}

static void check_ports(const struct agent_config *c, const struct unit_sandbox *s, struct config_report *r)
{
    if (has_capability(s, CAP_NET_BIND_SERVICE))
        return;
    if (c->attest.enabled)
        check_port(r, config_line(&c->attest.head, "attest", "port"), "port", c->attest.port);
    if (c->ota.install)
        check_port(r, config_line(&c->ota.head, "ota", "port"), "port", c->ota.port);
    for (size_t i = 0; i < c->n_contexts; i++)
        if (c->contexts[i].options.direction == CMX_DIRECT)
            check_port(r, config_line(&c->contexts[i].head, "context", "local_port"), "local_port",
                       c->contexts[i].options.local_port);
}

static void check_isolation(const struct agent_config *c, const struct unit_sandbox *s, struct config_report *r)
{
    if (c->isolation.enabled && !has_capability(s, CAP_NET_ADMIN))
        config_error(r, config_line(&c->isolation.head, "isolation", "enabled"),
                     "enabled: only a process with CAP_NET_ADMIN can install the rules; give the agent this capability "
                     "(a drop-in for the unit: " EXAMPLES "isolation.conf)");
}

void unit_check(const struct agent_config *c, const struct unit_sandbox *s, struct config_report *r)
{
    check_paths(c, s, r);
    check_ports(c, s, r);
    check_isolation(c, s, r);
}
