/* The input of the guard: the refused connections that the packet filter lists, and the kernel's events. Also which
 * locks sessions may take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* gw_locks.c calls the functions for sessions that this file defines. */
#define gw_locks_check locks_check
#define gw_session_of_process session_of_process
#define gw_session_end session_end
#include "gateway/server/gw_locks.c"
#undef gw_session_of_process
#undef gw_session_end

#include "gateway/server/gw_confine.h"
#include "gateway/server/gw_denied.h"
#include "gateway/server/gw_netstate.h"
#include "gateway/server/gw_refusals.h"
#include "gateway/server/gw_table.h"

static const char listing[] = "table inet cmxsafe {\n"
                              "\tset denied {\n"
                              "\t\ttypeof ip6 saddr . ip6 daddr . tcp dport\n"
                              "\t\tsize 4096\n"
                              "\t\tflags dynamic,timeout\n"
                              "\t\ttimeout 1m\n"
                              "\t\telements = { fd12::1 . fd12::2 . 81 counter packets 3 bytes 240 expires 59s996ms,\n"
                              "\t\t\t     fd12::1 . fd12::2 . 82 expires 1s,\n"
                              "\t\t\t     nonsense,\n"
                              "\t\t\t     fd12::3 . fd12::2 . 81 counter packets 1 bytes 80 expires 1s }\n"
                              "\t}\n"
                              "}\n";

/* The guard removes each refused connection from the set by its own key. Connections that are added meanwhile stay. */
static void refusals_are_read_one_by_one(void **state)
{
    static const struct {
        const char *key;
        unsigned long long packets;
    } want[] = {{"fd12::1 . fd12::2 . 81", 3}, {"fd12::1 . fd12::2 . 82", 1}, {"fd12::3 . fd12::2 . 81", 1}};
    const char *at = gw_denied_begin(listing);
    char key[GW_DENIED_ELEMENT_MAX];
    struct gw_denied x;

    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        assert_true(gw_denied_next(&at, &x));
        gw_denied_key(&x, key);
        assert_string_equal(key, want[i].key);
        assert_int_equal(x.packets, want[i].packets);
    }
    assert_false(gw_denied_next(&at, &x));
    assert_null(gw_denied_begin("table inet cmxsafe {\n\tset denied {\n\t}\n}\n"));
}

static void every_cut_of_the_list_ends(void **state)
{
    char cut[sizeof listing];
    struct gw_denied x;

    (void)state;
    for (size_t n = 0; n < sizeof listing; n++) {
        const char *at;
        unsigned found = 0;

        memcpy(cut, listing, n);
        cut[n] = '\0';
        at = gw_denied_begin(cut);
        while (gw_denied_next(&at, &x))
            found++;
        assert_true(found <= 3);
    }
}

struct event {
    struct nlmsghdr head;
    struct rtmsg route;
};

static struct event route_event(uint16_t type, uint8_t bits)
{
    return (struct event){.head = {.nlmsg_len = sizeof(struct event), .nlmsg_type = type},
                          .route = {.rtm_family = AF_INET6, .rtm_dst_len = bits}};
}

/* The gateway adds and removes the route of an identity with its session. For these events the guard need not check the
 * whole network. */
static void the_route_of_a_session_concerns_nobody(void **state)
{
    struct event events[] = {route_event(RTM_NEWROUTE, 128), route_event(RTM_DELROUTE, 128),
                             route_event(RTM_NEWROUTE, 128)};

    (void)state;
    assert_false(gw_netstate_concerned(events, sizeof events));
    assert_false(gw_netstate_concerned(events, 0));
    events[2].route.rtm_dst_len = 48;
    assert_true(gw_netstate_concerned(events, sizeof events));
    events[2] = route_event(RTM_DELADDR, 128);
    assert_true(gw_netstate_concerned(events, sizeof events));
    events[2] = route_event(RTM_DELRULE, 128);
    assert_true(gw_netstate_concerned(events, sizeof events));
    events[2] = route_event(RTM_NEWROUTE, 128);
    events[2].head.nlmsg_len = sizeof events; /* the length exceeds the message */
    assert_true(gw_netstate_concerned(events, sizeof events));
    events[2].head.nlmsg_len = 0;
    assert_true(gw_netstate_concerned(events, sizeof events));
}

