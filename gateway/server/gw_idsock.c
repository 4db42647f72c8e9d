#include "gateway/server/gw_idsock.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "gateway/folder/gw_files.h"
#include "gateway/folder/gw_folder.h"

#define BASE "cmxsafe-gateway" /* cgroup of a gateway that root starts manually; a systemd unit has its own */
#define SESSIONS "sessions"
#define PROBE "cmxsafe-probe"
#define PROGRAMS_MAX 9
#define CGROUP_PATH_MAX 512
#define SESSION_NAME_MAX 24 /* a 64-bit number, NUL included */
#define REMOVE_TRIES 50     /* a killed process leaves its cgroup within milliseconds */
#define REMOVE_PAUSE_US 2000

_Static_assert(IDSOCK_PORTS_MAX >= GW_PORTS_MAX, "the map has room for all ports of a device");

/* The object file that clang compiled from idsock.bpf.c. */
extern const uint8_t gw_idsock_object[];
extern const uint8_t gw_idsock_object_end[];
__asm__(".section .rodata\n"
        ".balign 8\n"
        ".global gw_idsock_object\n"
        "gw_idsock_object:\n"
        ".incbin \"" GW_IDSOCK_OBJECT "\"\n"
        ".global gw_idsock_object_end\n"
        "gw_idsock_object_end:\n"
        ".byte 0\n"
        ".previous\n");

struct gw_idsock {
    struct bpf_object *object;
    struct bpf_link *links[PROGRAMS_MAX];
    size_t n_links;
    struct ring_buffer *ring;
    gw_idsock_event_fn fn;
    void *arg;
    int identities;
    int lost;
    int sessions; /* descriptor of the sessions' cgroup */
    bool untidy;  /* there may be cgroups of sessions that have ended */
    char path[CGROUP_PATH_MAX];
};

/* todo: what the operator can do; NULL: nothing. */
static cmx_err failed(struct cmx_why *e, const char *what, const char *todo)
{
    return cmx_why_fail(e, CMX_ENOTSUP, "%s (%s)%s%s", what, strerror(errno), todo ? "; " : "", todo ? todo : "");
}

/* ---- cgroups ---- */

