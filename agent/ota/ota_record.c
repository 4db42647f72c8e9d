#include "agent/ota/ota_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/text.h"
#include "port/linux/file_read.h"
#include "port/linux/new_file.h"

enum { RECORD_MAX = 768 };

static const char *const phases[OTA_PHASES] = {"none",         "installing", "installed",  "trial",
                                               "rolling-back", "going-back", "rolled-back"};

/* ---- the state machine ---- */

static void text_set(char *out, size_t cap, const char *s)
{
    snprintf(out, cap, "%.*s", (int)cap - 1, s);
}

void ota_record_set_phase(struct ota_record *r, ota_phase phase)
{
    if (r->phase == phase)
        return;
    cmx_log(CMX_LOG_DEBUG, "ota", "%s -> %s", phases[r->phase], phases[phase]);
    r->phase = phase;
}

static void enter(struct ota_record *r, ota_phase phase, const char *boot)
{
    ota_record_set_phase(r, phase);
    text_set(r->boot, sizeof r->boot, boot);
}

static void enter_rolled_back(struct ota_record *r, const char *boot, const char *why)
{
    enter(r, OTA_ROLLED_BACK, boot);
    if (!r->why[0])
        text_set(r->why, sizeof r->why, why);
}

/* Enters the trial and counts this boot of the new system. After too many boots, begins a rollback. */
static void enter_trial(struct ota_record *r, const char *boot, const char *version, uint64_t now_ms)
{
    enter(r, OTA_TRIAL, boot);
    text_set(r->new_version, sizeof r->new_version, version);
    r->since_ms = now_ms;
    if (r->boots <= OTA_TRIAL_BOOTS_MAX) /* a stuck system may boot more often than the record can count */
        r->boots++;
    if (r->boots > OTA_TRIAL_BOOTS_MAX && !r->stuck) {
        enter(r, OTA_ROLLING_BACK, boot);
        text_set(r->why, sizeof r->why, "restarted too often");
        r->boots = 0;
    }
}

/* Called when the new system boots although its rollback has begun. Begins the rollback again. After too many such
 * boots, gives up the rollback and returns to a trial without rollback (stuck). */
static void enter_rollback_again(struct ota_record *r, const char *boot, uint64_t now_ms)
{
    enter(r, OTA_ROLLING_BACK, boot);
    if (++r->boots < OTA_ROLLBACK_BOOTS_MAX)
        return;
    enter(r, OTA_TRIAL, boot);
    r->since_ms = now_ms;
    r->stuck = true;
    r->why[0] = '\0';
}

ota_resolution ota_record_resolve(struct ota_record *r, const char *boot, const char *version, bool has_version,
                                  uint64_t now_ms)
{
    const bool can_tell = r->old_version[0] && version[0];
    const bool is_same = can_tell && strcmp(r->old_version, version) == 0;
    /* True if the update installed the old system's image again, so that the old and the new system have the same
     * version. */
    const bool reinstalled =
        r->image[0] && strcmp(r->image, r->last_image) == 0 && strcmp(r->last_version, r->old_version) == 0;
    const bool is_old = is_same && !reinstalled;

    if (r->phase == OTA_NONE || r->phase == OTA_ROLLED_BACK)
        return OTA_RESOLVED;
    if (strcmp(r->boot, boot) == 0)
        return r->phase == OTA_INSTALLING ? OTA_INTERRUPTED_INSTALL : OTA_RESOLVED;
    if (has_version && !version[0])
        return OTA_UNDECIDED;
    switch (r->phase) {
    case OTA_INSTALLING:
        if (can_tell && !is_same) {
            enter_trial(r, boot, version, now_ms);
            return OTA_RESOLVED;
        }
        enter(r, OTA_NONE, boot);
        return OTA_INTERRUPTED_INSTALL;
    case OTA_INSTALLED:
    case OTA_TRIAL:
        if (is_old)
            enter_rolled_back(r, boot, "the old version booted");
        else
            enter_trial(r, boot, version, now_ms);
        break;
    case OTA_ROLLING_BACK:
        if (is_old)
            enter_rolled_back(r, boot, "");
        else
            enter_rollback_again(r, boot, now_ms);
        break;
    case OTA_GOING_BACK:
        if (is_same || !can_tell)
            enter_rolled_back(r, boot, "");
        else
            enter_rollback_again(r, boot, now_ms);
        break;
    case OTA_NONE:
    case OTA_ROLLED_BACK:
    case OTA_PHASES:
        break;
    }
    return OTA_RESOLVED;
}

/* ---- the file: each line has a key and a value; the last line is `end` ---- */

