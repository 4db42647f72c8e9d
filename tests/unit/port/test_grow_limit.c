/* realloc refuses to let a block grow beyond the limit and leaves it unchanged. Smaller blocks keep their contents when
 * they move. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A sanitizer has its own allocator, to which the limit does not apply. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static void growth_ends(void **state)
{
    size_t size = 4096;
    char *p;

    (void)state;
    if (SANITIZED)
        skip();
    p = malloc(size);
    assert_non_null(p);
    memset(p, 'x', size);
    for (;;) {
        char *larger = realloc(p, 2 * size);

        if (!larger)
            break;
        assert_true(2 * size <= 8u << 20);
        p = larger;
        memset(p + size, 'x', size);
        size *= 2;
    }
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(size, 8u << 20);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(p[i], 'x');
    p = realloc(p, 100);
    assert_non_null(p);
    assert_int_equal(p[99], 'x');
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(growth_ends)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