static bool give(int dir, const char *name, uid_t uid, gid_t gid)
{
    return fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Kills the processes in the cgroup dir/name, and removes the cgroup. */
static void cgroup_remove(int dir, const char *name)
{
    char file[300];

    snprintf(file, sizeof file, "%.255s/cgroup.kill", name);
    (void)gw_file_put(dir, file, "1"); /* fails before Linux 5.14, but the process groups have been killed already */
    for (int i = 0; i < REMOVE_TRIES && unlinkat(dir, name, AT_REMOVEDIR) != 0 && errno == EBUSY; i++)
        usleep(REMOVE_PAUSE_US);
}

/* Removes all cgroups below fd, and kills their processes. */
static void remove_all(int fd)
{
    int copy = dup(fd);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    struct dirent *entry;

    if (!dir) {
        if (copy >= 0)
            close(copy);
        return;
    }
    rewinddir(dir);
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            cgroup_remove(fd, entry->d_name);
    closedir(dir);
}

/* Creates the cgroup of a server that root starts. The account owns this cgroup, so that the server can move its
 * children into cgroups below it. */
static cmx_err make_base(char *path, size_t cap, uid_t uid, gid_t gid, struct cmx_why *e)
{
    size_t len = strlen(path);
    int dir;
    bool ok;

    if ((size_t)snprintf(path + len, cap - len, "/" BASE) >= cap - len)
        return cmx_why_fail(e, CMX_ENOTSUP, "the path of this process's cgroup is too long");
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return failed(e, "the gateway's control group can't be created", NULL);
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ok = dir >= 0 && give(dir, ".", uid, gid) && give(dir, "cgroup.procs", uid, gid) &&
         gw_file_put(dir, "cgroup.procs", "0");
    if (!ok)
        (void)failed(e, "the gateway's control group can't be set up", NULL);
    if (dir >= 0)
        close(dir);
    return ok ? CMX_OK : CMX_ENOTSUP;
}

/* Sets s->path to this process's own cgroup. */
static cmx_err find_own(struct gw_idsock *s, struct cmx_why *e)
{
    const char *root = gw_cgroup_root();
    char own[256];

    if (!root[0] || !gw_cgroup_of("/proc/self/cgroup", own, sizeof own))
        return cmx_why_fail(
            e, CMX_ENOTSUP,
            "control groups (v2) are not mounted; run 'mount -t cgroup2 cgroup2 /sys/fs/cgroup', or mount them "
            "at /sys/fs/cgroup/unified beside version 1");
    snprintf(s->path, sizeof s->path, "%s%s", root, strcmp(own, "/") == 0 ? "" : own);
    return CMX_OK;
}

/* Opens the cgroup s->path/name, and creates it if it does not exist. */
static cmx_err open_sessions(struct gw_idsock *s, const char *name, struct cmx_why *e)
{
    size_t len = strlen(s->path);

    snprintf(s->path + len, sizeof s->path - len, "/%s", name);
    if (mkdir(s->path, 0755) != 0 && errno != EEXIST)
        return failed(e, "the sessions' control group can't be created", "the unit needs Delegate=yes");
    s->sessions = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return s->sessions >= 0 ? CMX_OK : failed(e, "the sessions' control group can't be opened", NULL);
}

/* Makes the cgroup `name` for sessions. It belongs to the account, unless uid is (uid_t)-1. */
static cmx_err make_sessions(struct gw_idsock *s, const char *name, uid_t uid, gid_t gid, struct cmx_why *e)
{
    bool given = geteuid() == 0 && uid != (uid_t)-1;
    cmx_err err = find_own(s, e);

    if (!err && given)
        err = make_base(s->path, sizeof s->path, uid, gid, e);
    if (!err)
        err = open_sessions(s, name, e);
    if (err)
        return err;
    remove_all(s->sessions);
    if (given && !give(s->sessions, ".", uid, gid))
        return failed(e, "the sessions' control group can't be given to the account", NULL);
    return CMX_OK;
}

/* ---- programs ---- */

static int on_event(void *arg, void *data, size_t len)
{
    struct gw_idsock *s = arg;

    if (len >= sizeof(struct idsock_event) && s->fn)
        s->fn(s->arg, data);
    return 0;
}

static int keep_quiet(enum libbpf_print_level level, const char *format, va_list ap)
{
    (void)level;
    (void)format;
    (void)ap;
    return 0;
}

static cmx_err load_programs(struct gw_idsock *s, struct cmx_why *e)
{
    LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "cmxsafe_idsock");
    struct bpf_program *p;

    libbpf_set_print(keep_quiet);
    s->object = bpf_object__open_mem(gw_idsock_object, (size_t)(gw_idsock_object_end - gw_idsock_object), &opts);
    if (!s->object)
        return failed(e, "the identity programs can't be read", NULL);
    if (bpf_object__load(s->object) != 0)
        return failed(e, "the kernel refused the identity programs",
                      "use Linux 5.19 or later with CONFIG_CGROUP_BPF, and give the gateway CAP_BPF and CAP_NET_ADMIN");
    bpf_object__for_each_program(p, s->object)
    {
        struct bpf_link *link = s->n_links < PROGRAMS_MAX ? bpf_program__attach_cgroup(p, s->sessions) : NULL;
        if (!link)
            return failed(e, "an identity program can't be attached to the sessions' control group",
                          "run 'bpftool cgroup tree', and find the program in a parent group that prevents this");
        s->links[s->n_links++] = link;
    }
    s->identities = bpf_object__find_map_fd_by_name(s->object, "identities");
    s->lost = bpf_object__find_map_fd_by_name(s->object, "lost");
    s->ring = ring_buffer__new(bpf_object__find_map_fd_by_name(s->object, "events"), on_event, s, NULL);
    return s->ring && s->identities >= 0 ? CMX_OK : failed(e, "the identity programs' maps can't be used", NULL);
}

