/* The list of gateways: parsing, and the order in which a device tries the gateways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/proxy/session_gateway.h"
#include "cmxsafe/proxy/session_login.h"

static uint32_t next_random;

/* These functions replace the product's, so that the test controls random numbers and needs no tasks or locks. */
uint32_t cmx_session_random(uint32_t otherwise)
{
    (void)otherwise;
    return next_random;
}

static unsigned lookups_dropped;

void cmx_session_login_drop_lookup(struct session *s)
{
    (void)s;
    lookups_dropped++;
}

static unsigned wakes;

void cmx_session_wake(struct session *s)
{
    (void)s;
    wakes++;
}

void cmx_port_mutex_lock(struct cmx_mutex *m)
{
    (void)m;
}

void cmx_port_mutex_unlock(struct cmx_mutex *m)
{
    (void)m;
}

/* Returns a value of next_random that selects entry i of n. */
static uint32_t pick(unsigned i, unsigned n)
{
    return (uint32_t)(((uint64_t)i << 32) / n + 1);
}

/* ---- parsing the list of gateways ---- */

static void expect_list(const char *text, const char *want)
{
    struct cmx_gateway_list l;
    char have[512] = "";
    size_t n = 0;

    if (cmx_gateway_list_parse(&l, text, 22, NULL) != CMX_OK)
        snprintf(have, sizeof have, "refused");
    for (size_t i = 0; i < l.n; i++)
        n += (size_t)snprintf(have + n, sizeof have - n, "%s%u/%s/%u", i ? " " : "", (unsigned)l.at[i].group,
                              l.at[i].host, (unsigned)l.at[i].port);
    assert_string_equal(have, want);
}

static void lists_are_read(void **state)
{
    (void)state;
    expect_list("gw", "0/gw/22");
    expect_list(" gw1.example,gw2.example:2222 > backup_1.example\t", "0/gw1.example/22 0/gw2.example/2222 "
                                                                      "1/backup_1.example/22");
    expect_list("a>b>c,d", "0/a/22 1/b/22 2/c/22 2/d/22");
    expect_list("2001:db8::1", "0/2001:db8::1/22");
    expect_list("[2001:db8::1]", "0/2001:db8::1/22");
    expect_list("[fe80::1%eth0]:65535, 192.0.2.1:1", "0/fe80::1%eth0/65535 0/192.0.2.1/1");
    expect_list("1,2,3,4>5,6,7,8", "0/1/22 0/2/22 0/3/22 0/4/22 1/5/22 1/6/22 1/7/22 1/8/22");
}

static void other_texts_are_refused(void **state)
{
    static const char *const texts[] = {
        "",        " ",     ",",       "a,",      ",a",    "a,,b", "a>",   ">a",   "a>>b",
        "a b",     "a:0",   "a:",      "a:65536", "a:22x", "a:+1", "[::1", "::1]", "[::1]22",
        "[]",      "[]:22", ":22",     "a;b",     "a|b",   "a/b",  "a\nb", "a@b",  "1,2,3,4,5,6,7,8,9",
        "[a]:1:2", "\x80",  "user@gw", "a,b:0"};
    struct cmx_gateway_list l;
    char text[CMX_GATEWAYS_TEXT_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct cmx_why why = {""};

        if (cmx_gateway_list_parse(&l, texts[i], 22, &why) != CMX_EINVAL || l.n || !why.text[0])
            fail_msg("not refused: '%s'", texts[i]);
    }
    memset(text, 'a', sizeof text);
    text[CMX_GATEWAYS_TEXT_MAX] = 0;
    assert_int_equal(cmx_gateway_list_parse(&l, text, 22, NULL), CMX_EINVAL);
    text[CMX_GATEWAYS_TEXT_MAX - 1] = 0;
    assert_int_equal(cmx_gateway_list_parse(&l, text, 22, NULL), CMX_OK);
}

/* ---- the order in which a device tries gateways ---- */

static struct cmx_gateway_list list;

static void read_list(const char *text)
{
    assert_int_equal(cmx_gateway_list_parse(&list, text, 22, NULL), CMX_OK);
}

/* Whatever the random numbers are, each round tries each gateway once, one group after the other. */
static void a_round_tries_each_once_in_the_order_of_the_groups(void **state)
{
    uint32_t random = 1;
    struct cmx_gateway_turn t;

    (void)state;
    read_list("a,b,c>d>e,f,g,h");
    cmx_gateway_turn_begin(&t, &list, UINT32_MAX);
    assert_int_equal(t.at, 2);
    for (unsigned round = 0; round < 1000; round++) {
        unsigned seen = 0, group = 0;

        for (unsigned i = 0; i < 8; i++) {
            assert_false(seen >> t.at & 1);
            seen |= 1u << t.at;
            assert_true(list.at[t.at].group >= group);
            group = list.at[t.at].group;
            assert_int_equal(cmx_gateway_turn_is_last(&t, &list), i == 7);
            random = random * 1664525u + 1013904223u;
            cmx_gateway_turn_next(&t, &list, random);
        }
        assert_int_equal(seen, 255);
        assert_int_equal(t.tried, 0);
    }
}

