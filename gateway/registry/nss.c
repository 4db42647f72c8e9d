#include "gateway/registry/nss.h"

#include <grp.h>
#include <nss.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"
#include "port/linux/child.h"

/* If one look-up or all look-ups together take longer than this, the name services count as hanging. A command waits
 * longer than this for the gateway's lock. */
#define LOOK_UP_MS 3000
#define TOGETHER_MS 20000
#define NAMES_MAX ((size_t)16 << 20)
#define KINDS 2
#define ID_TEXT_MAX 24

struct question {
    gw_nss_kind kind;
    bool all;
    char name[GW_CONSUMER_MAX];
};

/* The names follow: `first`, then the members, each with its NUL. */
struct answer {
    long id, gid;
    size_t len;
};

static struct {
    pid_t pid;   /* the child; 0: none */
    pid_t owner; /* the process that started the child */
    int fd;
    bool only_files; /* a name service hangs */
    uint64_t spent_ms;
} child;

/* ---- in the child ---- */

static void put_name(FILE *f, const char *name)
{
    fwrite(name, 1, strlen(name) + 1, f);
}

/* Writes the name of the account with this id. A name that is a number would be read as another id, so the id replaces
 * it. */
static void put_account(FILE *f, const char *name, long id)
{
    char number[ID_TEXT_MAX];
    uint64_t ignored;

    snprintf(number, sizeof number, "%ld", id);
    put_name(f, gw_nss_is_number(name, &ignored) ? number : name);
}

/* Writes a member of a group. Groups list members by name, so "1000" is an account with this name, not a uid. */
static void put_member(FILE *f, const char *name)
{
    uint64_t ignored;
    bool number = gw_nss_is_number(name, &ignored);
    const struct passwd *pw = number ? getpwnam(name) : NULL;

    if (pw)
        put_account(f, name, (long)pw->pw_uid);
    else if (name[0] && !number)
        put_name(f, name);
}

/* Writes the first name of the uid. Two names of one uid thus become one party. This is necessary: the packet filter
 * distinguishes sockets by ids only, and nft refuses rules that give an id two identities. */
static void find_user(const char *name, struct answer *a, FILE *f)
{
    uint64_t number;
    bool by_number = gw_nss_is_number(name, &number);
    const struct passwd *pw = by_number ? NULL : getpwnam(name);

    if (pw || by_number) {
        a->id = pw ? (long)pw->pw_uid : (long)number;
        pw = getpwuid((uid_t)a->id);
        a->gid = pw ? (long)pw->pw_gid : -1;
    }
    if (pw)
        put_account(f, pw->pw_name, a->id);
    else
        put_name(f, name);
}

/* The members are those of the group with this name, which may share its gid with another group. */
static void find_group(const char *name, struct answer *a, FILE *f)
{
    uint64_t number;
    bool by_number = gw_nss_is_number(name, &number);
    const struct group *gr = by_number ? getgrgid((gid_t)number) : getgrnam(name);
    char *members = NULL;
    size_t len = 0;
    FILE *list = open_memstream(&members, &len);

    if (!list)
        _exit(EXIT_FAILURE);
    for (char **m = gr ? gr->gr_mem : NULL; m && *m; m++)
        put_member(list, *m);
    a->id = gr ? (long)gr->gr_gid : by_number ? (long)number : -1;
    gr = gr ? getgrgid(gr->gr_gid) : NULL;
    if (gr)
        put_account(f, gr->gr_name, a->id);
    else
        put_name(f, name);
    if (fclose(list) != 0)
        _exit(EXIT_FAILURE);
    fwrite(members, 1, len, f);
    free(members); /* allocated by open_memstream */
}

static void list_users(FILE *f)
{
    const struct passwd *pw;

    put_name(f, "");
    setpwent();
    while ((pw = getpwent()) != NULL)
        if (pw->pw_name[0])
            put_account(f, pw->pw_name, (long)pw->pw_uid);
    endpwent();
}