static struct gw_netstate state_of(const char *fixed, const char *nodes)
{
    struct gw_netstate s = {0};

    for (; *fixed; fixed++)
        assert_int_equal(gw_netstate_add_bytes(s.fixed, fixed, 1), CMX_OK);
    for (; *nodes; nodes++)
        assert_int_equal(gw_netstate_add_bytes(s.nodes, nodes, 1), CMX_OK);
    return s;
}

static bool equal(const char *fixed_a, const char *nodes_a, const char *fixed_b, const char *nodes_b)
{
    const struct gw_netstate a = state_of(fixed_a, nodes_a), b = state_of(fixed_b, nodes_b);

    return gw_netstate_equal(&a, &b);
}

static void the_order_of_a_list_does_not_matter(void **state)
{
    (void)state;
    assert_true(equal("abc", "de", "cab", "ed"));
    assert_false(equal("abc", "de", "ab", "de"));
    assert_false(equal("abc", "de", "abcc", "de")); /* an object that occurs twice counts twice */
    assert_false(equal("abc", "de", "abc", "d"));
    assert_false(equal("abc", "de", "de", "abc"));
}

static gw_netstate_change change(const char *fixed, const char *nodes, const char *fixed_after, const char *nodes_after)
{
    const struct gw_netstate first = state_of("abc", "d"), found = state_of(fixed, nodes),
                             after = state_of(fixed_after, nodes_after);

    return gw_netstate_compare(&first, &found, &after);
}

static void only_what_others_changed_is_a_repair(void **state)
{
    (void)state;
    assert_int_equal(change("abc", "d", "abc", "d"), GW_NETSTATE_CHANGED_BY_US); /* the network is as expected again */
    assert_int_equal(change("abc", "de", "abc", "de"), GW_NETSTATE_CHANGED_BY_US); /* another gateway joined */
    assert_int_equal(change("abc", "", "abc", ""), GW_NETSTATE_CHANGED_BY_US);     /* a gateway left */
    assert_int_equal(change("ab", "d", "abc", "d"), GW_NETSTATE_REPAIRED);
    assert_int_equal(change("abc", "", "abc", "d"), GW_NETSTATE_REPAIRED);
    assert_int_equal(change("abcx", "d", "abc", "d"), GW_NETSTATE_REPAIRED);
    assert_int_equal(change("abcx", "d", "abcx", "d"), GW_NETSTATE_ADDED);
}

/* Loads a table whose set `denied` has these flags and contains two refused connections. Returns the result of
 * gw_refusals_report. */
static uint32_t report_refusals(struct nft_ctx *nft, const char *flags)
{
    static const struct gw g = {.dir = "/nonexistent"}; /* no gateway runs in this folder */
    char rules[600];

    snprintf(rules, sizeof rules,
             "flush ruleset; table inet cmxsafe { set denied { typeof ip6 saddr . ip6 daddr . tcp dport; flags %s; "
             "elements = { fd12::1 . fd12::2 . 81, fd12::3 . fd12::2 . 81 }; }; "
             "chain c { ip6 saddr . ip6 daddr . tcp dport @denied accept; }; }",
             flags);
    assert_int_equal(nft_run_cmd_from_buffer(nft, rules), 0);
    return gw_refusals_report(&g, nft);
}

/* The guard must not take another program's change of the rules for its own. */
static void a_refused_removal_is_no_change(void **state)
{
    struct gw_table t;
    struct nft_ctx *nft;

    (void)state;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        skip();
    nft = gw_table_context();
    assert_non_null(nft);
    assert_true(gw_table_open(&t, "cmxsafe", "fleet.nft"));
    assert_int_equal(report_refusals(nft, "constant"), 0); /* the kernel removes no element of this set */
    assert_int_equal(report_refusals(nft, "timeout"), 1);
    assert_true(gw_netstate_generation(t.netlink, &t.generation));
    assert_int_equal(nft_run_cmd_from_buffer(nft, "add rule inet cmxsafe c accept"), 0);
    gw_table_changed_here(&t, 0);
    assert_false(gw_table_is_unchanged(&t));
    gw_table_changed_here(&t, 1);
    assert_true(gw_table_is_unchanged(&t));
    gw_table_close(&t);
    nft_ctx_free(nft);
}

