#include "agent/ota/ota_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"

#define TAG "ota"

enum {
    HOOK_END_MS = 6000, /* longer than the runner needs to end the processes that a hook left */
    HOOK_STEP_MS = 50
};

/* The bytes of the file that are locked. A lock does not depend on the file's content. */
enum {
    AGENT_BYTE, /* locked by the agent that uses the file */
    HOOK_BYTE   /* locked by the hooks that read the file */
};

static cmx_err record_keep(struct ota_spool *s, struct cmx_why *why)
{
    cmx_err err = ota_record_write(s->folder, s->record_name, &s->record);

    return err ? cmx_why_fail(why, err, "%s cannot be written: %s", s->record_name, strerror(errno)) : CMX_OK;
}

static void ask_version(struct ota_spool *s)
{
    char line[CMX_WHY_MAX];

    s->version[0] = '\0';
    if (ota_runner_call(s->config.runner, RUNNER_VERSION, -1, line, sizeof line) == CMX_OK)
        snprintf(s->version, sizeof s->version, "%.32s", line);
    else
        cmx_log_limited(CMX_LOG_WARN, TAG, "the running version is not known: %s", line);
}

/* Derives the state of the last update from its record, the current boot and the version that the version hook
 * reported. Writes the record if the state has changed. */
static cmx_err resolve(struct ota_spool *s, struct cmx_why *why)
{
    const struct ota_record before = s->record;
    const ota_resolution r =
        ota_record_resolve(&s->record, s->boot, s->version, s->config.has_version, cmx_port_now_ms());

    if (before.phase == OTA_INSTALLING && s->record.phase == OTA_TRIAL && !s->config.restarts)
        ota_record_set_phase(&s->record, OTA_NONE); /* the update took effect when it was installed, without a trial */
    s->undecided = r == OTA_UNDECIDED;
    if (r == OTA_INTERRUPTED_INSTALL)
        cmx_why_set(&s->problem, "the last update was interrupted while its install hook ran");
    return memcmp(&s->record, &before, sizeof before) == 0 ? CMX_OK : record_keep(s, why);
}

bool ota_spool_on_trial(const struct ota_spool *s)
{
    return s->undecided || s->record.phase == OTA_TRIAL || s->record.phase == OTA_ROLLING_BACK ||
           s->record.phase == OTA_GOING_BACK;
}

/* Returns how long the trial has lasted. Once a rollback has begun, the result is past every deadline, even after a
 * restart of the agent. */
static uint32_t trial_ms(const struct ota_spool *s)
{
    const uint64_t took = s->now_ms - s->record.since_ms;

    if (s->undecided)
        return 0;
    if (s->record.phase != OTA_TRIAL)
        return UINT32_MAX;
    if (s->record.since_ms > s->now_ms) /* cmx_port_now_ms has started again from 0, for example in another container */
        return 0;
    return took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
}

/* Locks a byte of the file, or unlocks it (F_UNLCK). The lock lasts until the last copy of fd is closed; a lock with
 * F_SETLK would end as soon as the process closes any descriptor of the file. False: the byte is locked through another
 * open file description. Some file systems have no locks; the result is then true. */
static bool lock_byte(int fd, short type, off_t byte)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_SETLK, &lock) == 0 || (errno != EAGAIN && errno != EACCES);
}

/* Opens the file for a hook, with a lock that lasts until the last process of the hook has closed it. Returns -1 on an
 * error. */
static int open_for_hook(const struct ota_spool *s)
{
    char path[40];
    int fd;

    snprintf(path, sizeof path, "/proc/self/fd/%d", s->fd); /* opens the same file, even if it was renamed */
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || lock_byte(fd, F_RDLCK, HOOK_BYTE))
        return fd;
    close(fd);
    errno = EAGAIN;
    return -1;
}

/* False while a process of a hook may still read the file. Such a process may outlive a killed agent or runner. If the
 * file changed, it would read unverified bytes of another update, or an early end of the file. */
