#include "cli/gateway/gw_hooks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmxsafe/core/json.h"
#include "gateway/registry/event.h"
#include "gateway/server/gw_note.h"
#include "port/linux/child.h"

void gw_hooks_add(struct gw_hooks *h, const char *what, const char *who, const char *detail, int64_t at)
{
    struct gw_hook_event *x = &h->queue[(h->first + h->n) % GW_HOOKS_QUEUE];
    struct cmx_json j;
    struct cmx_buf b;
    const char *text;

    if (h->n == GW_HOOKS_QUEUE) {
        if (h->dropped++ == 0)
            gw_note("hooks.d: too many events are waiting; new events are dropped");
        return;
    }
    cmx_buf_init(&b, x->text, sizeof x->text - 1);
    cmx_json_init(&j, &b);
    cmx_json_object(&j, NULL);
    cmx_json_str(&j, "event", what);
    cmx_json_str(&j, "name", who);
    cmx_json_str(&j, "detail", detail);
    cmx_json_i64(&j, "at", at);
    cmx_json_end(&j);
    x->before = h->read;
    if (cmx_buf_put_u8(&b, '\n') == CMX_OK && cmx_buf_cstr(&b, &text) == CMX_OK)
        h->n++;
    else
        gw_note("hooks.d: the event '%s' of %s is too long and is dropped", what, who);
}

cmx_err gw_hooks_read_trail(struct gw_hooks *h, struct gw *g, struct cmx_why *e)
{
    struct gw_registry *r = &g->registry;
    sqlite3_stmt *stmt;
    cmx_err err;

    if (h->n > GW_HOOKS_QUEUE / 2)
        return CMX_OK;
    /* A registry that was restored from a backup has lower ids. */
    err = gw_sql_number(r, &h->read.event, e, "SELECT min(?, coalesce(max(id), 0)) FROM event WHERE id < ?", "ii",
                        h->read.event, GW_EVENT_UNSENT);
    if (err)
        return err;
    err = gw_sql_row(r, &stmt, e,
                     "SELECT id, at, what, who, detail FROM event WHERE id > ? AND id < ? ORDER BY id LIMIT 64", "ii",
                     h->read.event, GW_EVENT_UNSENT);
    while (!err) {
        gw_hooks_add(h, gw_sql_text(stmt, 2), gw_sql_text(stmt, 3), gw_sql_text(stmt, 4),
                     sqlite3_column_int64(stmt, 1));
        h->read.event = sqlite3_column_int64(stmt, 0);
        err = gw_sql_step(r, stmt, e);
    }
    return gw_sql_end(stmt, err);
}

/* Returns NULL if the entry is a program that only the gateway's owner may change. Otherwise returns why it is not run,
 * and what to do. */
static const char *hook_fault(int dir, const char *name)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
        return "it is not a regular file; copy the program into hooks.d";
    if (st.st_uid != geteuid())
        return "it belongs to another user; chown it";
    if (st.st_mode & 0022)
        return "it is writable by others; run 'chmod go-w' on it";
    return st.st_mode & 0100 ? NULL : "it is not executable; run 'chmod u+x' on it, or remove it";
}

/* Finds the next hook after `last`, in the order of the names. Returns false if there is none. */
static bool next_hook(const struct gw *g, const char *last, char out[NAME_MAX + 1])
{
    char path[GW_PATH_MAX];
    const struct dirent *entry;
    bool found = false;
    DIR *d = opendir(gw_path(g, "hooks.d", path));

    while (d && (entry = readdir(d)) != NULL)
        if (strcmp(entry->d_name, last) > 0 && (!found || strcmp(entry->d_name, out) < 0) && entry->d_name[0] != '.' &&
            !hook_fault(dirfd(d), entry->d_name)) {
            snprintf(out, NAME_MAX + 1, "%s", entry->d_name);
            found = true;
        }
    if (d)
        closedir(d);
    return found;
}

