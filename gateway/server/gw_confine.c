/* Confines sessions with Landlock. The distribution's header may be older than the kernel, so this file defines the
 * numbers of later Landlock versions. Source: include/uapi/linux/landlock.h, landlock(7). */
#include "gateway/server/gw_confine.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FS_CHANGES                                                                                                     \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |                  \
     LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                        \
     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |                     \
     LANDLOCK_ACCESS_FS_MAKE_SYM)
#define FS_TRUNCATE (1ull << 14)   /* ABI 3 */
#define SCOPE_ABSTRACT (1ull << 0) /* ABI 6 */
#define SCOPE_SIGNAL (1ull << 1)

struct ruleset_attr { /* struct landlock_ruleset_attr of ABI 6 */
    __u64 fs;
    __u64 net;
    __u64 scoped;
};

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
        /* If this fails, the process may write less than intended. */
        (void)syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
        close(rule.parent_fd);
    }
    if (fd >= 0)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

bool gw_confine(int ruleset)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
}