static cmx_err idsock_open(struct gw_idsock **out, const char *name, uid_t uid, gid_t gid, struct cmx_why *e)
{
    struct gw_idsock *s = cmx_mem_alloc(sizeof *s);
    cmx_err err;

    *out = NULL;
    if (!s)
        return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    s->sessions = -1;
    err = make_sessions(s, name, uid, gid, e);
    if (!err)
        err = load_programs(s, e);
    if (err)
        gw_idsock_close(s);
    else
        *out = s;
    return err;
}

cmx_err gw_idsock_open(struct gw_idsock **out, uid_t uid, gid_t gid, struct cmx_why *e)
{
    return idsock_open(out, SESSIONS, uid, gid, e);
}

cmx_err gw_idsock_probe(struct cmx_why *e)
{
    struct gw_idsock *s;
    cmx_err err = idsock_open(&s, PROBE, (uid_t)-1, (gid_t)-1, e);

    gw_idsock_close(s);
    return err;
}

void gw_idsock_close(struct gw_idsock *s)
{
    if (!s)
        return;
    if (s->sessions >= 0) {
        remove_all(s->sessions);
        close(s->sessions);
        rmdir(s->path);
    }
    ring_buffer__free(s->ring);
    for (size_t i = 0; i < s->n_links; i++)
        bpf_link__destroy(s->links[i]);
    bpf_object__close(s->object);
    cmx_mem_free(s);
}

cmx_err gw_idsock_check(const struct gw_idsock *s, struct cmx_why *e)
{
    for (size_t i = 0; i < s->n_links; i++) {
        struct bpf_link_info info = {0};
        __u32 len = sizeof info;

        if (bpf_obj_get_info_by_fd(bpf_link__fd(s->links[i]), &info, &len) != 0 || info.cgroup.cgroup_id == 0)
            return cmx_why_fail(e, CMX_ECLOSED, "an identity program was detached from the sessions' control group");
    }
    return CMX_OK;
}

/* ---- sessions ---- */

static void session_name(uint64_t number, char out[SESSION_NAME_MAX])
{
    snprintf(out, SESSION_NAME_MAX, "%llu", (unsigned long long)number);
}

