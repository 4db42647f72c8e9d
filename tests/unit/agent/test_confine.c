/* Each case runs in a child process that confines itself and then tries what confinement forbids. On a kernel without
 * Landlock or seccomp, the code under test must report that confinement is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/confine/confine.h"

/* Exit statuses of a child. */
#define YES 0
#define NO 10
#define ABSENT 77

static char dir[] = "/tmp/cmx-confine-XXXXXX";
static char readable[64], writable[64], other[64];
static uint16_t open_port, closed_port;
static int listeners[2];

static int listen_somewhere(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(fd, (struct sockaddr *)&a, len) || listen(fd, 16) || getsockname(fd, (struct sockaddr *)&a, &len))
        return -1;
    *port = ntohs(a.sin_port);
    return fd;
}

static int prepare(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(readable, sizeof readable, "%s/r", dir);
    snprintf(writable, sizeof writable, "%s/w", dir);
    snprintf(other, sizeof other, "%s/o", dir);
    if (mkdir(readable, 0700) || mkdir(writable, 0700) || mkdir(other, 0700))
        return -1;
    listeners[0] = listen_somewhere(&open_port);
    listeners[1] = listen_somewhere(&closed_port);
    return listeners[0] < 0 || listeners[1] < 0 ? -1 : 0;
}

static int cleanup(void **state)
{
    char command[64];

    (void)state;
    close(listeners[0]);
    close(listeners[1]);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static int try_open(const char *folder, int flags)
{
    char path[96];
    int fd;

    snprintf(path, sizeof path, "%s/file", folder);
    fd = open(path, flags, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0 ? YES : errno == EACCES ? NO : 1;
}

static int try_connect(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int rc = connect(fd, (struct sockaddr *)&a, sizeof a);
    int answer = rc == 0 ? YES : errno == EACCES ? NO : 1;

    close(fd);
    return answer;
}

static int try_bind(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    int rc;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    rc = bind(fd, (struct sockaddr *)&a, sizeof a);
    rc = rc == 0 ? YES : errno == EACCES ? NO : errno == EADDRINUSE ? YES : 1;
    close(fd);
    return rc;
}

static struct confine_plan plan(bool ports)
{
    struct confine_plan p = {.limit_ports = ports, .abstract_sockets = true};

    confine_plan_base(&p);
    confine_read(&p, readable);
    confine_read(&p, NULL);
    confine_read(&p, "/nonexistent");
    confine_write(&p, writable);
    p.connect[p.n_connect++] = open_port;
    p.bind[p.n_bind++] = 45454;
    return p;
}

/* ---- cases under Landlock alone, because seccomp would block calls that these cases make ---- */

static int in_landlock(bool limit, int (*what)(void))
{
    struct confine_plan p = plan(limit);
    char detail[96], ports_detail[96];
    bool ports = false;

    if (confine_landlock(&p, &ports, detail, sizeof detail, ports_detail, sizeof ports_detail) != CMX_OK)
        return strstr(detail, "no Landlock") ? ABSENT : 1;
    if (limit && !ports)
        return strstr(ports_detail, "cannot limit ports") ? ABSENT : 1;
    return what();
}

static int files(void)
{
    if (try_open(readable, O_RDONLY) != YES || try_open(readable, O_WRONLY) != NO)
        return 2;
    if (try_open(readable, O_WRONLY | O_CREAT | O_TRUNC) != NO)
        return 3;
    if (try_open(other, O_RDONLY) != NO || try_open(other, O_WRONLY) != NO)
        return 4;
    if (try_open(writable, O_WRONLY | O_CREAT | O_TRUNC) != YES)
        return 5;
    if (access("/etc/hosts", R_OK) == 0 && open("/etc/hosts", O_RDONLY) < 0)
        return 6;
    if (try_connect(closed_port) != YES) /* this plan does not limit ports */
        return 7;
    execl("/bin/true", "true", (char *)NULL);
    return errno == EACCES ? YES : 8;
}

static int ports(void)
{
    if (try_connect(open_port) != YES)
        return 2;
    if (try_connect(closed_port) != NO)
        return 3;
    if (try_bind(0) != YES || try_bind(45454) != YES)
        return 4;
    return try_bind(45455) == NO ? YES : 5;
}

static int landlock_files_child(void)
{
    return in_landlock(false, files);
}

static int landlock_ports_child(void)
{
    return in_landlock(true, ports);
}

/* ---- confinement by seccomp ---- */

static void *in_thread(void *arg)
{
    *(int *)arg = 1;
    return NULL;
}

static int seccomp_child(void)
{
    char detail[96];
    pthread_t t;
    int ran = 0;
    void *m;

    if (confine_seccomp(detail, sizeof detail) != CMX_OK)
        return ABSENT;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 2;
    if (socket(AF_PACKET, SOCK_RAW, 0) >= 0 || errno != ENOSYS)
        return 3;
    if (try_connect(open_port) != YES)
        return 4;
    if (pthread_create(&t, NULL, in_thread, &ran) != 0 || pthread_join(t, NULL) != 0 || !ran)
        return 5;
#ifndef __SANITIZE_ADDRESS__ /* the sanitizer needs these calls for its leak check */
    if (fork() >= 0 || errno != ENOSYS)
        return 6;
    m = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m != MAP_FAILED)
        return 7;
#endif
    m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED)
        return 8;
#ifndef __SANITIZE_ADDRESS__
    if (mprotect(m, 4096, PROT_READ | PROT_EXEC) == 0) /* memory that was writable cannot become executable */
        return 10;
    if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        return 11;
    if (!dlopen("libssl.so.3", RTLD_NOW)) /* must work: glibc loads name service modules late */
        return 12;
#endif
    if (syscall(SYS_mincore, (void *)-1, 0, NULL) != -1)
        return 9;
    return YES;
}

