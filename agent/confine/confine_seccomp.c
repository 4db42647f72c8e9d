/* confine_seccomp.c - limits system calls with libseccomp. A call that is not listed fails with ENOSYS, so that the C
 * library falls back to an older call. A call that only an attacker would make kills the process. */
#include <asm/termbits.h>
#include <errno.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "agent/confine/confine.h"
#include "port/linux/library.h"

#define FUNCTIONS(X)                                                                                                   \
    X(seccomp_init)                                                                                                    \
    X(seccomp_release)                                                                                                 \
    X(seccomp_load)                                                                                                    \
    X(seccomp_attr_set)                                                                                                \
    X(seccomp_rule_add)                                                                                                \
    X(seccomp_rule_add_array)                                                                                          \
    X(seccomp_syscall_resolve_name)

CMX_LIBRARY(library, lib, SECCOMP, FUNCTIONS);

/* Names of system calls, separated by blanks. */
static const char allowed[] =
    /* descriptors */
    "read readv pread64 preadv write writev pwrite64 pwritev close close_range dup dup2 dup3 fcntl fcntl64 poll "
    "ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create1 epoll_ctl epoll_wait epoll_pwait "
    "epoll_pwait2 eventfd2 signalfd4 timerfd_create timerfd_settime timerfd_settime64 timerfd_gettime "
    "timerfd_gettime64 pipe2 "
    /* Calls on files; Landlock limits which files. */
    "open openat stat stat64 fstat fstat64 lstat lstat64 newfstatat fstatat64 statx access faccessat faccessat2 "
    "readlink readlinkat getdents64 lseek _llseek unlink unlinkat rename renameat renameat2 fsync fdatasync "
    "ftruncate ftruncate64 flock umask fchmod getcwd statfs statfs64 fstatfs fstatfs64 fadvise64 "
    /* memory */
    "munmap mremap madvise brk mlock munlock "
    /* sockets */
    "connect bind listen accept accept4 getsockname getpeername getsockopt setsockopt send sendto sendmsg "
    "sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64 shutdown socketpair sendfile sendfile64 "
    /* threads, time, the process itself; threads that compute attestation lower their priority with setpriority */
    "exit exit_group set_robust_list rseq set_tid_address futex futex_time64 gettid getpid getppid getuid "
    "getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 sched_yield setpriority sched_getaffinity "
    "nanosleep clock_nanosleep clock_nanosleep_time64 clock_gettime clock_gettime64 clock_getres "
    "clock_getres_time64 gettimeofday time getrusage sysinfo uname prlimit64 getrlimit ugetrlimit getrandom "
    "restart_syscall rt_sigaction rt_sigprocmask rt_sigreturn rt_sigtimedwait sigreturn sigaltstack tgkill prctl "
    "membarrier arch_prctl set_tls cacheflush riscv_flush_icache ";

static const char deadly[] =
    "execve execveat process_vm_readv process_vm_writev pidfd_getfd init_module finit_module delete_module "
    "kexec_load kexec_file_load bpf mount umount2 pivot_root chroot setns unshare keyctl add_key request_key "
    "userfaultfd perf_event_open open_by_handle_at io_uring_setup swapon reboot setuid setgid setresuid setresgid "
    "setgroups ioperm iopl personality acct move_mount ";

static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
static const unsigned long requests[] = {FIONREAD,     FIONBIO,       TCGETS,       SIOCOUTQ,
                                         SIOCGIFINDEX, SIOCGIFNAME,   SIOCGIFFLAGS, SIOCGIFADDR,
                                         SIOCGIFCONF,  SIOCGIFHWADDR, SIOCGIFMTU,   TIOCGWINSZ};

/* The sanitizers' leak check stops the threads of its own process with ptrace, from a child that shares its memory. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED
static const char by_build[] =
    "ptrace clone clone3 wait4 waitid kill process_madvise mincore mmap mmap2 mprotect ioctl "
    "sched_setaffinity getdents readlink";
#define THREADS_ONLY 0
#else
static const char by_build[] = "sched_getparam";
#define THREADS_ONLY 1
#endif

static int add_names(scmp_filter_ctx f, uint32_t action, const char *names)
{
    char name[32];
    int used;

    for (; sscanf(names, "%31s%n", name, &used) == 1; names += used) {
        int call = lib.seccomp_syscall_resolve_name(name);
        int rc = call == __NR_SCMP_ERROR ? 0 : lib.seccomp_rule_add(f, action, call, 0);

        /* -EDOM: this architecture lacks the system call; -EEXIST: the filter has the rule already. */
        if (rc != 0 && rc != -EDOM && rc != -EEXIST)
            return rc;
    }
    return 0;
}