/* In a control group's file system the inode number is the group's id. */
static bool cgroup_id(const struct gw_idsock *s, uint64_t number, uint64_t *id)
{
    char name[SESSION_NAME_MAX];
    struct stat st;

    session_name(number, name);
    if (fstatat(s->sessions, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return false;
    *id = st.st_ino;
    return true;
}

cmx_err gw_idsock_session_add(struct gw_idsock *s, uint64_t number, int *procs, struct cmx_why *e)
{
    char file[48];
    char name[SESSION_NAME_MAX];

    session_name(number, name);
    snprintf(file, sizeof file, "%s/cgroup.procs", name);
    if (mkdirat(s->sessions, name, 0755) != 0)
        return cmx_why_fail(e, CMX_EIO, "the session's control group can't be created (%s)", strerror(errno));
    *procs = openat(s->sessions, file, O_WRONLY | O_CLOEXEC);
    if (*procs >= 0)
        return CMX_OK;
    unlinkat(s->sessions, name, AT_REMOVEDIR);
    return cmx_why_fail(e, CMX_EIO, "the session's control group can't be used (%s)", strerror(errno));
}

cmx_err gw_idsock_session_set(struct gw_idsock *s, uint64_t number, const struct gw_device *d, struct cmx_why *e)
{
    struct idsock_identity identity = {.n_ports = (__u32)d->n_ports};
    uint64_t id;

    if (inet_pton(AF_INET6, d->address, identity.address) != 1)
        return cmx_why_fail(e, CMX_EFORMAT, "%s has no address", d->name);
    for (size_t i = 0; i < d->n_ports && i < IDSOCK_PORTS_MAX; i++)
        identity.ports[i] = d->ports[i];
    if (!cgroup_id(s, number, &id) || bpf_map_update_elem(s->identities, &id, &identity, BPF_ANY) != 0)
        return cmx_why_fail(e, CMX_EIO, "the session's identity can't be set (%s)", strerror(errno));
    return CMX_OK;
}

void gw_idsock_session_end(struct gw_idsock *s, uint64_t number)
{
    char file[48];
    uint64_t id;

    if (!cgroup_id(s, number, &id))
        return;
    (void)bpf_map_delete_elem(s->identities, &id); /* fails only when there is no entry */
    snprintf(file, sizeof file, "%llu/cgroup.kill", (unsigned long long)number);
    (void)gw_file_put(s->sessions, file, "1"); /* fails before Linux 5.14; the caller also kills the process group */
}

void gw_idsock_session_remove(struct gw_idsock *s, uint64_t number)
{
    char name[SESSION_NAME_MAX];

    gw_idsock_session_end(s, number);
    session_name(number, name);
    if (unlinkat(s->sessions, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        s->untidy = true; /* a process in the cgroup has not ended yet; gw_idsock_tidy tries again */
}

void gw_idsock_tidy(struct gw_idsock *s, gw_idsock_alive_fn alive, void *arg)
{
    int copy = s->untidy ? openat(s->sessions, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    struct dirent *entry;
    uint64_t number;

    if (!dir)
        return; /* nothing to do, or no descriptor is free: the next call tries again */
    s->untidy = false;
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_type == DT_DIR && cmx_text_u64(entry->d_name, 1, UINT64_MAX, &number) == CMX_OK &&
            !alive(arg, number))
            gw_idsock_session_remove(s, number);
    closedir(dir);
}

void gw_idsock_forget_base(void)
{
    char path[CGROUP_PATH_MAX];
    char own[256];
    int base;

    if (!gw_cgroup_of("/proc/self/cgroup", own, sizeof own))
        return;
    snprintf(path, sizeof path, "%s%s/" BASE, gw_cgroup_root(), strcmp(own, "/") == 0 ? "" : own);
    base = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (base < 0)
        return;
    (void)gw_file_put(base, "cgroup.kill", "1"); /* ends processes that a killed server did not end */
    close(base);
    base = open(strncat(path, "/" SESSIONS, sizeof path - strlen(path) - 1), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (base >= 0) {
        remove_all(base);
        close(base);
        rmdir(path);
    }
    *strrchr(path, '/') = '\0';
    rmdir(path);
}

uint64_t gw_idsock_session_of(const struct gw_idsock *s, pid_t pid)
{
    char file[64];
    char path[CGROUP_PATH_MAX];
    const char *own = strstr(s->path + strlen(gw_cgroup_root()), "/");
    uint64_t number = 0;
    size_t len;

    snprintf(file, sizeof file, "/proc/%d/cgroup", (int)pid);
    if (!own || !gw_cgroup_of(file, path, sizeof path))
        return 0;
    len = strlen(own);
    if (strncmp(path, own, len) != 0 || path[len] != '/')
        return 0;
    return cmx_text_u64(path + len + 1, 1, UINT64_MAX, &number) == CMX_OK ? number : 0;
}

int gw_idsock_events_fd(const struct gw_idsock *s)
{
    return ring_buffer__epoll_fd(s->ring);
}

uint64_t gw_idsock_events(struct gw_idsock *s, gw_idsock_event_fn fn, void *arg)
{
    uint64_t lost = 0;
    __u32 zero = 0;

    s->fn = fn;
    s->arg = arg;
    (void)ring_buffer__consume(s->ring); /* on_event cannot fail */
    s->fn = NULL;
    return bpf_map_lookup_elem(s->lost, &zero, &lost) == 0 ? lost : 0;
}