static bool write_all(int fd, const void *bytes, size_t len)
{
    for (const char *p = bytes; len;) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool answer_question(int fd, const struct question *q)
{
    struct answer a = {.id = -1, .gid = -1};
    char *names = NULL;
    FILE *f = open_memstream(&names, &a.len);
    bool ok;

    if (!f)
        return false;
    if (q->all)
        list_users(f);
    else if (q->kind == GW_NSS_USER)
        find_user(q->name, &a, f);
    else
        find_group(q->name, &a, f);
    ok = fclose(f) == 0 && write_all(fd, &a, sizeof a) && write_all(fd, names, a.len);
    free(names); /* allocated by open_memstream */
    return ok;
}

/* Answers the questions that arrive on `fd`. First closes every other descriptor above stderr: one of them may be the
 * gateway's lock, which this child must not hold. */
_Noreturn static void child_run(int fd, pid_t parent)
{
    struct question q;
    bool ok = cmx_child_end_with(parent, SIGKILL);

    if (fd > STDERR_FILENO + 1)
        (void)close_range(STDERR_FILENO + 1, (unsigned)fd - 1, 0);
    (void)close_range((unsigned)fd + 1, ~0U, 0);
    if (child.only_files)
        ok = ok && __nss_configure_lookup("passwd", "files") == 0 && __nss_configure_lookup("group", "files") == 0;
    while (ok && recv(fd, &q, sizeof q, MSG_WAITALL) == (ssize_t)sizeof q)
        ok = answer_question(fd, &q);
    _exit(EXIT_SUCCESS);
}

/* ---- in the parent ---- */

static void child_end(void)
{
    if (child.pid <= 0)
        return;
    close(child.fd);
    if (child.owner == getpid()) { /* otherwise the child belongs to the process that forked this one */
        kill(child.pid, SIGKILL);
        (void)cmx_child_wait(child.pid);
    }
    child.pid = 0;
}

static bool child_start(void)
{
    pid_t self = getpid();
    int fd[2];

    if (child.pid > 0 && child.owner == self)
        return true;
    child_end();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) != 0)
        return false;
    child.pid = cmx_child_fork();
    if (child.pid == 0)
        child_run(fd[1], self);
    close(fd[1]);
    if (child.pid < 0)
        close(fd[0]);
    child.fd = fd[0];
    child.owner = self;
    return child.pid > 0;
}

static bool receive(void *out, size_t len, uint64_t end_ms)
{
    for (char *p = out; len;) {
        struct pollfd ready = {.fd = child.fd, .events = POLLIN};
        uint64_t now = cmx_port_now_ms();
        ssize_t n;

        if (now >= end_ms)
            return false;
        if (poll(&ready, 1, (int)(end_ms - now)) <= 0)
            continue; /* a signal arrived, or the time is over */
        n = recv(child.fd, p, len, 0);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* Returns the names; free them with cmx_mem_free. NULL: no answer in time. */
static char *ask(const struct question *q, struct answer *a)
{
    uint64_t begin_ms = cmx_port_now_ms();
    uint64_t end_ms = begin_ms + LOOK_UP_MS;
    char *names = NULL;
    bool ok = child_start() && write_all(child.fd, q, sizeof *q) && receive(a, sizeof *a, end_ms) && a->len > 0 &&
              a->len <= NAMES_MAX && (names = cmx_mem_alloc(a->len + 1)) != NULL && receive(names, a->len, end_ms);

    child.spent_ms += cmx_port_now_ms() - begin_ms;
    if (!ok || (!child.only_files && child.spent_ms >= TOGETHER_MS)) {
        child_end();
        child.only_files = true; /* for the next child */
    }
    if (ok) {
        names[a->len] = '\0';
        return names;
    }
    cmx_mem_free(names);
    return NULL;
}

static const struct gw_nss_entry *look_up(const struct question *q)
{
    static struct gw_nss_entry entries[KINDS];
    static char *owned[KINDS];
    static char unknown[KINDS][GW_CONSUMER_MAX + 1];
    struct gw_nss_entry *x = &entries[q->kind];
    struct answer a = {.id = -1, .gid = -1};
    char *names = ask(q, &a);

    if (!names) /* ask the files only */
        names = ask(q, &a);
    cmx_mem_free(owned[q->kind]);
    owned[q->kind] = names;
    if (!names) { /* the list of members is empty: another NUL follows the name */
        memcpy(unknown[q->kind], q->name, sizeof q->name);
        names = unknown[q->kind];
        a = (struct answer){.id = -1, .gid = -1};
    }
    *x = (struct gw_nss_entry){.id = a.id, .gid = a.gid, .first = names, .members = gw_nss_next(names)};
    return x;
}

/* ---- the public functions ---- */

bool gw_nss_is_number(const char *name, uint64_t *id)
{
    bool canonical = name[0] != '0' || name[1] == '\0';

    return canonical && cmx_text_u64(name, 0, 0xfffffffe, id) == CMX_OK;
}

const struct gw_nss_entry *gw_nss_find(gw_nss_kind kind, const char *name)
{
    struct question q = {.kind = kind};

    snprintf(q.name, sizeof q.name, "%s", name);
    return look_up(&q);
}

const struct gw_nss_entry *gw_nss_users(void)
{
    return look_up(&(struct question){.kind = GW_NSS_USER, .all = true});
}

const char *gw_nss_next(const char *name)
{
    return name + strlen(name) + 1;
}

void gw_nss_end(void)
{
    child_end();
    child.only_files = false;
    child.spent_ms = 0;
}
