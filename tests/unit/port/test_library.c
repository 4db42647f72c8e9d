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

#define FUNCTIONS(X) X(cbrt) X(cos)
#define CMX_SONAME_MATHS "libm.so.6"
#define CMX_PACKAGE_MATHS "libc6"
CMX_LIBRARY(library, maths, MATHS, FUNCTIONS);

static void loads_once_and_again(void **state)
{
    struct cmx_library l = library;
    struct cmx_why why = {""};

    (void)state;
    assert_int_equal(cmx_library_load(&l, "a test", &why), CMX_OK);
    assert_int_equal(cmx_library_load(&l, "a test", &why), CMX_OK);
    assert_true(maths.cbrt(27.0) > 2.9 && maths.cbrt(27.0) < 3.1);
    assert_true(maths.cos(0.0) > 0.9 && maths.cos(0.0) < 1.1);
    cmx_library_unload(&l);
    assert_null(l.handle);
    cmx_library_unload(&l);
    assert_int_equal(cmx_library_load(&l, "a test", NULL), CMX_OK);
    cmx_library_unload(&l);
}

static void says_what_to_install(void **state)
{
    struct cmx_library l = library;
    struct cmx_why why = {""};

    (void)state;
    l.soname = "libcmx-no-such.so.9";
    l.package = "libcmx-no-such9";
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
    static const char *const names[] = {"cbrt", "cmx_no_such_function"};
    struct cmx_library l = library;
    struct cmx_why why = {""};

    (void)state;
    l.names = names;
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
