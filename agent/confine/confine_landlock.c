/* confine_landlock.c - limits access to files and TCP ports with Landlock. The distribution's header may be older than
 * the kernel, so this file defines the numbers of later versions. Source: include/uapi/linux/landlock.h, landlock(7).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/confine/confine.h"

#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_WRITE                                                                                                       \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |                    \
     LANDLOCK_ACCESS_FS_MAKE_SOCK | FS_TRUNCATE)
#define FS_V1 ((1ull << 13) - 1) /* ABI 1: LANDLOCK_ACCESS_FS_EXECUTE to LANDLOCK_ACCESS_FS_MAKE_SYM */
#define FS_REFER (1ull << 13)    /* since ABI 2 */
#define FS_TRUNCATE (1ull << 14) /* since ABI 3 */
#define FS_IOCTL (1ull << 15)    /* since ABI 5 */
#define FS_OF_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)
#define NET_BIND (1ull << 0) /* since ABI 4 */
#define NET_CONNECT (1ull << 1)
#define SCOPE_ABSTRACT (1ull << 0) /* since ABI 6 */
#define SCOPE_SIGNAL (1ull << 1)
#define RULE_NET_PORT 2

struct ruleset_attr { /* struct landlock_ruleset_attr of ABI 6 */
    __u64 fs;
    __u64 net;
    __u64 scoped;
};

struct net_attr { /* struct landlock_net_port_attr */
    __u64 access;
    __u64 port;
};

static long create_ruleset(const struct ruleset_attr *a, size_t size, __u32 flags)
{
    return syscall(SYS_landlock_create_ruleset, a, size, flags);
}

static int abi_version(void)
{
    return (int)create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static struct ruleset_attr handled(const struct confine_plan *p, int abi)
{
    struct ruleset_attr a = {.fs = FS_V1};

    if (abi >= 2)
        a.fs |= FS_REFER;
    if (abi >= 3)
        a.fs |= FS_TRUNCATE;
    if (abi >= 4 && p->limit_ports)
        a.net = NET_BIND | NET_CONNECT;
    if (abi >= 5)
        a.fs |= FS_IOCTL;
    if (abi >= 6)
        a.scoped = SCOPE_SIGNAL | (p->abstract_sockets ? 0 : SCOPE_ABSTRACT);
    return a;
}

static size_t attr_size(int abi)
{
    return abi >= 6 ? sizeof(struct ruleset_attr) : abi >= 4 ? 16 : 8;
}

/* Permits the access to the path. A path that cannot be opened, for example because it does not exist, gets no rule. */
static cmx_err allow_path(int ruleset, const char *path, __u64 access)
{
    struct landlock_path_beneath_attr a = {.allowed_access = access};
    struct stat st;
    long rc;

    a.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (a.parent_fd < 0)
        return CMX_OK;
    if (fstat(a.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
        a.allowed_access &= FS_OF_FILES;
    rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &a, 0);
    close(a.parent_fd);
    return rc == 0 ? CMX_OK : CMX_EIO;
}

static cmx_err allow_ports(int ruleset, const uint16_t *ports, size_t n, __u64 access)
{
    for (size_t i = 0; i < n; i++) {
        struct net_attr a = {.access = access, .port = ports[i]};

        if (syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &a, 0) != 0)
            return CMX_EIO;
    }
    return CMX_OK;
}

static cmx_err add_rules(const struct confine_plan *p, int ruleset, const struct ruleset_attr *a)
{
    static const uint16_t any_free = 0; /* a program binds to port 0 to let the kernel choose a free port */
    cmx_err err = CMX_OK;

    for (size_t i = 0; i < p->n_read && !err; i++)
        err = allow_path(ruleset, p->read[i], FS_READ & a->fs);
    for (size_t i = 0; i < p->n_write && !err; i++)
        err = allow_path(ruleset, p->write[i], (FS_READ | FS_WRITE) & a->fs);
    if (!err && a->net)
        err = allow_ports(ruleset, &any_free, 1, NET_BIND);
    if (!err && a->net)
        err = allow_ports(ruleset, p->bind, p->n_bind, NET_BIND);
    if (!err && a->net)
        err = allow_ports(ruleset, p->connect, p->n_connect, NET_CONNECT);
    return err;
}

static void say_ports(const struct confine_plan *p, int abi, char *out, size_t cap)
{
    if (!p->limit_ports)
        snprintf(out, cap, "any port: confine_ports = any");
    else if (abi < 4)
        snprintf(out, cap, "the kernel's Landlock cannot limit ports (version %d)", abi);
    else
        snprintf(out, cap, "TCP connect to %zu and bind to %zu ports", p->n_connect, p->n_bind);
}

const char *confine_landlock_gaps(int abi)
{
    return abi >= 6   ? ""
           : abi >= 5 ? "; no limit on signals, abstract sockets"
           : abi >= 3 ? "; no limit on ioctl, signals, abstract sockets"
                      : "; no limit on truncate, ioctl, signals, abstract sockets";
}

cmx_err confine_landlock(const struct confine_plan *p, bool *ports, char *detail, size_t cap, char *ports_detail,
                         size_t ports_cap)
{
    int abi = abi_version();
    struct ruleset_attr a;
    cmx_err err;
    int fd;

    *ports = false;
    say_ports(p, abi > 0 ? abi : 0, ports_detail, ports_cap);
    if (abi < 1) {
        snprintf(detail, cap, "the kernel has no Landlock: %s", strerror(errno));
        return CMX_ENOTSUP;
    }
    a = handled(p, abi);
    fd = (int)create_ruleset(&a, attr_size(abi), 0);
    if (fd < 0) {
        snprintf(detail, cap, "no ruleset: %s", strerror(errno));
        return CMX_ENOTSUP;
    }
    err = add_rules(p, fd, &a);
    if (!err && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(SYS_landlock_restrict_self, fd, 0) != 0))
        err = CMX_ENOTSUP;
    if (err)
        snprintf(detail, cap, "not applied: %s", strerror(errno));
    else
        snprintf(detail, cap, "version %d, %zu paths to read, %zu to write%s", abi, p->n_read, p->n_write,
                 confine_landlock_gaps(abi));
    close(fd);
    *ports = !err && a.net != 0;
    return err;
}