#define TEXT(key, member)                                                                                              \
    {                                                                                                                  \
        key, offsetof(struct ota_record, member), sizeof(((struct ota_record *)0)->member)                             \
    }
static const struct {
    const char *key;
    size_t at, size; /* offset and size of the text in struct ota_record */
} texts[] = {
    TEXT("boot", boot),   TEXT("old", old_version),       TEXT("new", new_version),           TEXT("why", why),
    TEXT("image", image), TEXT("last-image", last_image), TEXT("last-version", last_version),
};
#define N_TEXTS (sizeof texts / sizeof texts[0])

static cmx_err put_field(struct ota_record *r, const char *key, const char *value)
{
    uint64_t n = 0;
    cmx_err err = CMX_EFORMAT;

    for (size_t i = 0; i < N_TEXTS; i++)
        if (strcmp(key, texts[i].key) == 0)
            return cmx_text_copy((char *)r + texts[i].at, texts[i].size, value);
    for (int i = 0; i < OTA_PHASES && strcmp(key, "phase") == 0; i++)
        if (strcmp(value, phases[i]) == 0) {
            ota_record_set_phase(r, (ota_phase)i);
            return CMX_OK;
        }
    if (strcmp(key, "since") == 0)
        return cmx_text_u64(value, 0, UINT64_MAX, &r->since_ms);
    if (strcmp(key, "boots") == 0 || strcmp(key, "stuck") == 0)
        err = cmx_text_u64(value, 0, 1000, &n);
    if (!err && key[0] == 'b')
        r->boots = (unsigned)n;
    else if (!err)
        r->stuck = n != 0;
    return err;
}

static cmx_err parse(char *text, struct ota_record *r)
{
    bool ended = false;
    char *rest = NULL;

    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *value = strchr(line, ' ');

        if (ended)
            return CMX_EFORMAT;
        if (strcmp(line, "end") == 0) {
            ended = true;
            continue;
        }
        if (!value)
            return CMX_EFORMAT;
        *value++ = '\0';
        if (put_field(r, line, value) != CMX_OK)
            return CMX_EFORMAT;
    }
    return ended ? CMX_OK : CMX_EFORMAT;
}

cmx_err ota_record_read(int folder, const char *name, struct ota_record *r)
{
    char text[RECORD_MAX];
    const ssize_t n = cmx_file_read_begin(folder, name, text, sizeof text);
    cmx_err err;

    memset(r, 0, sizeof *r);
    if (n < 0)
        return errno == ENOENT ? CMX_ENOENT : CMX_EFORMAT;
    err = n == (ssize_t)sizeof text - 1 || memchr(text, '\0', (size_t)n) ? CMX_EFORMAT : parse(text, r);
    if (err)
        memset(r, 0, sizeof *r);
    return err;
}

/* Appends a line. Leaves out an empty value, because a key without a value cannot be read back. */
static void append(char *text, size_t cap, const char *key, const char *value)
{
    const size_t used = strlen(text);

    if (value[0])
        snprintf(text + used, cap - used, "%s %s\n", key, value);
}

static void format(const struct ota_record *r, char *text, size_t cap)
{
    char number[24];

    text[0] = '\0';
    append(text, cap, "phase", phases[r->phase]);
    for (size_t i = 0; i < N_TEXTS; i++)
        append(text, cap, texts[i].key, (const char *)r + texts[i].at);
    snprintf(number, sizeof number, "%u", r->boots);
    append(text, cap, "boots", number);
    append(text, cap, "stuck", r->stuck ? "1" : "0");
    snprintf(number, sizeof number, "%llu", (unsigned long long)r->since_ms);
    append(text, cap, "since", number);
    snprintf(text + strlen(text), cap - strlen(text), "end\n");
}

cmx_err ota_record_write(int folder, const char *name, const struct ota_record *r)
{
    char text[RECORD_MAX];

    format(r, text, sizeof text);
    if (cmx_file_replace(folder, name, text, strlen(text)) != CMX_OK)
        return CMX_EIO;
    return fsync(folder) == 0 ? CMX_OK : CMX_EIO;
}

cmx_err ota_boot_id(char out[OTA_BOOT_ID_MAX])
{
    const char *given = getenv("CMXSAFED_BOOT_ID");

    if (given && given[0])
        return cmx_text_copy(out, OTA_BOOT_ID_MAX, given) == CMX_OK ? CMX_OK : CMX_EIO;
    (void)cmx_file_read_begin(AT_FDCWD, "/proc/sys/kernel/random/boot_id", out, OTA_BOOT_ID_MAX);
    out[strcspn(out, "\n")] = '\0';
    return out[0] ? CMX_OK : CMX_EIO;
}
