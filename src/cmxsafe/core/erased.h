/* erased.h - recognises erased NOR flash, whose bytes are 0xff. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True if all len bytes are 0xff. len > 0. */
bool cmx_erased_check(const uint8_t *data, size_t len);
