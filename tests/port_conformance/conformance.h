/* conformance.h - does a port keep the contracts of port.h and crypto.h? Plain C with no test framework, so that the
 * same file runs on a desk, on a device and in an emulator. A port is done when cmx_port_conformance returns 0. */
#ifndef CMX_TESTS_CONFORMANCE_H
#define CMX_TESTS_CONFORMANCE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cmx_conformance {
    /* Where a line goes: each failed check with its file and line, then one line a part. */
    void (*say)(const char *line);

    /* Flash that the test may erase and write, whole sectors, at least two. 0, 0: only reading is tested. */
    uint32_t scratch_offset;
    uint32_t scratch_len;

    /* The 32 bytes of the hardware key where the tester knows them; NULL otherwise. */
    const uint8_t *hw_key;
};

/* Returns how many checks failed. Takes a few seconds. Starts tasks, all ended when it returns. */
unsigned cmx_port_conformance(const struct cmx_conformance *c);

#ifdef __cplusplus
}
#endif
#endif
