/* Tests device_update.c: why there is no update service, and what then becomes of an image on trial. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmxsafe/device/device_update.h"
#include "port/linux/linux_port.h"

#define KEY                                                                                                            \
    "04779f3a011bc8a7a3dec54e3ac27703b60792e22ea8e74716d9da80bbb59969c929e6c1e919fd105005a87c4fa5b8b03be632f13513e6f0" \
    "23cfcb00af6279d52c"

static const struct cmx_settings settings = {.ota_public_key = ""};
static struct cmx_slots_status slots_status;
static unsigned rollbacks, restarts;

static cmx_err get_status(void *arg, struct cmx_slots_status *out)
{
    (void)arg;
    *out = slots_status;
    return CMX_OK;
}

static cmx_err roll_back(void *arg, const char *reason, struct cmx_why *why)
{
    (void)arg;
    (void)why;
    assert_true(strlen(reason) < sizeof slots_status.rolled_back_why);
    rollbacks++;
    return CMX_OK;
}

static void restart(void *arg)
{
    (void)arg;
    restarts++;
}

static int set_up(void **state)
{
    static const struct cmx_linux_device device = {.restart = restart};

    (void)state;
    cmx_linux_set_device(&device);
    slots_status = (struct cmx_slots_status){.running = "ota_0", .target = "ota_1", .target_size = 65536};
    rollbacks = restarts = 0;
    return 0;
}

/* Runs the service, and stores what it logs in text. */
static cmx_err run(char *text, size_t cap)
{
    int pipes[2], before = dup(STDERR_FILENO);
    ssize_t n;
    cmx_err err;

    assert_int_equal(pipe(pipes), 0);
    assert_true(dup2(pipes[1], STDERR_FILENO) >= 0);
    err = cmx_device_update_run(&settings);
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    close(pipes[1]);
    n = read(pipes[0], text, cap - 1);
    text[n > 0 ? n : 0] = '\0';
    close(pipes[0]);
    close(before);
    return err;
}

/* Runs first: cmx_device_set_updates has not been called yet. */
static void test_no_slots(void **state)
{
    char text[256];

    (void)state;
    assert_int_equal(run(text, sizeof text), CMX_ENOTSUP);
    assert_string_equal(text, "E ota: no update service: the platform has no slots\n");
}

static void no_service(const struct cmx_ota_config *config, const char *key, cmx_err expected, const char *message)
{
    char text[512];

    for (int pending = 0; pending < 2; pending++) {
        slots_status.pending = pending;
        cmx_device_set_updates(config, key);
        assert_int_equal(run(text, sizeof text), expected);
        assert_non_null(strstr(text, message));
        assert_int_equal(rollbacks, pending);
        assert_int_equal(restarts, pending);
    }
}

/* A new image whose update service does not start could never be replaced, so the device returns to the old image. */
static void test_an_image_without_updates_is_rolled_back(void **state)
{
    static const char *const no_keys[] = {"not a key", " ", ",",
                                          ", ,"}; /* a list of no keys is an error, but "" is not */
    static const char two_keys[] = " " KEY " , " KEY ", ";
    struct cmx_ota_config config = {.address = "no address", .slots = {.status = get_status, .rollback = roll_back}};

    (void)state;
    for (size_t i = 0; i < sizeof no_keys / sizeof no_keys[0]; i++) {
        no_service(&config, no_keys[i], CMX_EINVAL, "no update service: the public key is not P-256");
        rollbacks = restarts = 0;
    }
    no_service(&config, "", CMX_EINVAL, "cannot serve on port 8989");
    rollbacks = restarts = 0;
    no_service(&config, two_keys, CMX_EINVAL, "cannot serve on port 8989");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_no_slots, set_up),
        cmocka_unit_test_setup(test_an_image_without_updates_is_rolled_back, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
