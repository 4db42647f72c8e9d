/* Confines sessions with Landlock and seccomp. The distribution's header may be older than the kernel, so this file
 * defines the numbers of later Landlock versions. Source: include/uapi/linux/landlock.h, landlock(7). */
#include "gateway/server/gw_confine.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FS_CHANGES                                                                                                     \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |                  \
     LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                        \
     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |                     \
     LANDLOCK_ACCESS_FS_MAKE_SYM)
#define FS_TRUNCATE (1ull << 14)   /* since ABI 3 */
#define SCOPE_ABSTRACT (1ull << 0) /* since ABI 6, like SCOPE_SIGNAL */
#define SCOPE_SIGNAL (1ull << 1)

struct ruleset_attr { /* struct landlock_ruleset_attr of ABI 6 */
    __u64 fs;
    __u64 net;
    __u64 scoped;
};

/* The filter refuses every system call of another architecture, because these calls have other numbers. */
#if defined __x86_64__
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#define CALLS_END 0x40000000u /* numbers from here on are calls of the x32 ABI */
#elif defined __aarch64__
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#define CALLS_END 0xffffffffu
#elif defined __riscv && __riscv_xlen == 64
#define NATIVE_ARCH AUDIT_ARCH_RISCV64
#define CALLS_END 0xffffffffu
#else
#define NATIVE_ARCH 0u /* no filter */
#define CALLS_END 0xffffffffu
#endif
#define ARGUMENT_LOW(n) (offsetof(struct seccomp_data, args[n]) + (__BYTE_ORDER == __BIG_ENDIAN ? 4 : 0))
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (__u32)(offset))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define REFUSED (SECCOMP_RET_ERRNO | EPERM)

/* Written by hand, because this one filter does not justify a dependency on libseccomp. */
static struct sock_filter lock_filter[] = {
    LOAD(offsetof(struct seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 0, 5),
    LOAD(offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, CALLS_END, 3, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fcntl, 0, 3),
    LOAD(ARGUMENT_LOW(1)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_OFD_SETLK, 0, 2),
    RETURN(REFUSED),
    RETURN(SECCOMP_RET_ALLOW),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_OFD_SETLKW, 0, 1),
    RETURN(REFUSED),
    RETURN(SECCOMP_RET_ALLOW),
};

static bool refuse_ofd_locks(void)
{
    const struct sock_fprog program = {.len = sizeof lock_filter / sizeof lock_filter[0], .filter = lock_filter};

    return NATIVE_ARCH == 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

int gw_confine_ruleset(void)
{
    static const char *const writable[] = {"/dev/null", "/dev/tty"};
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    struct ruleset_attr a = {.fs = FS_CHANGES | (abi >= 3 ? FS_TRUNCATE : 0),
                             .scoped = abi >= 6 ? SCOPE_ABSTRACT | SCOPE_SIGNAL : 0};
    int fd;

    if (abi < 1)
        return -1;
    fd = (int)syscall(SYS_landlock_create_ruleset, &a, abi >= 6 ? sizeof a : sizeof a.fs, 0);
    for (size_t i = 0; fd >= 0 && i < sizeof writable / sizeof writable[0]; i++) {
        struct landlock_path_beneath_attr rule = {.allowed_access = LANDLOCK_ACCESS_FS_WRITE_FILE,
                                                  .parent_fd = open(writable[i], O_PATH | O_CLOEXEC)};
        if (rule.parent_fd < 0)
            continue; /* a path that does not exist needs no rule */
        /* If this fails, sessions cannot write to this path. */
        (void)syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
        close(rule.parent_fd);
    }
    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

bool gw_confine(int ruleset)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0 &&
           refuse_ofd_locks();
}

bool gw_confine_self(void)
{
    int ruleset = gw_confine_ruleset();
    bool confined = ruleset < 0 || gw_confine(ruleset);

    if (ruleset >= 0)
        close(ruleset);
    return confined;
}