static bool hook_is_gone(const struct ota_spool *s)
{
    return lock_byte(s->fd, F_WRLCK, HOOK_BYTE) && lock_byte(s->fd, F_UNLCK, HOOK_BYTE);
}

void ota_spool_empty(struct ota_spool *s)
{
    if (hook_is_gone(s))
        (void)!ftruncate(s->fd, 0); /* if this fails, only the disk space stays in use */
}

/* ---- struct cmx_slots ---- */

static cmx_err status(void *arg, struct cmx_slots_status *out)
{
    const struct ota_spool *s = arg;

    memset(out, 0, sizeof *out);
    snprintf(out->running, sizeof out->running, "system");
    snprintf(out->target, sizeof out->target, "handler");
    snprintf(out->version, sizeof out->version, "%s", s->version);
    out->target_size = s->config.max_len;
    out->confirmable = s->config.restarts;
    out->pending = ota_spool_on_trial(s);
    out->trial_ms = out->pending ? trial_ms(s) : 0;
    out->activated = !s->undecided && s->record.phase == OTA_INSTALLED;
    out->rolled_back = s->record.phase == OTA_ROLLED_BACK;
    snprintf(out->rolled_back_version, sizeof out->rolled_back_version, "%s", s->record.new_version);
    snprintf(out->rolled_back_why, sizeof out->rolled_back_why, "%s", s->record.why);
    out->problem = s->problem.text[0] ? s->problem.text : NULL;
    return CMX_OK;
}

static cmx_err begin(void *arg)
{
    const struct ota_spool *s = arg;

    if (ota_spool_on_trial(s))
        return CMX_EBUSY;
    for (int waited = 0; !hook_is_gone(s) && waited < HOOK_END_MS; waited += HOOK_STEP_MS)
        cmx_port_sleep_ms(HOOK_STEP_MS);
    if (!hook_is_gone(s)) {
        cmx_log_limited(CMX_LOG_ERROR, TAG,
                        "no update can begin: a process of an earlier install hook still reads the spool file; end it, "
                        "or try again later");
        return CMX_EIO;
    }
    return ftruncate(s->fd, 0) == 0 ? CMX_OK : CMX_EIO;
}

static cmx_err erase(void *arg, uint32_t offset, uint32_t len)
{
    (void)arg;
    (void)offset;
    (void)len;
    return CMX_OK; /* a file does not need to be erased */
}

static cmx_err write_at(void *arg, uint32_t offset, const void *data, size_t len)
{
    const struct ota_spool *s = arg;
    const uint8_t *p = data;

    while (len > 0) {
        ssize_t n = pwrite(s->fd, p, len, offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            cmx_log_limited(CMX_LOG_ERROR, TAG, "the update cannot be stored in the spool file: %s", strerror(errno));
            return CMX_EIO; /* CMX_ENOSPC would mean that the update is larger than the slot */
        }
        p += n;
        offset += (uint32_t)n;
        len -= (size_t)n;
    }
    return CMX_OK;
}

static cmx_err read_at(void *arg, uint32_t offset, void *out, size_t len)
{
    const struct ota_spool *s = arg;

    return pread(s->fd, out, len, offset) == (ssize_t)len ? CMX_OK : CMX_EIO;
}

/* Calls a hook. On an error, *why gets the sentence that ota_runner_call wrote. */
static cmx_err call(struct ota_spool *s, runner_hook hook, int in, struct cmx_why *why)
{
    char line[CMX_WHY_MAX];
    cmx_err err = ota_runner_call(s->config.runner, hook, in, line, sizeof line);

    if (err)
        return cmx_why_fail(why, err, "%s", line);
    if (line[0])
        cmx_log_limited(CMX_LOG_INFO, TAG, "hook: %s", line);
    return CMX_OK;
}

