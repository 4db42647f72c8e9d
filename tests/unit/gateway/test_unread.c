/* The guard ends all grants if the registry cannot be read or applied for a minute. The functions below replace those
 * that read the registry and change the rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define gw_unread_check unread_check
#define cmx_port_now_ms now_ms
#define gw_folder_is_abandoned is_abandoned
#define gw_folder_is_settled is_settled
#define gw_apply_check apply_check
#define gw_registry_open registry_open
#define gw_registry_close registry_close
#define gw_sweep_fleet sweep_fleet
#define nft_run_cmd_from_buffer run_nft
#include "gateway/server/gw_unread.c"

static uint64_t now;
static bool abandoned, settled, nft_fails;
static cmx_err registry, apply; /* what the calls below return */
static unsigned flushes, sweeps, opens, closes;
static struct gw_unread unread;
static char wrong[160];

uint64_t now_ms(void)
{
    return now;
}

bool is_abandoned(const struct gw *g)
{
    (void)g;
    return abandoned;
}

bool is_settled(const struct gw *g)
{
    (void)g;
    return settled;
}

cmx_err apply_check(struct gw *g, struct cmx_why *e)
{
    (void)g;
    return apply ? cmx_why_fail(e, apply, "no link") : CMX_OK;
}

cmx_err registry_open(struct gw_registry *r, const char *path, bool writable, struct cmx_why *e)
{
    (void)r;
    assert_string_equal(path, "/folder/registry.db");
    assert_false(writable);
    opens += !registry;
    return registry ? cmx_why_fail(e, registry, "no registry") : CMX_OK;
}

void registry_close(struct gw_registry *r)
{
    (void)r;
    closes++;
}

cmx_err sweep_fleet(const struct gw *g, struct cmx_why *e)
{
    (void)g;
    (void)e;
    sweeps++;
    return CMX_OK;
}

int run_nft(struct nft_ctx *nft, const char *command)
{
    (void)nft;
    assert_string_equal(command, "flush set inet cmxsafe grants\nflush set inet cmxsafe by_user\n"
                                 "flush set inet cmxsafe by_group\n");
    flushes++;
    return nft_fails ? -1 : 0;
}

static int set_up(void **state)
{
    (void)state;
    now = 1000000;
    abandoned = nft_fails = false;
    settled = true;
    registry = apply = CMX_OK;
    flushes = sweeps = opens = closes = 0;
    unread = (struct gw_unread){0};
    wrong[0] = '\0';
    return 0;
}

/* Runs the check for ms milliseconds, as often as the guard does. Returns how many times it ended the grants. */
static unsigned run_for(uint64_t ms)
{
    static struct gw g = {.dir = "/folder"};
    unsigned n = 0;

    for (uint64_t end = now + ms; now < end; now += 200)
        n += unread_check(&unread, &g, NULL, wrong, sizeof wrong);
    assert_int_equal(opens, closes);
    return n;
}

/* Expects that the checks end the grants once, after a minute and not before, and report `why`. Repeats this once. */
static void ends_after_a_minute(const char *why)
{
    assert_int_equal(run_for(GW_UNREAD_MAX_MS - 200), 0);
    assert_int_equal(flushes, 0);
    assert_int_equal(run_for(CHECK_MS + 400), 1);
    assert_int_equal(flushes, 1);
    assert_int_equal(sweeps, 1);
    assert_non_null(strstr(wrong, why));
    assert_int_equal(run_for(GW_UNREAD_MAX_MS + CHECK_MS), 0); /* no second end while no rules are loaded */
    wrong[0] = '\0';                                           /* the guard has loaded rules again */
    assert_int_equal(run_for(GW_UNREAD_MAX_MS - 200), 0);
    assert_int_equal(run_for(CHECK_MS + 400), 1);
}

static void a_lost_registry(void **state)
{
    (void)state;
    assert_int_equal(run_for(2 * GW_UNREAD_MAX_MS), 0);
    assert_in_range(opens, 2 * GW_UNREAD_MAX_MS / CHECK_MS - 1, 2 * GW_UNREAD_MAX_MS / CHECK_MS + 1);
    registry = CMX_EIO;
    ends_after_a_minute("could not be read or applied for a minute: no registry");
    registry = CMX_OK; /* the registry is back; whether the guard has loaded all rules is not known */
    assert_int_equal(run_for(CHECK_MS), 0);
    registry = CMX_EIO;
    assert_int_equal(run_for(GW_UNREAD_MAX_MS + 2 * CHECK_MS), 1);
}

static void a_change_that_is_not_in_force(void **state)
{
    (void)state;
    abandoned = true;
    settled = false;
    ends_after_a_minute("the rules could not be written or loaded");
    wrong[0] = '\0';
    apply = CMX_ENOENT;
    flushes = sweeps = 0;
    ends_after_a_minute("no link");
}

/* The minute begins again only if the registry is readable and in force. */
static void an_interruption(void **state)
{
    (void)state;
    registry = CMX_EIO;
    assert_int_equal(run_for(GW_UNREAD_MAX_MS - CHECK_MS), 0);
    registry = CMX_OK;
    assert_int_equal(run_for(CHECK_MS), 0);
    registry = CMX_EIO;
    assert_int_equal(run_for(GW_UNREAD_MAX_MS - CHECK_MS), 0);
    registry = CMX_OK;
    settled = false; /* another process has not completed a change of the rules */
    assert_int_equal(run_for(CHECK_MS), 0);
    registry = CMX_EIO;
    assert_int_equal(run_for(2 * CHECK_MS), 1);
}

static void rules_that_cannot_be_changed(void **state)
{
    (void)state;
    registry = CMX_EIO;
    nft_fails = true;
    assert_int_equal(run_for(GW_UNREAD_MAX_MS + 2 * CHECK_MS), 0);
    assert_true(flushes > 1); /* each check tries again */
    assert_int_equal(sweeps, 0);
    assert_string_equal(wrong, "");
    nft_fails = false;
    assert_int_equal(run_for(CHECK_MS), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_lost_registry, set_up),
        cmocka_unit_test_setup(a_change_that_is_not_in_force, set_up),
        cmocka_unit_test_setup(an_interruption, set_up),
        cmocka_unit_test_setup(rules_that_cannot_be_changed, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
