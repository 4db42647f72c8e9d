/* The worker's list of devices that have a policy: it follows the registry, and the devices take turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the headers above, so they come first. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/gateway/gw_known.h"
#include "cmxsafe/core/mem.h"

#define DEVICES_MAX 200

/* The registry's devices, sorted by name. */
static struct gw_standing registry[DEVICES_MAX];
static size_t n_registry;
static size_t fail_after; /* gw_standing_each fails after this many devices; 0: never */

cmx_err __wrap_gw_standing_each(struct gw_registry *r, gw_standing_fn fn, void *arg, struct cmx_why *e);
cmx_err __wrap_gw_standing_each(struct gw_registry *r, gw_standing_fn fn, void *arg, struct cmx_why *e)
{
    (void)r, (void)e;
    for (size_t i = 0; i < n_registry; i++) {
        cmx_err err = fail_after && i == fail_after ? CMX_EIO : fn(arg, &registry[i]);

        if (err)
            return err;
    }
    return CMX_OK;
}

static void set_registry(size_t n, const int numbers[])
{
    n_registry = n;
    for (size_t i = 0; i < n; i++) {
        registry[i] = (struct gw_standing){.device = numbers[i], .policy = 1, .max_age_s = 600};
        snprintf(registry[i].name, sizeof registry[i].name, "d-%03d", numbers[i]);
    }
}

static void assert_names(const struct gw_known_list *l, size_t n, const int numbers[])
{
    char name[GW_NAME_MAX];

    assert_int_equal(l->n, n);
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "d-%03d", numbers[i]);
        assert_string_equal(l->all[i]->standing.name, name);
        assert_ptr_equal(gw_known_find(l, name), l->all[i]);
    }
    assert_null(gw_known_find(l, "other"));
}

static void list_free(struct gw_known_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        cmx_mem_free(l->all[i]);
    cmx_mem_free(l->all);
    *l = (struct gw_known_list){0};
}

static void test_follows_registry(void **state)
{
    struct gw_known_list l = {0};
    struct cmx_why e = {0};
    struct gw_known *kept;

    (void)state;
    assert_null(gw_known_find(&l, "d-001"));
    set_registry(0, NULL);
    assert_int_equal(gw_known_read(&l, NULL, &e), CMX_OK);
    assert_names(&l, 0, NULL);
    set_registry(3, (int[]){2, 4, 6});
    assert_int_equal(gw_known_read(&l, NULL, &e), CMX_OK);
    assert_names(&l, 3, (int[]){2, 4, 6});
    kept = gw_known_find(&l, "d-004");
    kept->retry_ms = 77;
    gw_known_find(&l, "d-006")->pid = 1; /* stays without a policy, because its check is running */
    set_registry(3, (int[]){1, 4, 7});
    assert_int_equal(gw_known_read(&l, NULL, &e), CMX_OK);
    assert_names(&l, 4, (int[]){1, 4, 6, 7});
    assert_ptr_equal(gw_known_find(&l, "d-004"), kept);
    assert_int_equal(kept->retry_ms, 77);
    gw_known_find(&l, "d-006")->pid = 0;
    assert_int_equal(gw_known_read(&l, NULL, &e), CMX_OK);
    assert_names(&l, 3, (int[]){1, 4, 7});
    /* An error in the middle removes nothing, and the list can still be searched. */
    set_registry(3, (int[]){0, 2, 4});
    fail_after = 2;
    assert_int_equal(gw_known_read(&l, NULL, &e), CMX_EIO);
    fail_after = 0;
    assert_names(&l, 5, (int[]){0, 1, 2, 4, 7});
    list_free(&l);
}

static void test_checks_again_at_once(void **state)
{
    struct gw_known_list l = {0};
    struct cmx_why e = {0};
    struct gw_known *k;

    (void)state;
    set_registry(1, (int[]){1});
    registry[0].at = 100;
    assert_int_equal(gw_known_read(&l, NULL, &e), CMX_OK);
    k = l.all[0];
    k->silent = true;
    k->next_ms = k->retry_ms = 5000;
    assert_int_equal(gw_known_read(&l, NULL, &e), CMX_OK);
    assert_true(k->silent);
    assert_int_equal(k->next_ms, 5000);
    registry[0].at = 0; /* the evidence was removed */
    assert_int_equal(gw_known_read(&l, NULL, &e), CMX_OK);
    assert_false(k->silent);
    assert_int_equal(k->next_ms, 0);
    assert_int_equal(k->retry_ms, 0);
    k->next_ms = 5000;
    registry[0].policy = 2;
    assert_int_equal(gw_known_read(&l, NULL, &e), CMX_OK);
    assert_int_equal(k->next_ms, 0);
    list_free(&l);
}

static void test_is_due(void **state)
{
    struct gw_known k = {.standing = {.max_age_s = 600, .left = 199}};

    (void)state;
    assert_true(gw_known_is_due(&k, 10));
    k.standing.left = 200;
    assert_false(gw_known_is_due(&k, 10));
    k.logged_in = true;
    assert_true(gw_known_is_due(&k, 10));
    k.next_ms = 11;
    assert_false(gw_known_is_due(&k, 10));
    assert_true(gw_known_is_due(&k, 11));
    k.standing.exempt = true;
    assert_false(gw_known_is_due(&k, 11));
    k.standing.exempt = false;
    k.pid = 1;
    assert_false(gw_known_is_due(&k, 11));
    k.pid = 0;
    k.decided = true;
    assert_false(gw_known_is_due(&k, 11));
}

