/* FreeRTOS.h (Linux) - as much of FreeRTOS's interface as sketches use, so that they compile and run unchanged on the
 * virtual board. Tasks are threads; priorities and cores are accepted and ignored. A tick is a millisecond, as in
 * Arduino-ESP32. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int BaseType_t;
typedef unsigned UBaseType_t;
typedef uint32_t TickType_t;

#define pdFALSE 0
#define pdTRUE 1
#define pdPASS pdTRUE
#define pdFAIL pdFALSE
#define errCOULD_NOT_ALLOCATE_REQUIRED_MEMORY (-1)

#define configTICK_RATE_HZ 1000
#define configMAX_PRIORITIES 25
#define configMAX_TASK_NAME_LEN 16
#define configMINIMAL_STACK_SIZE 768
#define portTICK_PERIOD_MS ((TickType_t)(1000 / configTICK_RATE_HZ))
#define portMAX_DELAY ((TickType_t)0xffffffffUL)
#define pdMS_TO_TICKS(ms) ((TickType_t)((uint64_t)(ms)*configTICK_RATE_HZ / 1000))
#define pdTICKS_TO_MS(ticks) ((TickType_t)((uint64_t)(ticks)*1000 / configTICK_RATE_HZ))
