#include "gateway/folder/gw_revocation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gateway/folder/gw_program.h"

#define PATH_LEN 32

/* Creates a file in memory and returns its descriptor; -1 after a failure. path receives the path with which ssh-keygen
 * opens the file. */
static int memory_file(const void *data, size_t len, char path[PATH_LEN])
{
    int fd = memfd_create("cmxsafe", 0);
    size_t done = 0;

    while (fd >= 0 && done < len) {
        ssize_t n = write(fd, (const char *)data + done, len - done);
        if (n <= 0) {
            close(fd);
            return -1;
        }
        done += (size_t)n;
    }
    snprintf(path, PATH_LEN, "/proc/self/fd/%d", fd);
    return fd;
}

/* Reads one line for each key, "PATH: ok" or "PATH: REVOKED". True if there are n lines. */
static bool read_answer(char *text, size_t n, bool revoked[])
{
    char *rest = text;
    char *line;
    size_t got = 0;

    while ((line = strsep(&rest, "\n")) != NULL) {
        const char *word = strrchr(line, ' ');
        if (!word)
            continue;
        if (got == n)
            return false;
        if (strcmp(word, " ok") == 0)
            revoked[got] = false;
        else if (strcmp(word, " REVOKED") != 0)
            return false;
        got++;
    }
    return got == n;
}

static bool has_keygen(void)
{
    static const char *const find[] = {"sh", "-c", "command -v ssh-keygen", NULL};

    return gw_program_run(true, find);
}

cmx_err gw_revocation_ask(const uint8_t *krl, size_t len, const char *const keys[], size_t n, bool revoked[],
                          struct cmx_why *e)
{
    char path[GW_REVOCATION_KEYS_MAX + 1][PATH_LEN];
    const char *argv[GW_REVOCATION_KEYS_MAX + 6] = {"ssh-keygen", "-Q", "-f", path[0]};
    int fd[GW_REVOCATION_KEYS_MAX + 1];
    size_t files = 1;
    char *text = NULL;
    size_t text_len = 0;
    bool ready;
    bool good;

    for (size_t i = 0; i < n; i++)
        revoked[i] = true;
    fd[0] = memory_file(krl, len, path[0]);
    good = fd[0] >= 0 && n <= GW_REVOCATION_KEYS_MAX;
    for (size_t i = 0; good && i < n; i++) {
        argv[4 + i] = path[files];
        fd[files] = memory_file(keys[i], strlen(keys[i]), path[files]);
        good = fd[files] >= 0;
        files += good;
    }
    ready = good;
    if (ready) { /* ssh-keygen exits with 1 if a key is revoked */
        good = gw_program_output(argv, &text, &text_len) || n > 0;
        good = good && text && (n == 0 || read_answer(text, n, revoked));
    }
    free(text); /* allocated by open_memstream */
    for (size_t i = 0; i < files; i++)
        if (fd[i] >= 0)
            close(fd[i]);
    if (good)
        return CMX_OK;
    for (size_t i = 0; i < n; i++)
        revoked[i] = true;
    if (!ready)
        return cmx_why_fail(e, CMX_EIO, "no memory for the files that ssh-keygen reads");
    if (!has_keygen())
        return cmx_why_fail(e, CMX_EIO, "ssh-keygen can't be found; install OpenSSH's client");
    return n == 0 ? cmx_why_fail(e, CMX_EFORMAT,
                                 "ssh-keygen can't read the file as a KRL; make a KRL with 'ssh-keygen -k'")
                  : cmx_why_fail(e, CMX_EIO, "ssh-keygen did not report which keys the KRL revokes");
}
