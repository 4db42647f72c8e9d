/* Reads any file as an update's record and as the history of uploads, as after a power loss. A record that is accepted
 * must be the same when it is written and read again, also after a boot has changed it. The history's texts must be
 * printable. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/ota/ota_history.h"
#include "agent/ota/ota_record.h"
#include "cmxsafe/core/log.h"
#include "fuzz/must.h"

#define FILE_NAME "state"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_again(int folder, const struct ota_record *r)
{
    struct ota_record again;

    must(ota_record_write(folder, FILE_NAME, r) == CMX_OK);
    must(ota_record_read(folder, FILE_NAME, &again) == CMX_OK);
    must(again.phase == r->phase && again.boots == r->boots && again.stuck == r->stuck &&
         again.since_ms == r->since_ms);
    must(strcmp(again.boot, r->boot) == 0 && strcmp(again.why, r->why) == 0 && strcmp(again.image, r->image) == 0);
    must(strcmp(again.old_version, r->old_version) == 0 && strcmp(again.new_version, r->new_version) == 0);
}

static void use_history(int folder)
{
    struct cmx_ota_past p = {.received = 7, .ok = true, .from = "::1", .what = "2.0"};
    struct ota_history h;

    ota_history_read(&h, folder, FILE_NAME);
    must(h.n <= CMX_OTA_PAST);
    for (size_t i = 0; i < h.n; i++) {
        must_print(h.past[i].what);
        must_print(h.past[i].from);
    }
    p.at_ms = 1;
    must(ota_history_add(&h, &p) == CMX_OK);
    ota_history_read(&h, folder, FILE_NAME);
    must(h.n > 0 && h.past[h.n - 1].received == 7 && strcmp(h.past[h.n - 1].what, "2.0") == 0);
}

static void use_record(int folder)
{
    struct ota_record r;

    if (ota_record_read(folder, FILE_NAME, &r) != CMX_OK)
        return;
    read_again(folder, &r);
    for (int boot = 0; boot < 8; boot++) {
        const char id[] = {(char)('a' + boot), '\0'};

        (void)ota_record_resolve(&r, id, boot % 3 ? "2.0" : r.old_version, boot % 2, 1000);
        must(r.phase < OTA_PHASES);
        read_again(folder, &r);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "/dev/shm/cmx-fuzz-XXXXXX";
    int folder, fd;

    cmx_log_set_level(CMX_LOG_ERROR);
    must(mkdtemp(path) != NULL);
    folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        fd = openat(folder, FILE_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
        close(fd);
        if (i)
            use_record(folder);
        else
            use_history(folder);
    }
    (void)unlinkat(folder, FILE_NAME, 0);
    close(folder);
    must(rmdir(path) == 0);
    return 0;
}
