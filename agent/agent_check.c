#include "agent/agent_check.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent_attest.h"
#include "agent/config/config_table.h"
#include "agent/config/unit_check.h"
#include "agent/credentials.h"
#include "agent/isolation/agent_isolation.h"
#include "agent/ota/agent_ota.h"
#include "agent/wiring.h"
#include "port/linux/child.h"
#include "port/linux/cli.h"
#include "port/linux/file_probe.h"

static void print_line(void *arg, const char *text)
{
    const bool *journal = arg;

    fprintf(stderr, "%s%s\n", *journal ? "<3>" : "", text);
}

/* Without `restart` an update takes effect at once and is never on trial (docs/OTA.md), so `confirm` and `rollback`
 * never run. */
static void warn_of_unused_hooks(const struct agent_config *c, const char *file, bool journal)
{
    if (c->ota.install && !c->ota.restart && (c->ota.confirm || c->ota.rollback))
        fprintf(stderr,
                "%scmxsafe: %s: [ota] without restart, the agent never runs %s; set restart, or remove the hooks\n",
                journal ? "<4>" : "", file,
                !c->ota.rollback  ? "confirm"
                : !c->ota.confirm ? "rollback"
                                  : "confirm and rollback");
}

/* Reports each file whose file system does not answer, because reading it could block for ever. section: only the files
 * of this section; NULL: all files. */
static void check_answers(const struct agent_config *c, const char *section, struct config_report *r)
{
    for (const struct config_key *k = config_keys; k < config_keys + config_n_keys; k++) {
        const size_t offset = config_section_find(k->section, strlen(k->section))->offset;
        const void *values = (const char *)c + offset;
        const char *path;

        if (k->type != CONFIG_PATH || (section && strcmp(k->section, section) != 0))
            continue;
        path = *(char *const *)((const char *)values + k->offset);
        if (path && !cmx_file_answers(path, FILE_ANSWER_MS))
            config_error(r, config_line(values, k->section, k->key), "%s %s: its file system does not answer", k->key,
                         path);
    }
}

struct agent_config *agent_check_load(const char *file, bool journal)
{
    struct config_report report = {.file = file, .line = print_line, .arg = &journal};
    struct agent_config *c = NULL;
    struct cmx_why why = {""};

    if (!cmx_file_answers(file, FILE_ANSWER_MS))
        config_error(&report, 0, "its file system does not answer");
    else if (config_read_text(file, &report, &c) == CMX_OK)
        check_answers(c, "gateway", &report);
    if (c && !report.errors && config_read_files(c, &report) == CMX_OK) {
        if (credentials_check(c, &why) == CMX_OK && wiring_check(c, &why) == CMX_OK) {
            warn_of_unused_hooks(c, file, journal);
            return c;
        }
        config_error(&report, 0, "%s", why.text);
    }
    config_free(c);
    return NULL;
}

static int check_here(const char *file, const struct unit_sandbox *unit)
{
    bool journal = false;
    struct config_report report = {.file = file, .line = print_line, .arg = &journal};
    struct agent_config *c = agent_check_load(file, false);
    struct cmx_why why = {""};

    if (!c)
        return 1;
    check_answers(c, NULL, &report);
    if (!report.errors && ota_check_files(c, &why) != CMX_OK)
        config_error(&report, 0, "%s", why.text);
    if (!report.errors)
        unit_check(c, unit, &report);
    if (!report.errors && attest_check_files(c, &why) != CMX_OK)
        config_error(&report, 0, "%s", why.text);
    if (isolation_check_users(c, &why) != CMX_OK || isolation_check_names(c, &why) != CMX_OK)
        config_error(&report, 0, "%s", why.text);
    if (!report.errors)
        printf("%s: ok: gateway %s port %u as %s, %zu pinned host key%s, %zu context%s\n", file,
               c->gateway.options.host, (unsigned)c->gateway.options.port, c->gateway.options.user, c->pins.n,
               c->pins.n == 1 ? "" : "s", c->n_contexts, c->n_contexts == 1 ? "" : "s");
    config_free(c);
    return report.errors != 0;
}

/* Runs the check in a child process as the unit's user, because root can read files that the agent cannot. */
static int check_as_unit(const char *file, const struct unit_sandbox *unit, const struct passwd *user)
{
    const pid_t pid = cmx_child_fork();

    if (pid == 0) {
        int rc = 1;

        if (initgroups(user->pw_name, user->pw_gid) == 0 && setgid(user->pw_gid) == 0 && setuid(user->pw_uid) == 0)
            rc = check_here(file, unit);
        else
            fprintf(stderr, "cmxsafe: cannot check as user %s: %s\n", user->pw_name, strerror(errno));
        _exit(cli_end(rc));
    }
    if (pid < 0)
        return cli_fail("fork", strerror(errno), "end some processes");
    return cmx_child_wait(pid);
}

int agent_check(const char *config_file, bool as_unit)
{
    const bool units = as_unit || strcmp(config_file, CONFIG_FILE_DEFAULT) == 0;
    struct unit_sandbox unit;
    const struct passwd *user = NULL;
    const char *why = NULL;

    if (geteuid() != 0)
        why = "only root can check as another user";
    else if (!unit_sandbox_read(&unit, unit_files, unit_drop_ins))
        why = "there is no cmxsafed.service that names a user";
    else if ((user = getpwnam(unit.user)) == NULL)
        why = "the user of cmxsafed.service does not exist";
    if (as_unit && why)
        return cli_fail("--unit", why, "leave out --unit to check as the current user");
    return units && user ? check_as_unit(config_file, &unit, user) : check_here(config_file, NULL);
}
