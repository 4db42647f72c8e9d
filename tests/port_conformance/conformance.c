#include "conformance.h"

#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/port/crypto.h"
#include "cmxsafe/port/port.h"

static const struct cmx_conformance *run;
static unsigned checks;
static unsigned failed;

void conformance_check(bool ok, const char *what, const char *file, int line)
{
    const char *slash = strrchr(file, '/');
    char text[160];

    checks++;
    if (ok)
        return;
    failed++;
    snprintf(text, sizeof text, "failed: %s:%d: %s", slash ? slash + 1 : file, line, what);
    run->say(text);
}

void conformance_flash(const struct cmx_conformance *c)
{
    static uint8_t page[300], back[300];
    const uint32_t size = cmx_port_flash_size();
    const uint32_t at = c->scratch_offset + CMX_FLASH_SECTOR - 100; /* the data crosses a sector boundary */
    bool erased = true;

    if (size == 0) {
        CHECK(cmx_port_flash_read(0, back, 1) != CMX_OK);
        return;
    }
    CHECK(size % CMX_FLASH_SECTOR == 0);
    CHECK(cmx_port_flash_read(size - 1, back, 1) == CMX_OK);
    CHECK(cmx_port_flash_read(size, back, 1) != CMX_OK);
    CHECK(cmx_port_flash_read(size - 1, back, 2) != CMX_OK);
    CHECK(cmx_port_flash_read(UINT32_MAX, back, 2) != CMX_OK);
    if (c->scratch_len < 2 * CMX_FLASH_SECTOR)
        return;
    CHECK(cmx_port_flash_erase(c->scratch_offset, 2 * CMX_FLASH_SECTOR) == CMX_OK);
    CHECK(cmx_port_flash_read(at, back, sizeof back) == CMX_OK);
    for (size_t i = 0; i < sizeof back; i++)
        erased = erased && back[i] == 0xff;
    CHECK(erased);
    for (size_t i = 0; i < sizeof page; i++)
        page[i] = (uint8_t)(i * 7 + 1);
    CHECK(cmx_port_flash_write(at, page, sizeof page) == CMX_OK);
    CHECK(cmx_port_flash_read(at, back, sizeof back) == CMX_OK && memcmp(page, back, sizeof page) == 0);
    /* NOR flash: a second write can only clear bits. */
    memset(page, 0x0f, 4);
    CHECK(cmx_port_flash_read(at, page + 8, 4) == CMX_OK && cmx_port_flash_write(at, page, 4) == CMX_OK);
    CHECK(cmx_port_flash_read(at, back, 4) == CMX_OK && back[0] == (page[8] & 0x0f) && back[3] == (page[11] & 0x0f));
    CHECK(cmx_port_flash_erase(c->scratch_offset + 1, CMX_FLASH_SECTOR) != CMX_OK);
    CHECK(cmx_port_flash_erase(c->scratch_offset, CMX_FLASH_SECTOR - 1) != CMX_OK);
    /* Erasing one sector does not change the next. */
    CHECK(cmx_port_flash_erase(c->scratch_offset, CMX_FLASH_SECTOR) == CMX_OK);
    CHECK(cmx_port_flash_read(at, back, sizeof back) == CMX_OK && back[0] == 0xff && back[100] == page[100]);
}

void conformance_hw_key(const struct cmx_conformance *c)
{
    static uint8_t message[4096 + 32 + 512]; /* attestation's longest message: H, chunk, challenge */
    uint8_t a[32], b[32];

    if (cmx_port_hw_key_kind() == CMX_KEY_NONE) {
        CHECK(cmx_port_hw_hmac("x", 1, a) == CMX_ENOKEY);
        return;
    }
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)(i * 31);
    for (size_t len = 1; len <= sizeof message - 1; len = len * 3 + 1) {
        CHECK(cmx_port_hw_hmac(message, len, a) == CMX_OK && cmx_port_hw_hmac(message, len, b) == CMX_OK);
        CHECK(memcmp(a, b, sizeof a) == 0);
        CHECK(cmx_port_hw_hmac(message + 1, len, b) == CMX_OK && memcmp(a, b, sizeof a) != 0);
        if (c->hw_key) {
            struct cmx_hmac h;

            CHECK(cmx_hmac_init(&h, c->hw_key, 32) == CMX_OK && cmx_hmac_update(&h, message, len) == CMX_OK &&
                  cmx_hmac_finish(&h, b) == CMX_OK);
            CHECK(memcmp(a, b, sizeof a) == 0);
        }
    }
    CHECK(cmx_port_hw_hmac(message, sizeof message, a) == CMX_OK);
    cmx_secret_wipe(a, sizeof a);
    cmx_secret_wipe(b, sizeof b);
}

static void part(const char *name, unsigned *done, unsigned *bad)
{
    char text[64];

    snprintf(text, sizeof text, "%s: %u checks, %u failed", name, checks - *done, failed - *bad);
    run->say(text);
    *done = checks;
    *bad = failed;
}

unsigned cmx_port_conformance(const struct cmx_conformance *c)
{
    unsigned done = 0, bad = 0;

    run = c;
    checks = failed = 0;
    conformance_time();
    part("time", &done, &bad);
    conformance_tasks();
    part("tasks", &done, &bad);
    conformance_flash(c);
    part("flash", &done, &bad);
    conformance_crypto();
    part("crypto", &done, &bad);
    conformance_hw_key(c);
    part("hardware key", &done, &bad);
    conformance_sockets();
    part("sockets", &done, &bad);
    return failed;
}
