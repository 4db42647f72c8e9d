/* port_esp.c - implements port.h for ESP-IDF: clock, tasks, locks, watchdog, log, restart. */
#ifdef ESP_PLATFORM

#include <freertos/FreeRTOS.h>
#include <freertos/semphr.h>
#include <freertos/task.h>

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/esp/esp_defaults.h"
#include "cmxsafe/port/esp/tasks.h"
#include "cmxsafe/port/port.h"
#include "esp_log.h"
#include "esp_system.h"
#include "esp_task_wdt.h"
#include "esp_timer.h"
#if CONFIG_CMX_STACKS_IN_PSRAM
#include "esp_heap_caps.h"
#include "freertos/idf_additions.h"
#endif

#define BREATHE_MS 300 /* a busy task sleeps after this long, so that the idle task can run and feed the watchdog */

uint64_t cmx_port_now_ms(void)
{
    return (uint64_t)esp_timer_get_time() / 1000;
}

void cmx_port_sleep_ms(uint32_t ms)
{
    /* A delay of n ticks ends at the n-th tick from now, which can be almost one tick too early: wait for one more. */
    vTaskDelay((TickType_t)(ms / portTICK_PERIOD_MS) + (ms % portTICK_PERIOD_MS ? 2 : 1));
}

/* cmxsafe's tasks, for the status. The entry of an ended task keeps its figures until another task needs the entry. */
static struct {
    portMUX_TYPE lock;
    struct place {
        TaskHandle_t task; /* NULL: the task has ended */
        struct cmx_esp_task figures;
    } places[CMX_ESP_TASKS_MAX];
} tasks = {.lock = portMUX_INITIALIZER_UNLOCKED};

struct start {
    cmx_task_fn fn;
    void *arg;
    uint32_t stack;
    char name[CMX_ESP_TASK_NAME];
};

static bool is_kind(const struct place *p, const struct start *s)
{
    return p->figures.stack == s->stack && strcmp(p->figures.name, s->name) == 0;
}

static struct place *find_place(const struct start *s)
{
    struct place *free_one = NULL;

    for (size_t i = 0; i < CMX_ESP_TASKS_MAX; i++) {
        struct place *p = &tasks.places[i];

        if (!p->task && is_kind(p, s))
            return p; /* the entry of an ended task of this kind; its stack_free_min now covers both tasks */
        if (!p->task && (!free_one || !p->figures.name[0]))
            free_one = p;
    }
    return free_one;
}

static struct place *enter(const struct start *s)
{
    struct place *p;

    taskENTER_CRITICAL(&tasks.lock);
    p = find_place(s);
    if (p) {
        if (!is_kind(p, s)) {
            memcpy(p->figures.name, s->name, sizeof p->figures.name);
            p->figures.stack_free_min = s->stack;
        }
        p->task = xTaskGetCurrentTaskHandle();
        p->figures.stack = s->stack;
    }
    taskEXIT_CRITICAL(&tasks.lock);
    return p;
}

static void leave(struct place *p)
{
    const uint32_t left = (uint32_t)uxTaskGetStackHighWaterMark(NULL);

    if (!p)
        return;
    taskENTER_CRITICAL(&tasks.lock);
    if (left < p->figures.stack_free_min)
        p->figures.stack_free_min = left;
    p->task = NULL;
    taskEXIT_CRITICAL(&tasks.lock);
}

size_t cmx_esp_tasks(struct cmx_esp_task *out, size_t cap)
{
    size_t n = 0;

    taskENTER_CRITICAL(&tasks.lock);
    for (size_t i = 0; i < CMX_ESP_TASKS_MAX && n < cap; i++) {
        const struct place *p = &tasks.places[i];

        if (!p->figures.name[0])
            continue;
        out[n] = p->figures;
        out[n].running = p->task != NULL;
        if (p->task) {
            const uint32_t left = (uint32_t)uxTaskGetStackHighWaterMark(p->task);

            out[n].stack_free_min = left < out[n].stack_free_min ? left : out[n].stack_free_min;
        }
        n++;
    }
    taskEXIT_CRITICAL(&tasks.lock);
    return n;
}

#if CONFIG_CMX_STACKS_IN_PSRAM
static BaseType_t create(TaskFunction_t run, const char *name, uint32_t stack, void *arg, BaseType_t core)
{
    return xTaskCreatePinnedToCoreWithCaps(run, name, stack, arg, CONFIG_CMX_TASK_PRIORITY, NULL, core,
                                           MALLOC_CAP_SPIRAM | MALLOC_CAP_8BIT);
}

static void end_task(void)
{
    vTaskDeleteWithCaps(NULL);
}
#else
static BaseType_t create(TaskFunction_t run, const char *name, uint32_t stack, void *arg, BaseType_t core)
{
    return xTaskCreatePinnedToCore(run, name, stack, arg, CONFIG_CMX_TASK_PRIORITY, NULL, core);
}

static void end_task(void)
{
    vTaskDelete(NULL);
}
#endif

