/* freertos.c - FreeRTOS tasks as POSIX threads, for sketches on the virtual board. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "freertos/task.h"

#define STACK_MIN ((size_t)256 * 1024) /* glibc, OpenSSL and sanitizers need more stack than a device has */

/* Invariant: a task is added to the list before its thread runs, and removed when its thread ends. */
struct cmx_linux_task {
    struct cmx_linux_task *next;
    pthread_t thread;
    TaskFunction_t fn;
    void *arg;
    char name[configMAX_TASK_NAME_LEN];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cmx_linux_task *tasks;
static _Thread_local struct cmx_linux_task *current;

static void leave(void *p)
{
    struct cmx_linux_task *task = p;

    pthread_mutex_lock(&lock);
    for (struct cmx_linux_task **at = &tasks; *at; at = &(*at)->next)
        if (*at == task) {
            *at = task->next;
            break;
        }
    pthread_mutex_unlock(&lock);
    cmx_mem_free(task);
}

static void *run(void *p)
{
    struct cmx_linux_task *task = p;

    pthread_mutex_lock(&lock); /* waits until the creator has added the task to the list and stored its handle */
    pthread_mutex_unlock(&lock);
    current = task;
    pthread_cleanup_push(leave, task);
    pthread_setname_np(pthread_self(), task->name);
    task->fn(task->arg);
    pthread_cleanup_pop(1);
    return NULL;
}

static int start(struct cmx_linux_task *task, size_t stack)
{
    pthread_attr_t attr;
    int rc;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, stack > STACK_MIN ? stack : STACK_MIN);
    rc = pthread_create(&task->thread, &attr, run, task);
    pthread_attr_destroy(&attr);
    return rc;
}

BaseType_t xTaskCreatePinnedToCore(TaskFunction_t fn, const char *name, uint32_t stack, void *arg, UBaseType_t priority,
                                   TaskHandle_t *handle, BaseType_t core)
{
    struct cmx_linux_task *task = cmx_mem_alloc(sizeof *task);
    int rc;

    (void)priority;
    (void)core;
    if (!task)
        return errCOULD_NOT_ALLOCATE_REQUIRED_MEMORY;
    task->fn = fn;
    task->arg = arg;
    snprintf(task->name, sizeof task->name, "%s", name ? name : "");
    pthread_mutex_lock(&lock);
    rc = start(task, stack);
    if (rc == 0) {
        task->next = tasks;
        tasks = task;
        if (handle)
            *handle = task;
    }
    pthread_mutex_unlock(&lock);
    if (rc == 0)
        return pdPASS;
    cmx_mem_free(task);
    return errCOULD_NOT_ALLOCATE_REQUIRED_MEMORY;
}

BaseType_t xTaskCreate(TaskFunction_t fn, const char *name, uint32_t stack, void *arg, UBaseType_t priority,
                       TaskHandle_t *handle)
{
    return xTaskCreatePinnedToCore(fn, name, stack, arg, priority, handle, tskNO_AFFINITY);
}

static bool is_live(const struct cmx_linux_task *task)
{
    for (const struct cmx_linux_task *t = tasks; t; t = t->next)
        if (t == task)
            return true;
    return false;
}

void vTaskDelete(TaskHandle_t task)
{
    if (!task || task == current)
        pthread_exit(NULL);
    pthread_mutex_lock(&lock);
    if (is_live(task))
        pthread_cancel(task->thread);
    pthread_mutex_unlock(&lock);
}

void vTaskDelay(TickType_t ticks)
{
    cmx_port_sleep_ms(pdTICKS_TO_MS(ticks));
}

void vTaskDelayUntil(TickType_t *previous, TickType_t ticks)
{
    TickType_t now = xTaskGetTickCount();

    *previous += ticks;
    if ((int32_t)(*previous - now) > 0)
        vTaskDelay(*previous - now);
}

TickType_t xTaskGetTickCount(void)
{
    return (TickType_t)pdMS_TO_TICKS(cmx_port_now_ms());
}

TaskHandle_t xTaskGetCurrentTaskHandle(void)
{
    return current;
}

const char *pcTaskGetName(TaskHandle_t task)
{
    const struct cmx_linux_task *t = task ? task : current;

    return t ? t->name : "main";
}

eTaskState eTaskGetState(TaskHandle_t task)
{
    eTaskState state = eDeleted;

    if (task == current)
        return eRunning;
    pthread_mutex_lock(&lock);
    if (is_live(task))
        state = eReady; /* the task may also be blocked, which is not known here */
    pthread_mutex_unlock(&lock);
    return state;
}

UBaseType_t uxTaskGetStackHighWaterMark(TaskHandle_t task)
{
    (void)task;
    return (UBaseType_t)STACK_MIN;
}