static void record_begin(struct ota_spool *s, const struct cmx_image *verified)
{
    const struct ota_record before = s->record;

    s->record = (struct ota_record){.phase = before.phase};
    ota_record_set_phase(&s->record, OTA_INSTALLING);
    snprintf(s->record.boot, sizeof s->record.boot, "%s", s->boot);
    snprintf(s->record.old_version, sizeof s->record.old_version, "%s", s->version);
    cmx_text_hex_encode(s->record.image, verified->digest, sizeof verified->digest);
    memcpy(s->record.last_image, before.last_image, sizeof before.last_image);
    memcpy(s->record.last_version, before.last_version, sizeof before.last_version);
}

static void record_confirmed(struct ota_spool *s)
{
    ota_record_set_phase(&s->record, OTA_NONE);
    memcpy(s->record.last_image, s->record.image, sizeof s->record.image);
    snprintf(s->record.last_version, sizeof s->record.last_version, "%s", s->version);
}

/* If the hook was ended before it could report an outcome, the new system may be installed nevertheless. The record
 * then stays at OTA_INSTALLING, and the version that the next boot runs decides. CMX_EPERM: the hook failed; CMX_EIO:
 * it was not run. */
static ota_phase phase_after_install(const struct ota_spool *s, cmx_err err)
{
    if (!s->config.restarts || err == CMX_EPERM || err == CMX_EIO)
        return OTA_NONE;
    return err ? OTA_INSTALLING : OTA_INSTALLED;
}

/* Runs the install hook. The hook gets the signed bytes, without the trailer. */
static cmx_err activate(void *arg, const struct cmx_image *verified, struct cmx_why *why)
{
    struct ota_spool *s = arg;
    struct cmx_why unkept = {0};
    cmx_err err;
    int in = ftruncate(s->fd, verified->signed_len) == 0 ? open_for_hook(s) : -1;

    if (in < 0)
        return cmx_why_fail(why, CMX_EIO, "the spool file cannot be opened for the install hook: %s", strerror(errno));
    cmx_why_clear(&s->problem);
    if (s->config.has_version && !s->version[0])
        ask_version(s);
    record_begin(s, verified);
    err = record_keep(s, why);
    if (err) {
        ota_record_set_phase(&s->record, OTA_NONE);
    } else {
        err = call(s, RUNNER_INSTALL, in, why);
        ota_record_set_phase(&s->record, phase_after_install(s, err));
    }
    close(in);
    ota_spool_empty(s);
    if (err) {
        if (record_keep(s, &unkept) != CMX_OK)
            cmx_log_limited(CMX_LOG_ERROR, TAG, "%s", unkept.text);
        return err;
    }
    if (!s->config.restarts)
        ask_version(s);
    return record_keep(s, why);
}

static cmx_err confirm(void *arg, struct cmx_why *why)
{
    struct ota_spool *s = arg;
    cmx_err err;

    if (s->undecided) {
        s->confirm_tried = true;
        ask_version(s);
        err = resolve(s, why);
        if (err)
            return err;
        if (s->undecided)
            return cmx_why_fail(why, CMX_EAGAIN,
                                "not confirmed: the version hook did not report which system is running");
        if (!ota_spool_on_trial(s))
            return cmx_why_fail(why, CMX_ENOENT, "the old system is running: %s",
                                s->record.why[0] ? s->record.why : "the update was not installed");
    }
    if (s->record.phase != OTA_TRIAL)
        return cmx_why_fail(why, CMX_EPERM, "the rollback has begun");
    err = call(s, RUNNER_CONFIRM, -1, why);
    if (err)
        return err;
    record_confirmed(s);
    err = record_keep(s, why);
    if (err)
        ota_record_set_phase(&s->record, OTA_TRIAL); /* the next call of confirm then runs the hook again */
    return err;
}