cmx_err gw_hooks_check(const struct gw *g, struct cmx_why *e)
{
    char path[GW_PATH_MAX];
    const struct dirent *entry;
    cmx_err err = CMX_OK;
    DIR *d = opendir(gw_path(g, "hooks.d", path));

    while (!err && d && (entry = readdir(d)) != NULL) {
        const char *fault = entry->d_name[0] == '.' ? NULL : hook_fault(dirfd(d), entry->d_name);

        if (fault)
            err = cmx_why_fail(e, CMX_EINVAL, "hooks.d/%.80s: %s", entry->d_name, fault);
    }
    if (d)
        closedir(d);
    return err;
}

_Noreturn static void exec_hook(const char *path, const char *name, pid_t parent, int in)
{
    alarm(GW_HOOK_MAX_S);
    if (cmx_child_end_with(parent, SIGKILL) && dup2(in, STDIN_FILENO) >= 0 &&
        close_range(STDERR_FILENO + 1, ~0U, 0) == 0)
        execl(path, path, (char *)NULL);
    gw_note("hooks.d/%s: can't be executed (%s); check its first line, such as #!/bin/sh", name, strerror(errno));
    _exit(127);
}

static pid_t start_hook(const struct gw *g, const char *name, const char *text)
{
    char folder[GW_PATH_MAX];
    char path[GW_PATH_MAX + NAME_MAX + 2];
    int fd[2];
    pid_t parent = getpid();
    pid_t pid;

    snprintf(path, sizeof path, "%s/%s", gw_path(g, "hooks.d", folder), name);
    if (pipe2(fd, O_CLOEXEC) != 0) {
        gw_note("hooks.d/%s: can't be started for an event (%s)", name, strerror(errno));
        return 0;
    }
    /* The text is smaller than a pipe's buffer, so a hook that does not read cannot block the worker. */
    if (write(fd[1], text, strlen(text)) < 0)
        gw_note("hooks.d/%s: the event can't be written", name);
    close(fd[1]);
    fflush(NULL);
    pid = cmx_child_fork();
    if (pid == 0)
        exec_hook(path, name, parent, fd[0]);
    close(fd[0]);
    if (pid < 0)
        gw_note("hooks.d/%s: can't be started for an event (%s)", name, strerror(errno));
    return pid > 0 ? pid : 0;
}

/* Reaps the program if it has ended, and logs a failure. */
static void reap_hook(struct gw_hook *hook)
{
    int status;

    if (!hook->pid || waitpid(hook->pid, &status, WNOHANG) != hook->pid)
        return;
    hook->pid = 0;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        gw_note("hooks.d/%s: took longer than %d s and was ended", hook->name, GW_HOOK_MAX_S);
    else if (WIFSIGNALED(status))
        gw_note("hooks.d/%s: ended by signal %d", hook->name, WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        gw_note("hooks.d/%s: failed with exit status %d", hook->name, WEXITSTATUS(status));
}

static void go_back(struct gw_position *p, const struct gw_position *before)
{
    if (before->journal < p->journal)
        p->journal = before->journal;
    if (before->event < p->event)
        p->event = before->event;
}

struct gw_position gw_hooks_handled(const struct gw_hooks *h)
{
    struct gw_position p = h->read;

    if (h->n)
        go_back(&p, &h->queue[h->first].before);
    for (size_t i = 0; i < GW_HOOKS_AT_ONCE; i++)
        if (h->running[i].pid)
            go_back(&p, &h->running[i].before);
    return p;
}

void gw_hooks_run(struct gw_hooks *h, const struct gw *g)
{
    for (size_t i = 0; i < GW_HOOKS_AT_ONCE; i++) {
        struct gw_hook *hook = &h->running[i];
        char name[NAME_MAX + 1] = "";

        reap_hook(hook);
        /* An event is finished once the last hook has received it. */
        while (!hook->pid && h->n && !next_hook(g, h->last, name)) {
            h->first = (h->first + 1) % GW_HOOKS_QUEUE;
            h->n--;
            h->last[0] = '\0';
        }
        if (hook->pid || !h->n)
            continue;
        snprintf(h->last, sizeof h->last, "%s", name);
        snprintf(hook->name, sizeof hook->name, "%s", name);
        hook->before = h->queue[h->first].before;
        hook->pid = start_hook(g, name, h->queue[h->first].text);
    }
}
