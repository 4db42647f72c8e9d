/* Clock, tasks, locks, watchdog and log. */
#include <stdatomic.h>
#include <string.h>

#include "checks.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/port/crypto.h"
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
    CHECK(cmx_port_now_ms() - start >= 29); /* each reading is cut to a whole millisecond */
    start = cmx_port_now_ms();
    for (int i = 0; i < 5; i++)
        cmx_port_sleep_ms(1); /* a tick may be 10 ms; never zero, never seconds */
    CHECK(cmx_port_now_ms() - start >= 4 && cmx_port_now_ms() - start < 2000);
    /* Unset, or later than this file was written. */
    CHECK(cmx_port_unix_time() == 0 || cmx_port_unix_time() > 1700000000u);
}

struct shared {
    struct cmx_mutex lock;
    unsigned counter; /* under lock */
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
            cmx_port_sleep_ms(1); /* hold it across a task switch */
        atomic_fetch_sub(&s->inside, 1);
        cmx_port_mutex_unlock(&s->lock);
        cmx_port_watchdog_feed();
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
    size_t before = cmx_port_stack_free_min();

    for (size_t i = 0; i < sizeof block; i++)
        block[i] = 0x5a;
    CHECK(cmx_port_stack_free_min() <= before && before > 0);
    CHECK(cmx_crypto_random((void *)(uintptr_t)block, 16) == CMX_OK);
    cmx_port_task_done(); /* what that kept for this task */
    atomic_fetch_add((atomic_uint *)arg, block[17] == 0x5a);
}

void conformance_tasks(void)
{
    char line[CMX_LOG_LINE_MAX];
    atomic_uint stacks = 0;

    CHECK(cmx_port_mutex_init(&shared.lock) == CMX_OK);
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