/* Permits a call whose third argument has the bits `prot` and no other bits of PROT_WRITE and PROT_EXEC. maps describes
 * the fourth argument. MAP_ANONYMOUS: it must have this bit; 0: it must not have this bit; -1: it is not checked. */
static int add_memory_call(scmp_filter_ctx f, const char *name, scmp_datum_t prot, int maps)
{
    const struct scmp_arg_cmp args[] = {SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC, prot),
                                        SCMP_A3_64(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, (scmp_datum_t)(unsigned)maps)};
    int call = lib.seccomp_syscall_resolve_name(name);
    int rc = lib.seccomp_rule_add_array(f, SCMP_ACT_ALLOW, call, maps < 0 ? 1 : 2, args);

    return rc == -EDOM || rc == -EEXIST ? 0 : rc; /* add_names explains these two values */
}

/* Memory is never writable and executable at once, and mprotect cannot make it executable. Files can still be mapped as
 * executable, because the name service loads its modules late. */
static int add_memory(scmp_filter_ctx f)
{
    static const char *const names[] = {"mmap", "mmap2", "mprotect"};
    int rc = 0;

    for (size_t i = 0; i < sizeof names / sizeof names[0] && !rc; i++) {
        rc = add_memory_call(f, names[i], 0, -1);
        if (!rc)
            rc = add_memory_call(f, names[i], PROT_WRITE, -1);
        if (!rc && strcmp(names[i], "mprotect") != 0)
            rc = add_memory_call(f, names[i], PROT_EXEC, 0);
    }
    return rc;
}

/* Permits new threads, but no new processes. A filter cannot read clone3's flags, which are in memory: clone3 fails
 * with ENOSYS, and the C library then calls clone. */
static int add_threads(scmp_filter_ctx f)
{
    if (!THREADS_ONLY)
        return 0;
    return lib.seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
}

static int add_arguments(scmp_filter_ctx f)
{
    int rc = 0;

    for (size_t i = 0; i < sizeof families / sizeof families[0] && !rc; i++)
        rc = lib.seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                  SCMP_A0_64(SCMP_CMP_MASKED_EQ, 0xffffffff, (scmp_datum_t)families[i]));
    for (size_t i = 0; i < sizeof requests / sizeof requests[0] && !rc; i++)
        rc = lib.seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                                  SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xffffffff, requests[i]));
    return rc == -EEXIST ? 0 : rc;
}

static int build(scmp_filter_ctx f)
{
    int rc = lib.seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);

    if (!rc)
        rc = add_names(f, SCMP_ACT_ALLOW, by_build);
    if (!rc)
        rc = add_names(f, SCMP_ACT_ALLOW, allowed);
    if (!rc)
        rc = add_names(f, SCMP_ACT_KILL_PROCESS, deadly);
    if (!rc)
        rc = add_memory(f);
    if (!rc)
        rc = add_threads(f);
    return rc ? rc : add_arguments(f);
}

static cmx_err apply(char *detail, size_t cap)
{
    scmp_filter_ctx f = lib.seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    int rc;

    if (!f) {
        snprintf(detail, cap, "no filter: out of memory");
        return CMX_ENOMEM;
    }
    rc = build(f);
    if (!rc)
        rc = lib.seccomp_load(f);
    lib.seccomp_release(f);
    if (rc) {
        snprintf(detail, cap, "not applied: %s", strerror(-rc));
        return CMX_ENOTSUP;
    }
    snprintf(detail, cap, "only listed calls; no new process or program");
    return CMX_OK;
}

/* Applies the filter. Then unloads libseccomp, because the library's tables of system calls need memory. */
cmx_err confine_seccomp(char *detail, size_t cap)
{
    struct cmx_why why = {""};
    cmx_err err = cmx_library_load(&library, "seccomp", &why);

    if (err) {
        snprintf(detail, cap, "%s", why.text);
        return err;
    }
    err = apply(detail, cap);
    cmx_library_unload(&library);
    return err;
}
