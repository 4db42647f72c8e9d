/* tasks.h - reports how much stack cmxsafe's tasks use, for a status page and for choosing stack sizes. ESP-IDF
 * only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/c_linkage.h"

CMX_C_BEGIN

#define CMX_ESP_TASKS_MAX 12
#define CMX_ESP_TASK_NAME 16

struct cmx_esp_task {
    char name[CMX_ESP_TASK_NAME];
    uint32_t stack;          /* bytes */
    uint32_t stack_free_min; /* bytes that no task of this name and stack size has used since the start */
    bool running;
};

/* Writes at most cap entries; returns how many. Any task. */
size_t cmx_esp_tasks(struct cmx_esp_task *out, size_t cap);

CMX_C_END