/* When a gateway dies, its devices spread evenly over the other gateways of its group. */
static void a_group_is_chosen_from_evenly(void **state)
{
    unsigned count[4] = {0};
    struct cmx_gateway_turn t;

    (void)state;
    read_list("a,b,c>d");
    for (unsigned i = 0; i < 3000; i++) {
        t = (struct cmx_gateway_turn){.at = 1};
        cmx_gateway_turn_worked(&t);
        cmx_gateway_turn_next(&t, &list, i * (UINT32_MAX / 3000));
        count[t.at]++;
    }
    assert_int_equal(count[1] + count[3], 0);
    assert_in_range(count[0], 1490, 1510);
}

/* ---- the sessions of a device ---- */

static struct engine engine;
static struct cmx_proxy_config config;
static struct session one, two;

static int device(void **state)
{
    (void)state;
    assert_int_equal(cmx_gateway_list_parse(&config.gateways, "a, b > c", 22, NULL), CMX_OK);
    engine = (struct engine){0};
    one = (struct session){.engine = &engine, .config = &config};
    two = one;
    one.next = &two;
    engine.sessions = &one;
    next_random = pick(0, 2);
    cmx_session_gateway_begin(&engine, &config);
    return 0;
}

static void enter(struct session *s, uint8_t want)
{
    cmx_session_gateway_enter(s);
    assert_int_equal(s->gateway, want);
}

static void all_sessions_use_one_gateway(void **state)
{
    (void)state;
    enter(&one, 0);
    enter(&two, 0);
    assert_false(cmx_session_gateway_failed(&one, CMX_EREFUSED)); /* the engine moves on to gateway b */
    assert_false(cmx_session_gateway_failed(&two, CMX_EREFUSED)); /* the engine has already moved on */
    enter(&two, 1);
    assert_int_equal(cmx_session_gateway_join(&two), CMX_OK);
    enter(&one, 1);
    /* A session whose login is refused tries no other gateway while another session is up on the gateway that refused
     * it. */
    assert_true(cmx_session_gateway_failed(&one, CMX_EAUTH));
    enter(&one, 1);
    assert_int_equal(engine.n_up, 1);
}

/* One session has given up on a gateway. Then the other session logs in to it. The first session must return to this
 * gateway. */
static void the_session_that_gets_in_decides(void **state)
{
    (void)state;
    enter(&one, 0);
    enter(&two, 0);
    assert_false(cmx_session_gateway_failed(&one, CMX_ECLOSED));
    assert_int_equal(cmx_session_gateway_join(&two), CMX_OK);
    enter(&one, 0);
    assert_int_equal(cmx_session_gateway_join(&one), CMX_OK);
    cmx_session_gateway_leave(&one);
    cmx_session_gateway_leave(&two);
    assert_int_equal(engine.n_up, 0);
}

static void a_session_elsewhere_is_given_up(void **state)
{
    (void)state;
    enter(&one, 0);
    enter(&two, 0);
    assert_false(cmx_session_gateway_failed(&one, CMX_ECLOSED));
    enter(&one, 1);
    assert_int_equal(cmx_session_gateway_join(&one), CMX_OK);
    assert_int_equal(cmx_session_gateway_join(&two), CMX_EBUSY);
    assert_false(cmx_session_gateway_failed(&two, CMX_EBUSY));
    enter(&two, 1);
}

static void up_and_down(struct session *s, bool proven, cmx_err err)
{
    assert_int_equal(cmx_session_gateway_join(s), CMX_OK);
    s->proven = proven;
    cmx_session_gateway_leave(s);
    (void)cmx_session_gateway_failed(s, err);
}

static void a_gateway_that_worked_is_tried_again_first(void **state)
{
    (void)state;
    enter(&one, 0);
    (void)cmx_session_gateway_failed(&one, CMX_EREFUSED);
    enter(&one, 1);
    up_and_down(&one, true, CMX_ECLOSED);
    enter(&one, 1);
    assert_false(cmx_session_gateway_failed(&one, CMX_EREFUSED));
    enter(&one, 0); /* the rest of the group is tried, then the backup */
    assert_false(cmx_session_gateway_failed(&one, CMX_EREFUSED));
    enter(&one, 2);
    assert_true(cmx_session_gateway_failed(&one, CMX_EREFUSED));
    enter(&one, 0); /* a new round begins */
}

static void a_gateway_that_fell_silent_or_ends_sessions_at_once_is_left(void **state)
{
    (void)state;
    enter(&one, 0);
    up_and_down(&one, true, CMX_ETIMEOUT);
    enter(&one, 1);
    up_and_down(&one, false, CMX_ECLOSED);
    enter(&one, 2);
}

/* Session two is up on gateway a, to which session one can no longer connect. */
static void shut_out(void)
{
    enter(&one, 0);
    enter(&two, 0);
    assert_int_equal(cmx_session_gateway_join(&two), CMX_OK);
    for (int i = 0; i < 2; i++) {
        assert_true(cmx_session_gateway_failed(&one, CMX_EREFUSED));
        enter(&one, 0);
    }
    assert_false(cmx_session_gateway_failed(&one, CMX_EREFUSED));
}

