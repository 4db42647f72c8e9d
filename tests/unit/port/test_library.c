/* Tests port/linux/library: libraries are loaded on demand. The error for a missing library names its package. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "port/linux/library.h"

#include "cmxsafe/core/why.h"

#define CMX_LIBRARY_OF maths
static struct {
    CMX_LIBRARY_POINTER(cbrt)
} maths;

static const struct cmx_symbol good[] = {CMX_LIBRARY_SYMBOL(cbrt)};
static const struct cmx_symbol bad[] = {CMX_LIBRARY_SYMBOL(cbrt){"cmx_no_such_function", &maths.cbrt}};

static void loads_once_and_again(void **state)
{
    struct cmx_library l = {"libm.so.6", "libc6", good, 1, NULL};
    struct cmx_why why = {""};

    (void)state;
    assert_int_equal(cmx_library_load(&l, "a test", &why), CMX_OK);
    assert_int_equal(cmx_library_load(&l, "a test", &why), CMX_OK);
    assert_true(maths.cbrt(27.0) > 2.9 && maths.cbrt(27.0) < 3.1);
    cmx_library_unload(&l);
    assert_null(l.handle);
    cmx_library_unload(&l);
    assert_int_equal(cmx_library_load(&l, "a test", NULL), CMX_OK);
    cmx_library_unload(&l);
}

static void says_what_to_install(void **state)
{
    struct cmx_library l = {"libcmx-no-such.so.9", "libcmx-no-such9", good, 1, NULL};
    struct cmx_why why = {""};

    (void)state;
    assert_int_equal(cmx_library_load(&l, "a test", &why), CMX_ENOTSUP);
    assert_non_null(strstr(why.text, "a test needs a library: ")); /* the C library's message follows */
    assert_non_null(strstr(why.text, "libcmx-no-such.so.9"));
    assert_non_null(strstr(why.text, "; install libcmx-no-such9"));
    l.package = "";
    assert_int_equal(cmx_library_load(&l, "a test", &why), CMX_ENOTSUP);
    assert_non_null(strstr(why.text, "; install the package that has it"));
    assert_int_equal(cmx_library_load(&l, "a test", NULL), CMX_ENOTSUP);
}

static void a_function_may_be_missing(void **state)
{
    struct cmx_library l = {"libm.so.6", "libc6", bad, 2, NULL};
    struct cmx_why why = {""};

    (void)state;
    assert_int_equal(cmx_library_load(&l, "a test", &why), CMX_ENOTSUP);
    assert_non_null(strstr(why.text, "cmx_no_such_function"));
    assert_null(l.handle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_once_and_again),
        cmocka_unit_test(says_what_to_install),
        cmocka_unit_test(a_function_may_be_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