#if defined __x86_64__
static void without_32_bit_calls(int signo)
{
    (void)signo;
    _exit(0);
}

/* The x32 ABI and 32-bit programs have other numbers for the same system calls, so all their calls are refused. */
static bool foreign_calls_are_refused(void)
{
    long result = 20; /* getpid of 32-bit programs */

    if (syscall(0x40000000L + SYS_getpid) != -1 || errno != EPERM)
        return false;
    signal(SIGSEGV, without_32_bit_calls);
    __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    return result == -EPERM;
}
#else
static bool foreign_calls_are_refused(void)
{
    return true;
}
#endif

/* The gateway finds sessions that lock the registry by the process that has the lock. A lock of an open file
 * description belongs to no process. */
static void a_session_has_no_lock_without_a_process(void **state)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1};
    int ruleset = gw_confine_ruleset();
    int status;
    pid_t pid;

    (void)state;
    if (ruleset < 0)
        skip();
    pid = fork();
    if (pid == 0) {
        int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
        bool before = fcntl(fd, F_OFD_SETLK, &lock) == 0;
        if (!before || !gw_confine(ruleset) || fcntl(fd, F_SETLK, &lock) != 0)
            _exit(2);
        _exit(fcntl(fd, F_OFD_SETLK, &lock) == 0 || errno != EPERM || fcntl(fd, F_OFD_SETLKW, &lock) == 0 ||
              !foreign_calls_are_refused());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(ruleset);
}

static unsigned ended; /* number of sessions that were ended */

struct gw_session *session_of_process(const struct gw_server *s, pid_t pid)
{
    return pid == getpid() ? s->sessions : NULL;
}

void session_end(struct gw_server *s, struct gw_session *x, const char *why)
{
    (void)why;
    assert_ptr_equal(x, s->sessions);
    ended++;
}

/* Locks one file as SQLite does, unlocks the other, and calls locks_check. Returns how many sessions were ended. */
static unsigned ended_after_lock(struct gw_server *s, int locked, int unlocked, uint64_t now_ms)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1};

    assert_int_equal(fcntl(locked, F_SETLK, &lock), 0);
    lock.l_type = F_UNLCK;
    assert_int_equal(fcntl(unlocked, F_SETLK, &lock), 0);
    ended = 0;
    locks_check(s, now_ms);
    return ended;
}

/* A session that has logged in, or whose login takes too long, ends if one of its processes locks the registry. */
static void a_session_must_not_lock_the_registry(void **state)
{
    struct gw g = {.dir = "/tmp/cmx-locks.XXXXXX"};
    struct gw_session x = {.up = true, .started_ms = 1000000};
    struct gw_server s = {.g = &g, .sessions = &x};
    char path[GW_PATH_MAX], other_path[GW_PATH_MAX];
    int registry, other;

    (void)state;
    if (access("/proc/locks", R_OK) != 0)
        skip();
    assert_non_null(mkdtemp(g.dir));
    registry = open(gw_path(&g, "registry.db", path), O_RDWR | O_CREAT, 0600);
    other = open(gw_path(&g, "other", other_path), O_RDWR | O_CREAT, 0600);
    assert_true(registry >= 0 && other >= 0);
    assert_int_equal(ended_after_lock(&s, other, registry, 1002000), 0);
    assert_int_equal(ended_after_lock(&s, registry, other, 1003000), 1);
    assert_int_equal(ended_after_lock(&s, registry, other, 1003999), 0); /* checks once a second */
    x.up = false;
    assert_int_equal(ended_after_lock(&s, registry, other, 1060000), 0);
    assert_int_equal(ended_after_lock(&s, registry, other, 1061001), 1);
    close(registry);
    close(other);
    unlink(path);
    unlink(other_path);
    rmdir(g.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_are_read_one_by_one),
        cmocka_unit_test(every_cut_of_the_list_ends),
        cmocka_unit_test(the_route_of_a_session_concerns_nobody),
        cmocka_unit_test(the_order_of_a_list_does_not_matter),
        cmocka_unit_test(only_what_others_changed_is_a_repair),
        cmocka_unit_test(a_refused_removal_is_no_change),
        cmocka_unit_test(a_session_has_no_lock_without_a_process),
        cmocka_unit_test(a_session_must_not_lock_the_registry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