static void all_move_once_another_gateway_works(void **state)
{
    (void)state;
    shut_out();
    enter(&one, 1);
    assert_false(cmx_session_gateway_left(&two));
    assert_false(cmx_session_gateway_failed(&one, CMX_EREFUSED));
    enter(&one, 2);
    assert_false(cmx_session_gateway_left(&two));
    wakes = 0;
    assert_int_equal(cmx_session_gateway_join(&one), CMX_OK);
    assert_int_equal(wakes, 2); /* both sessions are woken: session two may be at rest */
    assert_true(cmx_session_gateway_left(&two));
    cmx_session_gateway_leave(&two);
    assert_false(cmx_session_gateway_failed(&two, CMX_EBUSY));
    enter(&two, 2);
    assert_int_equal(cmx_session_gateway_join(&two), CMX_OK);
    assert_int_equal(wakes, 2);
    assert_false(cmx_session_gateway_left(&one));
}

static void a_session_stays_while_no_other_gateway_works(void **state)
{
    (void)state;
    shut_out();
    enter(&one, 1);
    assert_false(cmx_session_gateway_failed(&one, CMX_EREFUSED));
    enter(&one, 2);
    assert_true(cmx_session_gateway_failed(&one, CMX_EREFUSED));
    enter(&one, 0); /* the next round begins */
    assert_false(cmx_session_gateway_left(&two));
    assert_int_equal(engine.n_up, 1);
}

/* If the engine moves to another gateway while session one searches, session one ends its search and follows. */
static void a_search_ends_with_its_cause(void **state)
{
    (void)state;
    shut_out();
    enter(&one, 1);
    engine.turn.at = 2;
    assert_int_equal(cmx_session_gateway_join(&one), CMX_EBUSY);
    (void)cmx_session_gateway_failed(&one, CMX_EBUSY);
    enter(&one, 2);
}

/* If a gateway refuses a session for a reason that concerns only this session, the other sessions do not move. */
static void a_refused_login_moves_nobody(void **state)
{
    (void)state;
    enter(&one, 0);
    enter(&two, 0);
    assert_int_equal(cmx_session_gateway_join(&two), CMX_OK);
    for (int i = 0; i < 20; i++) {
        assert_true(cmx_session_gateway_failed(&one, i % 2 ? CMX_EAUTH : CMX_EHOSTKEY));
        enter(&one, 0);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(cmx_session_gateway_join(&one), CMX_OK);
        cmx_session_gateway_leave(&one);
        assert_true(cmx_session_gateway_failed(&one, CMX_ECLOSED));
        enter(&one, 0);
    }
}

static void each_address_of_a_name_is_tried(void **state)
{
    (void)state;
    enter(&one, 0);
    one.more_addresses = true;
    assert_false(cmx_session_gateway_failed(&one, CMX_EHOSTKEY));
    enter(&one, 0);
    assert_int_equal(one.address, 1);
    one.more_addresses = false;
    one.tried_types = 1;
    lookups_dropped = 0;
    assert_false(cmx_session_gateway_failed(&one, CMX_EHOSTKEY));
    enter(&one, 1);
    assert_int_equal(one.address, 0);
    assert_int_equal(one.tried_types, 0);
    assert_int_equal(lookups_dropped, 1);
}

static void a_new_list_keeps_the_gateway_in_use(void **state)
{
    static struct cmx_proxy_config next;

    (void)state;
    engine.turn.at = 1;
    assert_int_equal(cmx_gateway_list_parse(&next.gateways, "x, y > b, a", 22, NULL), CMX_OK);
    cmx_session_gateway_change(&engine, &next, &config);
    assert_int_equal(engine.turn.at, 2);
    assert_int_equal(cmx_gateway_list_parse(&next.gateways, "x, b:2222", 22, NULL), CMX_OK);
    engine.turn.at = 1;
    next_random = pick(0, 2);
    cmx_session_gateway_change(&engine, &next, &config);
    assert_int_equal(engine.turn.at, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_read),
        cmocka_unit_test(other_texts_are_refused),
        cmocka_unit_test(a_round_tries_each_once_in_the_order_of_the_groups),
        cmocka_unit_test(a_group_is_chosen_from_evenly),
        cmocka_unit_test_setup(all_sessions_use_one_gateway, device),
        cmocka_unit_test_setup(the_session_that_gets_in_decides, device),
        cmocka_unit_test_setup(a_session_elsewhere_is_given_up, device),
        cmocka_unit_test_setup(a_gateway_that_worked_is_tried_again_first, device),
        cmocka_unit_test_setup(a_gateway_that_fell_silent_or_ends_sessions_at_once_is_left, device),
        cmocka_unit_test_setup(all_move_once_another_gateway_works, device),
        cmocka_unit_test_setup(a_session_stays_while_no_other_gateway_works, device),
        cmocka_unit_test_setup(a_search_ends_with_its_cause, device),
        cmocka_unit_test_setup(a_refused_login_moves_nobody, device),
        cmocka_unit_test_setup(each_address_of_a_name_is_tried, device),
        cmocka_unit_test_setup(a_new_list_keeps_the_gateway_in_use, device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
