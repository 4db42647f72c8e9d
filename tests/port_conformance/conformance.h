/* conformance.h - checks that a port fulfils the contracts of port.h and crypto.h. It is plain C without a test
 * framework, so that the same files run on a PC, on a device and in an emulator. A port is complete when
 * cmx_port_conformance returns 0. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cmx_conformance {
    /* Prints a line. It is called for each failed check, with the check's file and line number, and at the end of each
     * part. */
    void (*say)(const char *line);

    /* A region of flash that the test may erase and write: at least two whole sectors. If both members are 0, only
     * reading is tested. */
    uint32_t scratch_offset;
    uint32_t scratch_len;

    /* The 32 bytes of the hardware key if the tester knows them, otherwise NULL. */
    const uint8_t *hw_key;
};

/* Returns the number of failed checks. Takes a few seconds. Waits for all tasks that it starts. */
unsigned cmx_port_conformance(const struct cmx_conformance *c);

#ifdef __cplusplus
}
#endif
