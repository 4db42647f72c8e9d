#include "ota_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"

#define TAG "ota"

static cmx_err state_write(struct ota_spool *s, const char *line)
{
    size_t n = strlen(line);

    if (ftruncate(s->state_fd, 0) != 0 || pwrite(s->state_fd, line, n, 0) != (ssize_t)n || fsync(s->state_fd) != 0)
        return CMX_EIO;
    return CMX_OK;
}

static void state_read(struct ota_spool *s)
{
    static const char rolled_back[] = "rolled-back ";
    char line[64];
    ssize_t n = pread(s->state_fd, line, sizeof line - 1, 0);

    line[n > 0 ? n : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    s->trial = strcmp(line, "trial") == 0;
    if (strncmp(line, rolled_back, sizeof rolled_back - 1) == 0)
        snprintf(s->rolled_back_why, sizeof s->rolled_back_why, "%.23s", line + sizeof rolled_back - 1);
}

static void ask_version(struct ota_spool *s)
{
    char line[160];

    s->version[0] = '\0';
    if (runner_call(s->runner, RUNNER_VERSION, -1, line, sizeof line) == CMX_OK)
        snprintf(s->version, sizeof s->version, "%.32s", line);
}

static cmx_err status(void *arg, struct cmx_slots_status *out)
{
    const struct ota_spool *s = arg;

    memset(out, 0, sizeof *out);
    snprintf(out->running, sizeof out->running, "system");
    snprintf(out->target, sizeof out->target, "handler");
    out->target_size = s->max_len;
    out->pending = s->trial;
    out->confirmable = s->restarts;
    snprintf(out->version, sizeof out->version, "%s", s->version);
    out->rolled_back = s->rolled_back_why[0] != '\0';
    snprintf(out->rolled_back_why, sizeof out->rolled_back_why, "%s", s->rolled_back_why);
    return CMX_OK;
}

static cmx_err begin(void *arg)
{
    const struct ota_spool *s = arg;

    return ftruncate(s->fd, 0) == 0 ? CMX_OK : CMX_EIO;
}

static cmx_err erase(void *arg, uint32_t offset, uint32_t len)
{
    (void)arg;
    (void)offset;
    (void)len;
    return CMX_OK; /* a file needs none */
}

static cmx_err write_at(void *arg, uint32_t offset, const void *data, size_t len)
{
    const struct ota_spool *s = arg;
    const uint8_t *p = data;

    while (len > 0) {
        ssize_t n = pwrite(s->fd, p, len, offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return errno == ENOSPC ? CMX_ENOSPC : CMX_EIO;
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

/* The handler gets what was signed, without the trailer. */
static cmx_err activate(void *arg, const struct cmx_image *verified, char *why, size_t why_cap)
{
    struct ota_spool *s = arg;
    char line[160];
    cmx_err err;

    if (ftruncate(s->fd, verified->signed_len) != 0 || lseek(s->fd, 0, SEEK_SET) != 0) {
        snprintf(why, why_cap, "the spool file fails");
        return CMX_EIO;
    }
    err = runner_call(s->runner, RUNNER_INSTALL, s->fd, line, sizeof line);
    (void)!ftruncate(s->fd, 0); /* only room is lost if it fails */
    if (err) {
        snprintf(why, why_cap, "the handler failed%s%.60s", line[0] ? ": " : "", line);
        return CMX_EPERM;
    }
    s->rolled_back_why[0] = '\0';
    cmx_log(CMX_LOG_INFO, TAG, "the handler is done%s%s", line[0] ? ": " : "", line);
    if (s->restarts)
        return state_write(s, "trial\n");
    ask_version(s);
    return state_write(s, "");
}

static cmx_err confirm(void *arg)
{
    struct ota_spool *s = arg;
    char line[160];
    cmx_err err = runner_call(s->runner, RUNNER_CONFIRM, -1, line, sizeof line);

    if (!err)
        err = state_write(s, "");
    if (!err)
        s->trial = false;
    return err;
}

static cmx_err rollback(void *arg, const char *why)
{
    struct ota_spool *s = arg;
    char line[160], state[64];
    cmx_err err;

    snprintf(state, sizeof state, "rolled-back %s\n", why);
    err = state_write(s, state); /* first: the hook may restart the machine */
    if (!err)
        err = runner_call(s->runner, RUNNER_ROLLBACK, -1, line, sizeof line);
    return err;
}

cmx_err ota_spool_open(struct ota_spool *s, const char *path, uint32_t max_len, bool restarts, struct runner *runner)
{
    char state[4096];

    *s = (struct ota_spool){.runner = runner, .fd = -1, .state_fd = -1, .max_len = max_len, .restarts = restarts};
    if ((size_t)snprintf(state, sizeof state, "%s.state", path) >= sizeof state) {
        errno = ENAMETOOLONG;
        return CMX_EIO;
    }
    s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->fd >= 0)
        s->state_fd = open(state, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->state_fd < 0)
        return CMX_EIO;
    state_read(s);
    ask_version(s);
    return CMX_OK;
}

void ota_spool_close(struct ota_spool *s)
{
    if (s->fd >= 0)
        close(s->fd);
    if (s->state_fd >= 0)
        close(s->state_fd);
    s->fd = s->state_fd = -1;
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
