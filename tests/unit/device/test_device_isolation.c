/* Tests device_isolation.c, which connects the engine to a packet filter. The filter here only stores its callbacks.
 * Different tasks may configure, install and end isolation. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/device/claim.h"
#include "cmxsafe/device/device.h"
#include "cmxsafe/device/device_isolation.h"
#include "cmxsafe/device/drops.h"
#include "port/linux/linux_port.h"

#define ROUNDS 300

/* ---- a filter without a network stack ---- */

static struct {
    pthread_mutex_t mutex;
    const struct cmx_filter_calls *calls;
    cmx_err refuses; /* what install returns */
} fake = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static cmx_err fake_install(const struct cmx_filter_calls *calls)
{
    if (fake.refuses)
        return fake.refuses;
    fake.calls = calls;
    return CMX_OK;
}

static void fake_lock(void)
{
    pthread_mutex_lock(&fake.mutex);
}

static void fake_unlock(void)
{
    pthread_mutex_unlock(&fake.mutex);
}

static const struct cmx_filter filter = {.install = fake_install, .lock = fake_lock, .unlock = fake_unlock};

static size_t live_blocks(void)
{
    struct cmx_mem_stats s;

    cmx_mem_stats(&s);
    return s.live_blocks;
}

static const struct cmx_gateway gateway = {.host = "10.77.0.1", .port = 2222};
static const struct cmx_context stream = {.name = "stream", .local_port = 81, .remote_port = 9081};

static int set_up(void **state)
{
    (void)state;
    fake.refuses = CMX_OK;
    cmx_linux_set_filter(&filter);
    cmx_device_set_isolation(&(struct cmx_device_isolation){.accept_none = false});
    cmx_log_set_level(CMX_LOG_ERROR);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cmx_device_isolation_end();
    cmx_linux_set_filter(NULL);
    fake.calls = NULL;
    return 0;
}

/* Announces to isolation, as the engine does, a connection of this kind to this host and port, then ends it. Returns
 * the result of the announcement. */
static cmx_err connects_as(cmx_socket_kind kind, const char *host, uint16_t port)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(50000)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    cmx_err err;

    assert_int_equal(inet_pton(AF_INET, host, &to.sin_addr), 1);
    err = cmx_device_isolation_socket(kind, (struct sockaddr *)&from, (struct sockaddr *)&to, true);
    if (err == CMX_OK)
        (void)cmx_device_isolation_socket(kind, (struct sockaddr *)&from, (struct sockaddr *)&to, false);
    return err;
}

static cmx_err connects(const char *host, uint16_t port)
{
    return connects_as(CMX_SOCKET_SESSION, host, port);
}

/* ---- tests ---- */

static void test_in_either_order(void **state)
{
    (void)state;
    assert_int_equal(cmx_device_isolate(), CMX_OK); /* called before the first context */
    assert_true(cmx_device_isolation_active() && cmx_device_isolation_settled());
    assert_int_equal(connects("10.77.0.1", 2222), CMX_EPERM);
    assert_int_equal(cmx_device_isolation_configure(&gateway, &stream, 1), CMX_OK);
    assert_int_equal(connects("10.77.0.1", 2222), CMX_OK);
    cmx_device_isolation_end();
    assert_false(cmx_device_isolation_active());
    assert_int_equal(cmx_device_isolation_configure(&gateway, &stream, 1), CMX_OK);
    assert_int_equal(cmx_device_isolate(), CMX_OK);
    assert_int_equal(cmx_device_isolate(), CMX_OK); /* a second call succeeds */
    assert_int_equal(connects("10.77.0.1", 2222), CMX_OK);
    assert_int_equal(connects("10.77.0.1", 22), CMX_EPERM);
    assert_int_equal(connects("10.77.0.9", 2222), CMX_EPERM);
}

static pthread_barrier_t start;

static void *configures(void *arg)
{
    pthread_barrier_wait(&start);
    *(cmx_err *)arg = cmx_device_isolation_configure(&gateway, &stream, 1);
    return NULL;
}

/* Reads the state while other tasks change it, so that TSan finds races. */
static void *watches(void *arg)
{
    pthread_barrier_wait(&start);
    for (int i = 0; i < 50; i++)
        *(bool *)arg |= cmx_device_isolation_settled();
    return NULL;
}

/* As in a sketch, setup_sm() (cmx_device_isolate) runs while a task registers a context
 * (cmx_device_isolation_configure). Whichever comes first, sessions to the configured gateway are permitted, and no
 * others. */