static void run(void *p)
{
    struct start s = *(struct start *)p;
    struct place *place = enter(&s);

    cmx_mem_free(p);
    s.fn(s.arg);
    leave(place);
    end_task();
}

cmx_err cmx_port_task_start(const char *name, size_t stack_bytes, cmx_task_fn fn, void *arg)
{
    const BaseType_t core = CONFIG_CMX_TASK_CORE < 0 ? tskNO_AFFINITY : CONFIG_CMX_TASK_CORE;
    struct start *s = cmx_mem_alloc(sizeof *s);

    if (!s)
        return CMX_ENOMEM;
    s->fn = fn;
    s->arg = arg;
    s->stack = (uint32_t)(stack_bytes ? stack_bytes : CONFIG_CMX_SESSION_STACK); /* ESP-IDF counts stacks in bytes */
    snprintf(s->name, sizeof s->name, "%s", name);
    if (create(run, s->name, s->stack, s, core) == pdPASS)
        return CMX_OK;
    cmx_mem_free(s);
    return CMX_ENOMEM;
}

void cmx_port_task_name(char out[CMX_PORT_TASK_NAME])
{
    snprintf(out, CMX_PORT_TASK_NAME, "%s", pcTaskGetName(NULL));
}

size_t cmx_port_heap_free(void)
{
    return heap_caps_get_free_size(MALLOC_CAP_8BIT | MALLOC_CAP_INTERNAL);
}

struct lock {
    StaticSemaphore_t storage;
    SemaphoreHandle_t handle;
};
_Static_assert(sizeof(struct lock) <= sizeof(struct cmx_mutex), "a cmx_mutex holds a static semaphore");

static struct lock *lock_of(struct cmx_mutex *m)
{
    return (struct lock *)m->opaque;
}

void cmx_port_mutex_init(struct cmx_mutex *m)
{
    lock_of(m)->handle = xSemaphoreCreateMutexStatic(&lock_of(m)->storage);
}

void cmx_port_mutex_lock(struct cmx_mutex *m)
{
    (void)xSemaphoreTake(lock_of(m)->handle, portMAX_DELAY); /* waits without a time limit, so it cannot fail */
}

void cmx_port_mutex_unlock(struct cmx_mutex *m)
{
    (void)xSemaphoreGive(lock_of(m)->handle);
}

void cmx_port_mutex_destroy(struct cmx_mutex *m)
{
    vSemaphoreDelete(lock_of(m)->handle);
}

#if CONFIG_ESP_TASK_WDT_INIT
static void feed(void)
{
    if (esp_task_wdt_status(NULL) == ESP_OK) /* the application subscribed this task */
        (void)esp_task_wdt_reset();
}
#else
static void feed(void)
{
}
#endif

/* rest_ms does not matter: sessions wake up twice a second here, well within the watchdog's timeout. */
void cmx_port_watchdog_feed(uint32_t rest_ms)
{
    static _Thread_local uint32_t last_ms;
    uint32_t now = (uint32_t)cmx_port_now_ms();

    (void)rest_ms;
    feed();
    if (now - last_ms < BREATHE_MS)
        return;
    vTaskDelay(1); /* taskYIELD would not let tasks of lower priority run */
    last_ms = (uint32_t)cmx_port_now_ms();
}

int cmx_port_wake_open(void)
{
    return -1;
}

void cmx_port_wake(int fd)
{
    (void)fd;
}

void cmx_port_wake_clear(int fd)
{
    (void)fd;
}

int cmx_port_set_open(void)
{
    return -1;
}

cmx_err cmx_port_set_add(int set, int fd, void *arg)
{
    (void)set;
    (void)fd;
    (void)arg;
    return CMX_ENOTSUP;
}

void cmx_port_set_remove(int set, int fd)
{
    (void)set;
    (void)fd;
}

size_t cmx_port_set_ready(int set, void **args, size_t cap)
{
    (void)set;
    (void)args;
    (void)cap;
    return 0;
}

void cmx_port_background(void)
{
    vTaskPrioritySet(NULL, tskIDLE_PRIORITY + 1);
}

void cmx_port_task_done(void)
{
}

cmx_err cmx_port_socket_pair(int fd[2])
{
    (void)fd;
    return CMX_ENOTSUP; /* lwIP has no socketpair */
}

cmx_err cmx_port_mirror_socket(const uint8_t source[CMX_IPV6_LEN], int *fd, struct sockaddr_storage *local)
{
    (void)source;
    (void)fd;
    (void)local;
    return CMX_ENOTSUP;
}

void cmx_port_read_ahead(int fd)
{
    (void)fd; /* system calls are cheap in lwIP, so there is nothing to gain */
}

void cmx_port_log(cmx_log_level level, const char *tag, const char *line)
{
    static const esp_log_level_t levels[] = {ESP_LOG_ERROR, ESP_LOG_WARN, ESP_LOG_INFO, ESP_LOG_DEBUG};

    ESP_LOG_LEVEL(levels[level], tag, "%s", line);
}

void cmx_port_restart(void)
{
    esp_restart();
}

#endif
