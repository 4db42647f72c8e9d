#include "port/linux/stderr_line.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 100 }; /* how long a line waits for a slow reader before it is lost */

/* One write, because other processes may write to the same file. */
static void write_line(const char *prefix, const char *line)
{
    char out[640];

    snprintf(out, sizeof out, "%s%s\n", prefix, line);
    if (write(STDERR_FILENO, out, strlen(out)) < 0)
        return; /* stderr fails, so nothing can be reported */
}

/* Linux reports a pipe or socket as writable only if two lines fit into it. The mutex keeps other threads from filling
 * it between ppoll and write. Calls ppoll because board/lwip/sockets.c and libc/read_ahead.c replace poll. */
void cmx_stderr_line(const char *prefix, const char *line)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static unsigned lost;
    struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
    char words[64];
    int rc;

    pthread_mutex_lock(&mutex);
    do {
        const struct timespec wait = {.tv_nsec = lost ? 0 : WAIT_MS * 1000000L};

        rc = ppoll(&fd, 1, &wait, NULL);
    } while (rc < 0 && errno == EINTR);
    if (rc == 0) {
        lost++;
    } else {
        snprintf(words, sizeof words, "%u line%s lost because nothing read stderr", lost,
                 lost == 1 ? " was" : "s were");
        if (lost)
            write_line(prefix, words);
        lost = 0;
        write_line(prefix, line);
    }
    pthread_mutex_unlock(&mutex);
}
