/* The interface of the original CMXsafe-ESP32: a sketch with the lines from its README and settings.h, compiled as C
 * and as C++; and the emulation of FreeRTOS's tasks on Linux. This file replaces cmx_device_forward and checks its
 * arguments. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/device/device.h"
#include "cmxsafe/port/port.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

void sketch_setup_c(void);
void sketch_setup_cpp(void);
bool verifyRollbackLater(void);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cmx_settings got_settings;
static TaskParameters got[3];
static int n_got;

cmx_err cmx_device_forward(const struct cmx_settings *settings, const TaskParameters *context)
{
    pthread_mutex_lock(&lock);
    got_settings = *settings;
    if (n_got < 3)
        got[n_got++] = *context;
    pthread_mutex_unlock(&lock);
    return CMX_OK;
}

static int count(void)
{
    int n;

    pthread_mutex_lock(&lock);
    n = n_got;
    pthread_mutex_unlock(&lock);
    return n;
}

static const TaskParameters *find(int port)
{
    for (int i = 0; i < 3; i++)
        if (got[i].local_port == port)
            return &got[i];
    fail_msg("no context for port %d", port);
    return NULL;
}

static void run_sketch(void (*setup)(void))
{
    n_got = 0;
    setup();
    for (int i = 0; i < 3000 && count() < 3; i++)
        cmx_port_sleep_ms(10);
    assert_int_equal(count(), 3);
    assert_int_equal(find(81)->forward_remote_port, 81);
    assert_true(find(81)->high_bw);
    assert_int_equal(find(81)->max_connections, 0);
    assert_null(find(81)->session);
    assert_int_equal(find(8989)->forward_remote_port, 8989);
    assert_false(find(8888)->high_bw);

    assert_string_equal(got_settings.remote_host, "172.20.10.4");
    assert_string_equal(got_settings.local_host, "127.0.0.1");
    assert_int_equal(got_settings.remote_port, 2233);
    assert_string_equal(got_settings.username, "user");
    assert_string_equal(got_settings.password, "password");
    assert_int_equal(got_settings.timeout_s, 10);
    assert_false(got_settings.multichannel);
    assert_string_equal(got_settings.verbosity, "SSH_LOG_NOLOG;");
    /* Settings that the settings.h of CMXsafe-ESP32 lacks have the library's defaults. */
    assert_int_equal(got_settings.n_host_keys, 1);
    assert_string_equal(got_settings.host_keys[0], "");
    assert_string_equal(got_settings.client_key, "");
    assert_false(got_settings.client_key_derived);
    assert_int_equal(got_settings.task_stack, 7168);
}

static void test_sketch_as_c(void **state)
{
    (void)state;
    run_sketch(sketch_setup_c);
}

static void test_sketch_as_cpp(void **state)
{
    (void)state;
    run_sketch(sketch_setup_cpp);
}

/* Both files of the sketch include ota.h, which defines verifyRollbackLater for Arduino's core. This function
 * returns true, so that a new image stays on trial. */
static void test_arduino_leaves_a_new_image_on_trial(void **state)
{
    (void)state;
    assert_true(verifyRollbackLater());
}

/* ---- FreeRTOS ---- */

static volatile int steps;

static void short_task(void *arg)
{
    steps += *(int *)arg;
    vTaskDelete(NULL);
    steps = -1000; /* must not be reached */
}

static void endless_task(void *arg)
{
    (void)arg;
    for (;;)
        vTaskDelay(1);
}

static void wait_deleted(TaskHandle_t task)
{
    for (int i = 0; i < 3000 && eTaskGetState(task) != eDeleted; i++)
        vTaskDelay(pdMS_TO_TICKS(10));
    assert_int_equal(eTaskGetState(task), eDeleted);
}

static void test_task_deletes_itself(void **state)
{
    struct cmx_mem_stats before, after;
    TaskHandle_t task = NULL;
    int arg = 7;

    (void)state;
    cmx_mem_stats(&before);
    steps = 0;
    assert_int_equal(xTaskCreatePinnedToCore(short_task, "short", 2048, &arg, 5, &task, 1), pdPASS);
    wait_deleted(task);
    assert_int_equal(steps, 7);
    for (int i = 0; i < 300; i++) { /* the task's record is freed shortly after its end */
        cmx_mem_stats(&after);
        if (after.live_blocks == before.live_blocks)
            return;
        cmx_port_sleep_ms(10);
    }
    fail_msg("a task's record is not freed");
}

static void test_task_is_deleted_by_another(void **state)
{
    TaskHandle_t task = NULL;

    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* TSan misjudges the locks of a thread that is cancelled in nanosleep */
#endif
    assert_int_equal(xTaskCreate(endless_task, "a name longer than sixteen", 2048, NULL, 5, &task), pdPASS);
    assert_int_equal(eTaskGetState(task), eReady);
    assert_string_equal(pcTaskGetName(task), "a name longer t");
    vTaskDelete(task);
    wait_deleted(task);
}

static void test_task_without_memory(void **state)
{
    TaskHandle_t task = NULL;

    (void)state;
    cmx_mem_fail_at(1);
    assert_int_equal(xTaskCreate(endless_task, "none", 2048, NULL, 5, &task), errCOULD_NOT_ALLOCATE_REQUIRED_MEMORY);
    assert_null(task);
}

static void test_delay(void **state)
{
    TickType_t start = xTaskGetTickCount();
    TickType_t wake = start;

    (void)state;
    vTaskDelay(20 / portTICK_PERIOD_MS);
    assert_true(xTaskGetTickCount() - start >= 20);
    vTaskDelayUntil(&wake, 40);
    assert_true(xTaskGetTickCount() - start >= 40);
    assert_int_equal(wake, start + 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sketch_as_c),
        cmocka_unit_test(test_sketch_as_cpp),
        cmocka_unit_test(test_arduino_leaves_a_new_image_on_trial),
        cmocka_unit_test(test_task_deletes_itself),
        cmocka_unit_test(test_task_is_deleted_by_another),
        cmocka_unit_test(test_task_without_memory),
        cmocka_unit_test(test_delay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
