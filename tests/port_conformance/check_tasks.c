/* Clock, tasks, locks, watchdog and log. */
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "checks.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/port/crypto.h"
#include "cmxsafe/port/poll.h"
#include "cmxsafe/port/port.h"

#define TASKS 4
#define ROUNDS 2000

void conformance_time(void)
{
    uint64_t last = cmx_port_now_ms();
    uint64_t start;
    bool back = false;

    for (int i = 0; i < 1000; i++) {
        uint64_t now = cmx_port_now_ms();

        back = back || now < last;
        last = now;
    }
    CHECK(!back);
    start = cmx_port_now_ms();
    cmx_port_sleep_ms(30);
    CHECK(cmx_port_now_ms() - start >= 29); /* not 30: another clock, with other ticks, may time the sleep */
    start = cmx_port_now_ms();
    for (int i = 0; i < 5; i++)
        cmx_port_sleep_ms(1); /* takes up to one tick, which may be 10 ms */
    CHECK(cmx_port_now_ms() - start >= 4 && cmx_port_now_ms() - start < 2000);
}

struct shared {
    struct cmx_mutex lock;
    unsigned counter; /* guarded by the lock */
    atomic_uint inside;
    atomic_bool overlapped;
    atomic_uint ended;
};

static struct shared shared;

static void count(void *arg)
{
    struct shared *s = arg;

    for (int i = 0; i < ROUNDS; i++) {
        cmx_port_mutex_lock(&s->lock);
        if (atomic_fetch_add(&s->inside, 1) != 0)
            atomic_store(&s->overlapped, true);
        s->counter++;
        if (i % 500 == 0)
            cmx_port_sleep_ms(1); /* holds the lock while other tasks run */
        atomic_fetch_sub(&s->inside, 1);
        cmx_port_mutex_unlock(&s->lock);
        cmx_port_watchdog_feed(0);
    }
    atomic_fetch_add(&s->ended, 1);
}

static bool wait_for(atomic_uint *value, unsigned want)
{
    for (int i = 0; i < 3000; i++) {
        if (atomic_load(value) == want)
            return true;
        cmx_port_sleep_ms(10);
    }
    return false;
}

static void use_stack(void *arg)
{
    volatile uint8_t block[1024];

    for (size_t i = 0; i < sizeof block; i++)
        block[i] = 0x5a;
    CHECK(cmx_crypto_random((void *)(uintptr_t)block, 16) == CMX_OK);
    cmx_port_task_done(); /* frees what the libraries allocated for this task */
    atomic_fetch_add((atomic_uint *)arg, block[17] == 0x5a);
}

static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

static void conformance_wake(void)
{
    const int fd = cmx_port_wake_open();

    cmx_port_wake(-1);
    cmx_port_wake_clear(-1);
    if (fd < 0)
        return; /* the platform has no wake descriptors */
    CHECK(!is_readable(fd));
    cmx_port_wake(fd);
    cmx_port_wake(fd);
    CHECK(is_readable(fd));
    cmx_port_wake_clear(fd);
    CHECK(!is_readable(fd));
    cmx_port_wake_clear(fd); /* does not block */
    CHECK(close(fd) == 0);
}

static void conformance_set(void)
{
    const int set = cmx_port_set_open(), a = cmx_port_wake_open(), b = cmx_port_wake_open();
    void *ready[2];

    if (set < 0)
        return; /* the platform has no descriptor sets */
    CHECK(cmx_port_set_add(set, a, &ready[0]) == CMX_OK);
    CHECK(cmx_port_set_add(set, b, &ready[1]) == CMX_OK);
    CHECK(!is_readable(set));
    cmx_port_wake(b);
    CHECK(is_readable(set));
    CHECK(cmx_port_set_ready(set, ready, 2) == 1 && ready[0] == &ready[1]);
    cmx_port_wake(a);
    CHECK(cmx_port_set_ready(set, ready, 1) == 1);
    CHECK(cmx_port_set_ready(set, ready, 2) == 2);
    cmx_port_set_remove(set, b);
    CHECK(cmx_port_set_ready(set, ready, 2) == 1 && ready[0] == &ready[0]);
    CHECK(close(a) == 0);
    CHECK(!is_readable(set));
    CHECK(close(b) == 0);
    CHECK(close(set) == 0);
}

void conformance_tasks(void)
{
    char line[CMX_LOG_LINE_MAX];
    atomic_uint stacks = 0;

    conformance_wake();
    conformance_set();
    cmx_port_mutex_init(&shared.lock);
    shared.counter = 0;
    atomic_store(&shared.ended, 0);
    for (int i = 0; i < TASKS; i++)
        CHECK(cmx_port_task_start("a name of more than fifteen letters", 4096, count, &shared) == CMX_OK);
    CHECK(wait_for(&shared.ended, TASKS));
    CHECK(!atomic_load(&shared.overlapped));
    cmx_port_mutex_lock(&shared.lock);
    CHECK(shared.counter == TASKS * ROUNDS);
    cmx_port_mutex_unlock(&shared.lock);
    cmx_port_mutex_destroy(&shared.lock);

    CHECK(cmx_port_task_start("stack", 0, use_stack, &stacks) == CMX_OK);
    CHECK(wait_for(&stacks, 1));

    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    cmx_port_log(CMX_LOG_DEBUG, "port", line);
    cmx_port_log(CMX_LOG_INFO, "port", "100 % of a line is text: %s %n");
}
