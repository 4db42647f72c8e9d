/* Which host key types a device requests in successive connections, and when it needs the larger stack for Ed25519:
 * only after all other types have been tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmxsafe/proxy/session_login.h"

#define ECDSA (1u << CMX_HOSTKEY_ECDSA)
#define RSA (1u << CMX_HOSTKEY_RSA)
#define ED25519 (1u << CMX_HOSTKEY_ED25519)

static struct cmx_proxy_config config;
static struct session session;

static int device(void **state)
{
    (void)state;
    config = (struct cmx_proxy_config){.pins = {{.types = CMX_HOSTKEY_ANY}}, .n_pins = 1};
    session = (struct session){.config = &config, .stack_bytes = CMX_ED25519_STACK - 1};
    return 0;
}

/* Simulates an attempt in which the gateway had no pinned key of these types: it presented another key, or none.
 * Returns true if there are types left to try. */
static bool next_after(unsigned types)
{
    session.wrong_types = types;
    return cmx_session_login_types_left(&session);
}

/* Simulates an attempt that ended for another reason: before the gateway presented a key, or after the login. */
static bool next_broken(void)
{
    return cmx_session_login_types_left(&session);
}

static void every_type_is_seen_before_the_stack_grows(void **state)
{
    (void)state;
    assert_false(cmx_session_login_lacks_stack(&session));
    assert_true(next_after(ECDSA));
    assert_false(cmx_session_login_lacks_stack(&session));
    assert_true(next_after(RSA));
    assert_true(cmx_session_login_lacks_stack(&session));
    session.stack_bytes = CMX_ED25519_STACK;
    assert_false(cmx_session_login_lacks_stack(&session));
    assert_false(next_after(ED25519));
}

static void a_gateway_without_the_types_asked_for_is_asked_for_ed25519(void **state)
{
    (void)state;
    assert_true(next_after(ECDSA | RSA));
    assert_true(cmx_session_login_lacks_stack(&session));
    session.stack_bytes = CMX_ED25519_STACK;
    assert_false(next_after(ED25519)); /* the last type: wait, then start again */
    assert_false(cmx_session_login_lacks_stack(&session));
}

/* Other failures must not move the session to the larger stack: no common cipher, a broken key exchange, or a gateway
 * that hangs up, does not answer or refuses the connection. */
static void other_failures_leave_the_stack_as_it_is(void **state)
{
    (void)state;
    assert_false(next_broken());
    assert_false(cmx_session_login_lacks_stack(&session));
    assert_true(next_after(ECDSA));
    assert_false(next_broken()); /* the types that were tried no longer count */
    assert_true(next_after(RSA));
    assert_false(cmx_session_login_lacks_stack(&session));
}

/* The gateway's ECDSA key is not the pinned key, and the gateway has no RSA key. */
static void a_refusal_among_the_types_left_is_an_answer_too(void **state)
{
    (void)state;
    assert_true(next_after(ECDSA));
    assert_false(cmx_session_login_lacks_stack(&session));
    assert_true(next_after(RSA));
    assert_true(cmx_session_login_lacks_stack(&session));
}

/* If there is no memory for the larger stack, the session waits and then requests all types again. */
static void a_move_that_fails_is_waited_for(void **state)
{
    (void)state;
    assert_true(next_after(ECDSA | RSA));
    assert_true(cmx_session_login_lacks_stack(&session));
    assert_false(next_broken());
    assert_false(cmx_session_login_lacks_stack(&session));
}

static void a_pin_of_another_type_never_needs_it(void **state)
{
    (void)state;
    config.pins[0].types = ECDSA;
    assert_false(next_after(ECDSA));
    assert_false(cmx_session_login_lacks_stack(&session));
}

/* A reload can remove all pins of the types that the round has not requested yet. The round then starts again with all
 * pinned types. */
static void pins_that_change_during_a_round_are_requested(void **state)
{
    (void)state;
    assert_true(next_after(ECDSA));
    config.pins[0].types = ECDSA;
    assert_false(cmx_session_login_lacks_stack(&session));
    assert_false(next_broken());
    assert_false(cmx_session_login_lacks_stack(&session));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_type_is_seen_before_the_stack_grows, device),
        cmocka_unit_test_setup(a_gateway_without_the_types_asked_for_is_asked_for_ed25519, device),
        cmocka_unit_test_setup(other_failures_leave_the_stack_as_it_is, device),
        cmocka_unit_test_setup(a_refusal_among_the_types_left_is_an_answer_too, device),
        cmocka_unit_test_setup(a_move_that_fails_is_waited_for, device),
        cmocka_unit_test_setup(a_pin_of_another_type_never_needs_it, device),
        cmocka_unit_test_setup(pins_that_change_during_a_round_are_requested, device),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