static int execve_child(void)
{
    char detail[96];

    if (confine_seccomp(detail, sizeof detail) != CMX_OK)
        return ABSENT;
    execl("/bin/true", "true", (char *)NULL);
    return 1;
}

static int setuid_child(void)
{
    char detail[96];

    if (confine_seccomp(detail, sizeof detail) != CMX_OK)
        return ABSENT;
    (void)!syscall(SYS_setuid, getuid());
    return 1;
}

static int all_child(void)
{
    struct confine_plan p = plan(true);
    struct confine_report r;
    cmx_err err = confine_apply(&p, &r);
    bool all = true;

    if (r.n != 3)
        return 2;
    for (size_t i = 0; i < r.n; i++) {
        all = all && r.item[i].applied;
        if (!r.item[i].what || !r.item[i].detail[0])
            return 3;
    }
    if (all != (err == CMX_OK))
        return 4;
    return all && (try_connect(closed_port) != NO || try_open(other, O_RDONLY) != NO) ? 5 : YES;
}

/* Runs what() in a child process and returns the child's wait status. */
static int run(int (*what)(void))
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0)
        _exit(what());
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void expect_yes(int (*what)(void))
{
    int status = run(what);

    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == ABSENT)
        skip();
    assert_int_equal(WEXITSTATUS(status), YES);
}

static void expect_killed(int (*what)(void))
{
    int status = run(what);

    if (WIFEXITED(status) && WEXITSTATUS(status) == ABSENT)
        skip();
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void make_files(void)
{
    assert_int_equal(try_open(readable, O_WRONLY | O_CREAT), YES);
    assert_int_equal(try_open(other, O_WRONLY | O_CREAT), YES);
}

static void test_landlock_files(void **state)
{
    (void)state;
    make_files();
    expect_yes(landlock_files_child);
}

static void test_landlock_ports(void **state)
{
    (void)state;
    expect_yes(landlock_ports_child);
}

static void test_seccomp(void **state)
{
    (void)state;
    expect_yes(seccomp_child);
}

static void test_seccomp_kills(void **state)
{
    (void)state;
    expect_killed(execve_child);
    expect_killed(setuid_child);
}

static void test_report(void **state)
{
    (void)state;
    make_files();
    expect_yes(all_child);
}

/* The longest detail fits in a report, so the list of what Landlock does not limit is never truncated. */
static void test_landlock_gaps(void **state)
{
    struct confine_report r;
    const int len = snprintf(r.item[0].detail, sizeof r.item[0].detail, "version %d, %d paths to read, %d to write%s",
                             1, CONFINE_PATHS_MAX, CONFINE_PATHS_MAX, confine_landlock_gaps(1));

    (void)state;
    assert_in_range(len, 1, sizeof r.item[0].detail - 1);
    assert_string_equal(confine_landlock_gaps(1), "; no limit on truncate, ioctl, signals, abstract sockets");
    assert_string_equal(confine_landlock_gaps(2), confine_landlock_gaps(1));
    assert_string_equal(confine_landlock_gaps(4), "; no limit on ioctl, signals, abstract sockets");
    assert_string_equal(confine_landlock_gaps(5), "; no limit on signals, abstract sockets");
    assert_string_equal(confine_landlock_gaps(6), "");
}

static void test_plan_is_bounded(void **state)
{
    struct confine_plan p = {0};

    (void)state;
    for (int i = 0; i < 2 * CONFINE_PATHS_MAX; i++) {
        confine_read(&p, "/r");
        confine_write(&p, "/w");
    }
    assert_int_equal(p.n_read, CONFINE_PATHS_MAX);
    assert_int_equal(p.n_write, CONFINE_PATHS_MAX);
    confine_plan_free(&p);
    assert_int_equal(p.n_read + p.n_write, 0);
}

static void test_plan_of_folders(void **state)
{
    struct confine_plan p = {0};
    char link[96], target[96];

    (void)state;
    snprintf(link, sizeof link, "%s/link", readable);
    snprintf(target, sizeof target, "%s/target", other);
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(close(open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
    confine_read_folder(&p, NULL);
    confine_read_folder(&p, "/etc/file");
    confine_read_folder(&p, "/file");
    confine_read_folder(&p, "file");
    confine_read_folder(&p, link);
    confine_write_folder(&p, "/run/x/socket");
    assert_int_equal(p.n_read, 5);
    assert_string_equal(p.read[0], "/etc");
    assert_string_equal(p.read[1], "/");
    assert_string_equal(p.read[2], ".");
    assert_string_equal(p.read[3], readable);
    assert_string_equal(p.read[4], other);
    assert_string_equal(p.write[0], "/run/x");
    confine_plan_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_landlock_files), cmocka_unit_test(test_landlock_ports),
        cmocka_unit_test(test_seccomp),        cmocka_unit_test(test_seccomp_kills),
        cmocka_unit_test(test_report),         cmocka_unit_test(test_plan_is_bounded),
        cmocka_unit_test(test_landlock_gaps),  cmocka_unit_test(test_plan_of_folders),
    };

    return cmocka_run_group_tests(tests, prepare, cleanup);
}
