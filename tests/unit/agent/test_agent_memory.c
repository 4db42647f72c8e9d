/* The agent's heap: it is bounded. When all sessions are idle, the agent returns freed memory to the system; while they
 * transfer data, it does not. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "agent/confine/memory.h"
#include "port/linux/libc/heap.h"

static unsigned trims, arenas_max;

/* Replaces the C library's function. */
int malloc_trim(size_t pad)
{
    assert_int_equal(pad, 0);
    trims++;
    return 1;
}

int mallopt(int parameter, int value)
{
    if (parameter == M_ARENA_MAX)
        arenas_max = (unsigned)value;
    return 1;
}

static void test_one_heap(void **state)
{
    (void)state;
    cmx_heap_share();
    assert_int_equal(arenas_max, 1);
}

static void test_the_heap_is_bounded(void **state)
{
    struct rlimit before, foreign, limit, grown;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
    foreign = (struct rlimit){MEMORY_LIMIT_BASE, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_DATA, &foreign), 0);
    assert_int_equal(memory_limit(8), CMX_OK);
    assert_int_equal(getrlimit(RLIMIT_DATA, &limit), 0);
    assert_int_equal(limit.rlim_cur, foreign.rlim_cur); /* a lower limit set by another program stays */
    assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
    assert_int_equal(memory_limit(8), CMX_OK);
    assert_int_equal(getrlimit(RLIMIT_DATA, &limit), 0);
    assert_true(limit.rlim_cur <= MEMORY_LIMIT_BASE + ((rlim_t)256 << 20));
    assert_int_equal(limit.rlim_max, before.rlim_max); /* the hard limit stays, so that hooks can raise the soft one */
    assert_int_equal(memory_limit(100), CMX_OK);
    assert_int_equal(getrlimit(RLIMIT_DATA, &grown), 0);
    assert_true(grown.rlim_cur > limit.rlim_cur); /* as after a reload that adds connections */
    assert_int_equal(memory_limit(8), CMX_OK);
    assert_int_equal(getrlimit(RLIMIT_DATA, &limit), 0);
    assert_int_equal(limit.rlim_cur, grown.rlim_cur); /* the limit is never lowered: the memory may be in use */
    assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
}

static void test_trims_once_at_rest(void **state)
{
    uint64_t now = 5000;

    (void)state;
    memory_turn(7, now); /* first call: earlier work is unknown, so the idle time begins now */
    for (unsigned i = 0; i < 19; i++)
        memory_turn(7, now += 100);
    assert_int_equal(trims, 0); /* the sessions have not been idle for two seconds */
    memory_turn(7, now += 100);
    assert_int_equal(trims, 1);
    for (unsigned i = 0; i < 100; i++)
        memory_turn(7, now += 1000);
    assert_int_equal(trims, 1); /* no further memory can be returned */
}

static void test_work_postpones(void **state)
{
    uint64_t now = 1000000, work = 100;

    (void)state;
    trims = 0;
    for (unsigned i = 0; i < 100; i++)
        memory_turn(work++, now += 1900);
    assert_int_equal(trims, 0);
    memory_turn(work, now += 100);
    memory_turn(work, now += 2000);
    assert_int_equal(trims, 1);
    memory_turn(work + 1, now += 1); /* after new work, memory is returned again */
    memory_turn(work + 1, now += 2000);
    assert_int_equal(trims, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_heap),
        cmocka_unit_test(test_the_heap_is_bounded),
        cmocka_unit_test(test_trims_once_at_rest),
        cmocka_unit_test(test_work_postpones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