static cmx_err rollback(void *arg, const char *reason, struct cmx_why *why)
{
    struct ota_spool *s = arg;
    cmx_err err;

    if (s->record.phase == OTA_GOING_BACK && !s->undecided)
        return CMX_OK;
    if (s->undecided && s->confirm_tried)
        return cmx_why_fail(why, CMX_EAGAIN,
                            "not rolled back: the version hook did not report which system is running");
    if (s->record.stuck)
        return CMX_ENOENT;
    if (s->record.phase != OTA_ROLLING_BACK) {
        s->undecided = false;
        s->record.boots = 0;
        snprintf(s->record.why, sizeof s->record.why, "%.*s", CMX_SLOT_WHY_MAX - 1, reason);
    }
    ota_record_set_phase(&s->record, OTA_ROLLING_BACK);
    snprintf(s->record.boot, sizeof s->record.boot, "%s", s->boot);
    snprintf(s->record.new_version, sizeof s->record.new_version, "%s", s->version);
    err = record_keep(s, why);
    if (!err)
        err = call(s, RUNNER_ROLLBACK, -1, why);
    if (err)
        return err;
    ota_record_set_phase(&s->record, OTA_GOING_BACK);
    return record_keep(s, why);
}

/* ---- opening and closing ---- */

static cmx_err open_files(struct ota_spool *s, const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[4096];
    struct stat st;

    if (strlen(path) >= sizeof folder) {
        errno = ENAMETOOLONG;
        return CMX_EIO;
    }
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
    if ((size_t)snprintf(s->record_name, sizeof s->record_name, "%s.state", slash ? slash + 1 : path) >= 240) {
        errno = ENAMETOOLONG;
        return CMX_EIO;
    }
    s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->fd >= 0 && (fstat(s->fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        errno = EINVAL; /* only a regular file can be emptied for the next update */
        return CMX_EIO;
    }
    if (s->fd >= 0)
        s->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return s->folder >= 0 ? CMX_OK : CMX_EIO;
}

cmx_err ota_spool_open(struct ota_spool *s, const struct ota_spool_config *config, struct cmx_why *why)
{
    *s = (struct ota_spool){.config = *config, .fd = -1, .folder = -1, .now_ms = cmx_port_now_ms()};
    if (open_files(s, config->path) != CMX_OK)
        return cmx_why_fail(why, CMX_EIO, "%s: %s", config->path, strerror(errno));
    if (!lock_byte(s->fd, F_WRLCK, AGENT_BYTE)) /* two agents would overwrite each other's verified updates */
        return cmx_why_fail(why, CMX_EBUSY, "%s is in use by another agent; set another spool", config->path);
    if (ota_boot_id(s->boot) != CMX_OK)
        return cmx_why_fail(why, CMX_EIO,
                            "no boot identifier: /proc/sys/kernel/random/boot_id cannot be read; set CMXSAFED_BOOT_ID "
                            "(in a unit: Environment=CMXSAFED_BOOT_ID=%%b)");
    if (ota_record_read(s->folder, s->record_name, &s->record) == CMX_EFORMAT)
        cmx_why_set(&s->problem,
                    "%s is damaged or unreadable: it is not known whether an update is on trial, "
                    "so nothing is confirmed",
                    s->record_name);
    ota_spool_empty(s);
    if (config->has_version)
        ask_version(s);
    /* An error is only logged, because a full disk must not keep the agent from its gateway. */
    if (resolve(s, &s->problem) != CMX_OK)
        cmx_log(CMX_LOG_ERROR, TAG, "%s; nothing is confirmed or rolled back until the record can be written",
                s->problem.text);
    return CMX_OK;
}

void ota_spool_close(struct ota_spool *s)
{
    if (s->fd >= 0)
        close(s->fd);
    if (s->folder >= 0)
        close(s->folder);
    s->fd = s->folder = -1;
}

struct cmx_slots ota_spool_slots(struct ota_spool *s)
{
    return (struct cmx_slots){.arg = s,
                              .status = status,
                              .begin = begin,
                              .erase = erase,
                              .write = write_at,
                              .read = read_at,
                              .activate = activate,
                              .confirm = confirm,
                              .rollback = rollback};
}