static void test_at_the_same_time(void **state)
{
    size_t before = live_blocks();

    (void)state;
    pthread_barrier_init(&start, NULL, 3);
    for (int i = 0; i < ROUNDS; i++) {
        cmx_err configured = CMX_EIO;
        bool settled = false;
        pthread_t task, watcher;

        assert_int_equal(pthread_create(&task, NULL, configures, &configured), 0);
        assert_int_equal(pthread_create(&watcher, NULL, watches, &settled), 0);
        pthread_barrier_wait(&start);
        assert_int_equal(cmx_device_isolate(), CMX_OK);
        pthread_join(task, NULL);
        pthread_join(watcher, NULL);
        assert_int_equal(configured, CMX_OK);
        assert_int_equal(connects("10.77.0.1", 2222), CMX_OK);
        assert_int_equal(connects("10.77.0.1", 22), CMX_EPERM);
        cmx_device_isolation_end();
        assert_int_equal(live_blocks(), before);
    }
    pthread_barrier_destroy(&start);
}

static void test_what_cannot_be_installed_ends_all(void **state)
{
    (void)state;
    fake.refuses = CMX_EIO;
    assert_int_equal(cmx_device_isolation_configure(&gateway, &stream, 1), CMX_OK);
    assert_int_equal(cmx_device_isolate(), CMX_EIO);
    assert_false(cmx_device_isolation_active() || cmx_device_isolation_settled());
    assert_int_equal(cmx_device_isolation_configure(&gateway, &stream, 1), CMX_EPERM);
    assert_int_equal(connects("10.77.0.1", 2222), CMX_EPERM); /* a proxy that is already running cannot connect */
}

/* Without a context no gateway is permitted: neither after the only context was refused, nor after cmx_device_stop. The
 * first gateway of the list refuses the connection, so the test sends no packet to the second. */
static void test_no_context_no_rule(void **state)
{
    static const char *const pins[] = {"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    static const TaskParameters task = {.local_port = 81, .forward_remote_port = 9081};
    struct cmx_settings settings = {
        .remote_host = "127.0.0.1:1 > 10.77.0.1:2222", .username = "user", .password = "password"};

    (void)state;
    assert_int_equal(cmx_device_isolate(), CMX_OK);
    assert_int_equal(cmx_device_forward(&settings, &task), CMX_EINVAL); /* no host key */
    assert_int_equal(connects("10.77.0.1", 2222), CMX_EPERM);
    settings.host_keys = pins;
    settings.n_host_keys = 1;
    assert_int_equal(cmx_device_forward(&settings, &task), CMX_OK);
    assert_int_equal(connects("10.77.0.1", 2222), CMX_OK);
    assert_int_equal(connects_as(CMX_SOCKET_RELAY, "127.0.0.1", 81), CMX_OK);
    cmx_device_stop();
    assert_int_equal(connects("10.77.0.1", 2222), CMX_EPERM);
    assert_int_equal(connects_as(CMX_SOCKET_RELAY, "127.0.0.1", 81), CMX_EPERM);
}

static void test_no_filter(void **state)
{
    (void)state;
    cmx_linux_set_filter(NULL);
    cmx_device_set_isolation(&(struct cmx_device_isolation){.accept_none = true});
    assert_int_equal(cmx_device_isolate(), CMX_ENOTSUP);
    assert_true(cmx_device_isolation_settled() && !cmx_device_isolation_active());
    assert_int_equal(connects("10.77.0.1", 2222), CMX_OK);
    cmx_device_set_isolation(&(struct cmx_device_isolation){.accept_none = false});
    assert_int_equal(cmx_device_isolate(), CMX_ENOTSUP);
    assert_false(cmx_device_isolation_settled());
    assert_int_equal(connects("10.77.0.1", 2222), CMX_EPERM);
}

/* ---- the tasks that may use a direct context ---- */

static int listener(struct sockaddr_in *at)
{
    socklen_t len = sizeof *at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)at, sizeof *at), 0);
    assert_int_equal(listen(fd, 2 * CMX_CLAIMS_MAX), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)at, &len), 0);
    return fd;
}

/* Connects as a task with this name. Returns the descriptor or -errno. */
static int connect_as(const char *task, const struct sockaddr_in *at)
{
    char before[16];
    int fd = socket(AF_INET, SOCK_STREAM, 0), rc;

    pthread_getname_np(pthread_self(), before, sizeof before);
    pthread_setname_np(pthread_self(), task);
    rc = cmx_claim_connect(fd, (const struct sockaddr *)at, sizeof *at, connect);
    pthread_setname_np(pthread_self(), before);
    if (rc == 0)
        return fd;
    rc = -errno;
    close(fd);
    return rc;
}

static void hang_up(int fd)
{
    assert_true(fd >= 0);
    cmx_claim_close(fd);
    close(fd);
}

