#include "agent/next_config.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "agent/credentials.h"
#include "agent/ota/agent_ota.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/port/port.h"

/* Invariant: while `reading` is true only the reader uses `config` and `error`; otherwise only the agent's thread. */
static struct {
    const char *file;
    int wake;
    uint64_t since_ms;
    bool started; /* the reader was started, and its result was not fetched yet */
    atomic_bool reading;
    struct agent_config *config;
    char error[NEXT_CONFIG_ERROR_MAX];
} self;

/* Keeps the first error for the status. All errors are logged. */
static void log_line(void *arg, const char *text)
{
    (void)arg;
    if (!self.error[0])
        snprintf(self.error, sizeof self.error, "%s", text);
    cmx_log(CMX_LOG_ERROR, "config", "%s", text);
}

static void read_config(void *arg)
{
    struct config_report report = {.file = self.file, .line = log_line};
    struct agent_config *next = NULL;
    struct cmx_why why = {""};
    const int wake = self.wake;
    cmx_err err = config_load(self.file, &report, &next);

    (void)arg;
    if (!err) {
        err = ota_check_files(next, &why);
        if (!err)
            err = credentials_check(next, &why);
        if (err)
            config_error(&report, 0, "%s", cmx_why_text(&why, err));
    }
    if (err) {
        config_free(next);
        next = NULL;
    }
    self.config = next;
    atomic_store(&self.reading, false);
    cmx_port_wake(wake);
}

cmx_err next_config_start(const char *file, int wake)
{
    cmx_err err;

    if (self.started)
        return CMX_EBUSY;
    self.file = file;
    self.wake = wake;
    self.error[0] = 0;
    self.since_ms = cmx_port_now_ms();
    atomic_store(&self.reading, true);
    err = cmx_port_task_start("reload", 0, read_config, NULL);
    self.started = !err;
    return err;
}

bool next_config_take(struct agent_config **out, char error[NEXT_CONFIG_ERROR_MAX])
{
    if (!self.started || atomic_load(&self.reading))
        return false;
    self.started = false;
    *out = self.config;
    memcpy(error, self.error, sizeof self.error);
    return true;
}

bool next_config_hangs(uint64_t ms)
{
    return self.started && cmx_port_now_ms() - self.since_ms >= ms;
}
