/* What sessions have used goes back to the system once they rest, and not while they work. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/memory.h"

static unsigned trims, arenas_max;

/* In place of the allocator's. */
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
    memory_setup();
    assert_int_equal(arenas_max, 1);
}

static void test_trims_once_at_rest(void **state)
{
    uint64_t now = 5000;

    (void)state;
    memory_turn(7, now); /* work, of which it is not known when it began */
    for (unsigned i = 0; i < 19; i++)
        memory_turn(7, now += 100);
    assert_int_equal(trims, 0); /* not yet at rest for two seconds */
    memory_turn(7, now += 100);
    assert_int_equal(trims, 1);
    for (unsigned i = 0; i < 100; i++)
        memory_turn(7, now += 1000);
    assert_int_equal(trims, 1); /* there is nothing more to give back */
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
    memory_turn(work + 1, now += 1); /* again something to give back */
    memory_turn(work + 1, now += 2000);
    assert_int_equal(trims, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_heap),
        cmocka_unit_test(test_trims_once_at_rest),
        cmocka_unit_test(test_work_postpones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
