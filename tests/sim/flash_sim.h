/* flash_sim.h - for tests: simulates a NOR flash chip in memory for port.h. The chip can lose power during the n-th
 * operation (in several ways, see flash_tear), fail operations, or flip bits. After a power cut every operation fails
 * until flash_sim_power_on, so that the program under test returns. */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/port/port.h"
#include "port/linux/linux_port.h"

/* How much of the interrupted operation is executed. */
enum flash_tear { TEAR_NOTHING, TEAR_FIRST_HALF, TEAR_LAST_HALF, TEAR_RANDOM_BITS, TEAR_ALL, TEAR_KINDS };

struct flash_sim {
    uint8_t *mem;
    uint32_t size;
    unsigned long ops;     /* writes and erases so far */
    unsigned long cut_at;  /* number of the operation that a power cut interrupts; 0: none */
    unsigned long fail_at; /* number of the operation that does half of its work and fails; 0: none */
    unsigned long flip_at; /* number of the operation that succeeds with one bit wrong; 0: none */
    enum flash_tear tear;
    int dead;
    int violations; /* writes that tried to set a bit from 0 to 1: a defect of the program under test */
    uint32_t random;
};

static struct flash_sim flash_sim;

static inline uint32_t flash_sim_random(void)
{
    uint32_t x = flash_sim.random ? flash_sim.random : 88172645u;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return flash_sim.random = x;
}

static inline uint32_t flash_sim_size(void *arg)
{
    (void)arg;
    return flash_sim.size;
}

static inline cmx_err flash_sim_read(void *arg, uint32_t offset, void *out, size_t len)
{
    (void)arg;
    if (flash_sim.dead || offset > flash_sim.size || len > flash_sim.size - offset)
        return CMX_EIO;
    memcpy(out, flash_sim.mem + offset, len);
    return CMX_OK;
}

/* Writes value to cell, which is byte i of the len bytes of an operation. `tear` selects which bits of the byte are
 * written before the operation is interrupted. */
static inline void flash_sim_apply(uint8_t *cell, uint8_t value, size_t i, size_t len, enum flash_tear tear)
{
    uint8_t mask = 0;

    if (tear == TEAR_ALL || (tear == TEAR_FIRST_HALF && i < len / 2) || (tear == TEAR_LAST_HALF && i >= len / 2))
        mask = 0xff;
    if (tear == TEAR_RANDOM_BITS)
        mask = (uint8_t)flash_sim_random();
    *cell = (uint8_t)((*cell & ~mask) | (value & mask));
}

static inline cmx_err flash_sim_operate(uint32_t offset, const uint8_t *data, size_t len)
{
    enum flash_tear tear = TEAR_ALL;
    cmx_err err = CMX_OK;

    if (flash_sim.dead || offset > flash_sim.size || len > flash_sim.size - offset)
        return CMX_EIO;
    flash_sim.ops++;
    if (flash_sim.ops == flash_sim.cut_at) {
        flash_sim.dead = 1;
        tear = flash_sim.tear;
        err = CMX_EIO;
    } else if (flash_sim.ops == flash_sim.fail_at) {
        tear = TEAR_FIRST_HALF;
        err = CMX_EIO;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t *cell = flash_sim.mem + offset + i, value = data ? data[i] : 0xff;

        if (data && (value & ~*cell))
            flash_sim.violations++;
        flash_sim_apply(cell, data ? value & *cell : value, i, len, tear);
    }
    if (flash_sim.ops == flash_sim.flip_at)
        flash_sim.mem[offset + flash_sim_random() % len] ^= (uint8_t)(1 << flash_sim_random() % 8);
    return err;
}

static inline cmx_err flash_sim_write(void *arg, uint32_t offset, const void *data, size_t len)
{
    (void)arg;
    return flash_sim_operate(offset, data, len);
}

static inline cmx_err flash_sim_erase(void *arg, uint32_t offset, size_t len)
{
    (void)arg;
    if (offset % CMX_FLASH_SECTOR || len % CMX_FLASH_SECTOR)
        return CMX_EINVAL;
    return flash_sim_operate(offset, NULL, len);
}

static inline void flash_sim_power_on(void)
{
    flash_sim.dead = 0;
    flash_sim.cut_at = 0;
    flash_sim.fail_at = 0;
    flash_sim.flip_at = 0;
    flash_sim.ops = 0;
}

static inline void flash_sim_init(uint32_t size)
{
    const struct cmx_linux_device d = {.flash_size = flash_sim_size,
                                       .flash_read = flash_sim_read,
                                       .flash_write = flash_sim_write,
                                       .flash_erase = flash_sim_erase};

    memset(&flash_sim, 0, sizeof flash_sim);
    flash_sim.size = size;
    flash_sim.mem = malloc(size);
    memset(flash_sim.mem, 0xff, size);
    cmx_linux_set_device(&d);
}
