/* task.h (Linux) - FreeRTOS tasks as threads. Names, arguments and results are FreeRTOS's (freertos.org/a00106.html).
 */
#pragma once

#include "FreeRTOS.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cmx_linux_task *TaskHandle_t;
typedef void (*TaskFunction_t)(void *);

typedef enum { eRunning = 0, eReady, eBlocked, eSuspended, eDeleted, eInvalid } eTaskState;

#define tskIDLE_PRIORITY ((UBaseType_t)0)
#define tskNO_AFFINITY 0x7fffffff

/* Creates a task. stack: bytes, as ESP-IDF counts it; raised to at least 256 KB here. handle may be NULL. Returns
 * pdPASS, or errCOULD_NOT_ALLOCATE_REQUIRED_MEMORY. */
BaseType_t xTaskCreatePinnedToCore(TaskFunction_t fn, const char *name, uint32_t stack, void *arg, UBaseType_t priority,
                                   TaskHandle_t *handle, BaseType_t core);
BaseType_t xTaskCreate(TaskFunction_t fn, const char *name, uint32_t stack, void *arg, UBaseType_t priority,
                       TaskHandle_t *handle);

/* Ends a task. NULL: ends the calling task and does not return. Another task ends at its next blocking call. */
void vTaskDelete(TaskHandle_t task);

void vTaskDelay(TickType_t ticks);
void vTaskDelayUntil(TickType_t *previous, TickType_t ticks);
TickType_t xTaskGetTickCount(void);
TaskHandle_t xTaskGetCurrentTaskHandle(void);
const char *pcTaskGetName(TaskHandle_t task);

/* Returns eDeleted for a handle whose task has ended. */
eTaskState eTaskGetState(TaskHandle_t task);

/* Returns a large constant, because it is not known here how many bytes of stack were never used. */
UBaseType_t uxTaskGetStackHighWaterMark(TaskHandle_t task);

#ifdef __cplusplus
}
#endif