static void test_tasks_of_a_direct_context(void **state)
{
    struct cmx_context broker = {.name = "broker", .direction = CMX_DIRECT, .tasks = " mqtt ,a_name_of_twenty_letters"};
    struct sockaddr_in at, other;
    int fd = listener(&at), free_for_all = listener(&other), held[CMX_CLAIMS_MAX];
    size_t before = live_blocks();

    (void)state;
    broker.local_port = ntohs(at.sin_port);
    assert_int_equal(cmx_device_isolation_configure(&gateway, &broker, 1), CMX_OK);
    hang_up(connect_as("nobody", &at)); /* isolation has not been requested yet */
    assert_int_equal(cmx_device_isolate(), CMX_OK);
    hang_up(connect_as("mqtt", &at));
    hang_up(connect_as("a_name_of_twent", &at));
    hang_up(connect_as("nobody", &other)); /* not the address of a context: the filter decides */
    assert_int_equal(connect_as("nobody", &at), -EACCES);
    assert_int_equal(connect_as("mqt", &at), -EACCES);
    assert_int_equal(connect_as("mqtt2", &at), -EACCES);
    assert_int_equal(connect_as(" ", &at), -EACCES);
    for (size_t i = 0; i < CMX_CLAIMS_MAX; i++)
        held[i] = connect_as("mqtt", &at);
    assert_int_equal(connect_as("mqtt", &at), -EACCES); /* the table of connections is full */
    for (size_t i = 0; i < CMX_CLAIMS_MAX; i++)
        hang_up(held[i]);
    cmx_mem_fail_at(1);
    assert_int_equal(connect_as("mqtt", &at), -EACCES);
    cmx_mem_fail_at(0);
    close(fd);
    assert_int_equal(connect_as("mqtt", &at), -ECONNREFUSED); /* a failed connection leaves no entry */
    close(free_for_all);
    cmx_device_isolation_end(); /* also frees the entries of connections */
    assert_int_equal(live_blocks(), before);
}

/* Each allocation fails once: nothing leaks, and the next attempt succeeds. */
static void test_out_of_memory(void **state)
{
    size_t before = live_blocks();

    (void)state;
    for (size_t n = 1; n <= 2; n++) {
        cmx_mem_fail_at(n);
        assert_int_equal(cmx_device_isolation_configure(&gateway, &stream, 1), CMX_ENOMEM);
        cmx_mem_fail_at(0);
        assert_int_equal(live_blocks(), before);
    }
    assert_int_equal(cmx_device_isolation_configure(&gateway, &stream, 1), CMX_OK);
    cmx_mem_fail_at(1);
    assert_int_equal(cmx_device_isolation_configure(&gateway, NULL, 0), CMX_ENOMEM);
    cmx_mem_fail_at(0);
    assert_int_equal(connects("10.77.0.1", 2222), CMX_OK); /* the old configuration is still in force */
}

/* If there is no memory for the rules, the filter is installed and drops everything. A later request succeeds. */
static void test_no_memory_for_the_rules(void **state)
{
    static const struct cmx_iface loopback = {.class_ = CMX_IFACE_LOOPBACK};
    static const uint8_t data[20] = {0x45};
    const struct cmx_filter_packet packet = {
        .iface = &loopback, .data = data, .len = sizeof data, .total = sizeof data};
    const struct cmx_filter_neighbour neighbour = {0};

    (void)state;
    cmx_mem_fail_at(1);
    assert_int_equal(cmx_device_isolate(), CMX_ENOMEM);
    cmx_mem_fail_at(0);
    assert_false(cmx_device_isolation_settled());
    assert_non_null(fake.calls);
    assert_false(fake.calls->judge(&packet));
    fake.calls->neighbour(&neighbour);
    assert_int_equal(cmx_device_isolate(), CMX_OK);
    assert_true(cmx_device_isolation_active());
}

/* After a burst of lines, one more line is logged every CMX_DROPS_LINE_S seconds. After a long pause, a whole burst is
 * logged again. */
static void test_drops_are_logged_at_a_bounded_rate(void **state)
{
    struct cmx_drops d = {0};

    (void)state;
    for (uint32_t now = 100; now <= 3700; now += 3600) {
        for (int i = 0; i < CMX_DROPS_LINES; i++)
            assert_true(cmx_drops_may_log(&d, now));
        for (uint32_t later = 0; later < 10 * CMX_DROPS_LINE_S; later++) {
            assert_int_equal(cmx_drops_may_log(&d, now + later), later && later % CMX_DROPS_LINE_S == 0);
            assert_false(cmx_drops_may_log(&d, now + later));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drops_are_logged_at_a_bounded_rate),
        cmocka_unit_test_setup_teardown(test_in_either_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_at_the_same_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_installed_ends_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_context_no_rule, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_filter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory_for_the_rules, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tasks_of_a_direct_context, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_out_of_memory, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
