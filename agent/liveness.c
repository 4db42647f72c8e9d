#include "agent/liveness.h"

#include <pthread.h>
#include <stdatomic.h>

struct slot {
    atomic_bool taken;
    atomic_uint_least64_t fed_ms;
};

static struct slot slots[LIVENESS_TASKS_MAX];
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint64_t short_since_ms; /* since when there have been too few tasks; 0: there are enough */

static void release(void *slot)
{
    atomic_store(&((struct slot *)slot)->taken, false);
}

static void make_key(void)
{
    if (pthread_key_create(&key, release) != 0)
        key = (pthread_key_t)-1;
}

static struct slot *take(uint64_t now_ms)
{
    for (struct slot *s = slots; s < slots + LIVENESS_TASKS_MAX; s++) {
        bool no = false;

        if (atomic_load(&s->taken))
            continue;
        /* Store the time before the slot is marked as used, so that other threads never see an old time. */
        atomic_store(&s->fed_ms, now_ms);
        if (atomic_compare_exchange_strong(&s->taken, &no, true)) {
            /* If pthread_setspecific fails for lack of memory, the task takes another slot at its next call. This slot
             * is then never fed again, and systemd's watchdog restarts the agent. */
            (void)pthread_setspecific(key, s);
            return s;
        }
    }
    return NULL;
}

void liveness_feed(uint64_t now_ms)
{
    struct slot *s;

    pthread_once(&once, make_key);
    s = pthread_getspecific(key);
    if (!s)
        s = take(now_ms);
    if (s)
        atomic_store(&s->fed_ms, now_ms);
}

unsigned liveness_tasks(void)
{
    unsigned n = 0;

    for (const struct slot *s = slots; s < slots + LIVENESS_TASKS_MAX; s++)
        n += atomic_load(&s->taken);
    return n;
}

bool liveness_ok(uint64_t now_ms, uint64_t limit_ms, unsigned expected)
{
    if (liveness_tasks() >= expected)
        short_since_ms = 0;
    else if (!short_since_ms)
        short_since_ms = now_ms;
    if (short_since_ms && now_ms - short_since_ms > limit_ms)
        return false;
    for (const struct slot *s = slots; s < slots + LIVENESS_TASKS_MAX; s++) {
        uint64_t fed = atomic_load(&s->fed_ms);

        if (atomic_load(&s->taken) && now_ms > fed && now_ms - fed > limit_ms)
            return false;
    }
    return true;
}