/* A device counts as silent once failed checks have raised the wait between its checks to four times the minimum. */
static void test_is_silent(void **state)
{
    const struct gw_known silent = {.retry_ms = 4 * GW_KNOWN_RETRY_MIN_MS, .result = {.reason = "no answer"}};
    struct gw_known k = silent;

    (void)state;
    assert_true(gw_known_is_silent(&k));
    k.retry_ms--;
    assert_false(gw_known_is_silent(&k));
    k = silent;
    k.result.verdict = GW_CHECK_UNTRUSTED;
    assert_false(gw_known_is_silent(&k));
    k = silent;
    k.result.reason[0] = '\0';
    assert_false(gw_known_is_silent(&k));
    k = silent;
    k.silent = true; /* the reason is stored already */
    assert_false(gw_known_is_silent(&k));
    k = silent;
    k.standing.exempt = true;
    assert_false(gw_known_is_silent(&k));
    k = silent;
    k.standing.trusted = true;
    assert_false(gw_known_is_silent(&k));
    k = silent;
    k.pid = 1;
    assert_false(gw_known_is_silent(&k));
    k = silent;
    k.decided = true;
    assert_false(gw_known_is_silent(&k));
}

/* Simulates a check with this verdict, then a login. trusted_before: the device was trusted before the check. Returns
 * the ms until the next check. */
static uint64_t check_ends(struct gw_known *k, gw_check_verdict verdict, bool trusted_before, uint64_t now_ms)
{
    k->result.verdict = verdict;
    k->standing.trusted = trusted_before;
    gw_known_checked(k, now_ms);
    gw_known_login(k);
    return k->next_ms > now_ms ? k->next_ms - now_ms : 0;
}

/* A device that gives good and bad evidence in turn, and logs in each time, is checked less and less often. */
static void test_flapping_is_slowed(void **state)
{
    struct gw_known k = {.logged_in = false};
    uint64_t now = 1000000;
    unsigned losses = 0;

    (void)state;
    for (const uint64_t end = now + 24 * 3600 * 1000; now < end; losses++) {
        assert_int_equal(check_ends(&k, GW_CHECK_TRUSTED, false, now), 0);
        now += check_ends(&k, GW_CHECK_UNTRUSTED, true, now) + 1;
    }
    assert_in_range(losses, 24 * 6, 24 * 6 + 12);
    /* Once the device has lost no trust for an hour, the wait is short again. */
    assert_int_equal(check_ends(&k, GW_CHECK_UNTRUSTED, true, now + GW_KNOWN_CALM_MS), GW_KNOWN_RETRY_MIN_MS);
}

/* A login makes a device due at once if it has not lost its trust since: it was away, or its firmware was bad before.
 */
static void test_login_checks_at_once(void **state)
{
    struct gw_known k = {.logged_in = false};
    uint64_t now = 1000000;

    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(check_ends(&k, GW_CHECK_UNKNOWN, false, now), 0);
        assert_int_equal(check_ends(&k, GW_CHECK_UNKNOWN, true, now), 0);
        assert_int_equal(check_ends(&k, GW_CHECK_UNTRUSTED, false, now), 0);
    }
    /* Without a login, the wait grows up to GW_KNOWN_RETRY_MAX_MS. */
    for (int i = 0; i < 20; i++)
        gw_known_checked(&k, now);
    assert_int_equal(k.next_ms, now + GW_KNOWN_RETRY_MAX_MS);
}

/* Devices that are due again as soon as their check has ended do not keep the others from being checked. */
static void test_devices_take_turns(void **state)
{
    int numbers[DEVICES_MAX];
    unsigned checked[DEVICES_MAX] = {0};
    struct gw_known_list l = {0};
    struct cmx_why e = {0};

    (void)state;
    assert_null(gw_known_next_due(&l, 0));
    for (int i = 0; i < DEVICES_MAX; i++)
        numbers[i] = i;
    set_registry(DEVICES_MAX, numbers);
    assert_int_equal(gw_known_read(&l, NULL, &e), CMX_OK);
    for (size_t i = 0; i < 3 * DEVICES_MAX; i++) {
        const struct gw_known *k = gw_known_next_due(&l, 0);

        assert_non_null(k);
        checked[k->standing.device]++;
    }
    for (size_t i = 0; i < DEVICES_MAX; i++)
        assert_int_equal(checked[i], 3);
    /* The turn stays valid when the list gets shorter. */
    set_registry(2, numbers);
    l.turn = DEVICES_MAX - 1;
    assert_int_equal(gw_known_read(&l, NULL, &e), CMX_OK);
    assert_non_null(gw_known_next_due(&l, 0));
    l.all[0]->pid = l.all[1]->pid = 1;
    assert_null(gw_known_next_due(&l, 0));
    list_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follows_registry),
        cmocka_unit_test(test_checks_again_at_once),
        cmocka_unit_test(test_is_due),
        cmocka_unit_test(test_is_silent),
        cmocka_unit_test(test_flapping_is_slowed),
        cmocka_unit_test(test_login_checks_at_once),
        cmocka_unit_test(test_devices_take_turns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
