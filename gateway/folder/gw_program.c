#include "gateway/folder/gw_program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmxsafe/core/text.h"
#include "port/linux/child.h"

#define OUTPUT_MAX ((size_t)1 << 20)
#define ERRORS_MAX ((size_t)16 << 10)
#define WORDS_MAX 32
#define LINE_CHARS_MAX 512
#define SEPARATOR '\x1f' /* names, addresses and paths do not contain this character */

static mode_t callers_umask = 022;

void gw_program_environment(void)
{
    static const char folders[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    const char *path = getenv("PATH");
    char all[8192];

    callers_umask = umask(022);
    if (path && path[0] && (size_t)snprintf(all, sizeof all, "%s:%s", path, folders) < sizeof all)
        setenv("PATH", all, 1);
    else if (!path || !path[0])
        setenv("PATH", folders, 1);
}

mode_t gw_program_umask(void)
{
    return callers_umask;
}

static void silence(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null >= 0) {
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
    }
}

bool gw_program_run(bool quiet, const char *const argv[])
{
    pid_t pid;

    fflush(NULL);
    pid = cmx_child_fork(); /* unblocks signals, because the guard has blocked some */
    if (pid == 0) {
        if (quiet)
            silence();
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    return cmx_child_wait(pid) == 0;
}

static size_t count(const char *text, char c)
{
    size_t n = 0;

    for (; *text; text++)
        n += *text == c;
    return n;
}

/* Formats the line with SEPARATOR instead of blanks, and splits it at each SEPARATOR, so that values can contain
 * blanks. */
bool gw_program_runf(bool quiet, const char *fmt, ...)
{
    const char *argv[WORDS_MAX + 1] = {NULL};
    char format[LINE_CHARS_MAX];
    char line[16 * LINE_CHARS_MAX];
    char *rest = line;
    bool good = (size_t)snprintf(format, sizeof format, "%s", fmt) < sizeof format;
    va_list ap;
    int len;

    for (char *blank = format; (blank = strchr(blank, ' ')) != NULL;)
        *blank = SEPARATOR;
    va_start(ap, fmt);
    len = vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    good = good && len >= 0 && (size_t)len < sizeof line && count(line, SEPARATOR) == count(fmt, ' ');
    for (size_t n = 0; good && rest; n++) {
        argv[n] = strsep(&rest, (const char[]){SEPARATOR, '\0'});
        good = argv[n][0] != '\0' && n + 1 < WORDS_MAX;
    }
    return good && gw_program_run(quiet, argv);
}

/* One output stream of a program; at most max bytes of it are stored. */
struct program_stream {
    int fd; /* -1: the stream has ended, or was longer than max */
    FILE *out;
    size_t len, max;
};

static void stream_end(struct program_stream *s)
{
    close(s->fd);
    s->fd = -1;
}

static void stream_take(struct program_stream *s)
{
    char piece[4096];
    ssize_t n = read(s->fd, piece, sizeof piece);

    if (n < 0 && errno == EINTR)
        return;
    if (n > 0)
        s->len += (size_t)n;
    if (n <= 0 || s->len > s->max) /* after this, a program that writes more gets SIGPIPE */
        stream_end(s);
    else
        (void)fwrite(piece, 1, (size_t)n, s->out); /* fclose fails if memory ran out */
}

static pid_t stream_program(const char *const argv[], struct program_stream streams[], size_t n)
{
    int fd[2][2];
    pid_t pid = -1;

    for (size_t i = 0; i < n; i++)
        if (pipe2(fd[i], O_CLOEXEC) == 0)
            streams[i].fd = fd[i][0];
        else
            fd[i][1] = -1;
    fflush(NULL);
    if (fd[0][1] >= 0 && fd[n - 1][1] >= 0)
        pid = cmx_child_fork();
    if (pid == 0) {
        for (size_t i = 0; i < n; i++)
            dup2(fd[i][1], STDOUT_FILENO + (int)i);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    for (size_t i = 0; i < n; i++)
        if (fd[i][1] >= 0)
            close(fd[i][1]);
    return pid;
}

/* Runs the program and stores its output until all n streams have ended. streams[0]: standard output. streams[1], if n
 * is 2: standard error. */
static bool streams_run(const char *const argv[], struct program_stream streams[], size_t n)
{
    bool whole = true;
    pid_t pid = stream_program(argv, streams, n);

    while (pid > 0 && (streams[0].fd >= 0 || streams[n - 1].fd >= 0)) {
        struct pollfd p[2];

        for (size_t i = 0; i < n; i++)
            p[i] = (struct pollfd){.fd = streams[i].fd, .events = POLLIN};
        if (poll(p, n, -1) > 0)
            for (size_t i = 0; i < n; i++)
                if (p[i].revents)
                    stream_take(&streams[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (streams[i].fd >= 0)
            stream_end(&streams[i]);
        whole = whole && streams[i].len <= streams[i].max;
    }
    return cmx_child_wait(pid) == 0 && whole;
}

bool gw_program_output(const char *const argv[], char **text, size_t *len)
{
    struct program_stream out = {.fd = -1, .out = open_memstream(text, len), .max = OUTPUT_MAX};
    bool ok = out.out && streams_run(argv, &out, 1);

    return out.out && fclose(out.out) == 0 && ok;
}

static void print_clean(char *text)
{
    char *rest = text;

    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        line[strcspn(line, "\r")] = '\0';
        cmx_text_clean(line);
        if (line[0])
            fprintf(stderr, "%s\n", line);
    }
}

bool gw_program_output_foreign(const char *const argv[], char **text, size_t *len)
{
    char *errors = NULL;
    size_t errors_len = 0;
    struct program_stream streams[] = {
        {.fd = -1, .out = open_memstream(text, len), .max = OUTPUT_MAX},
        {.fd = -1, .out = open_memstream(&errors, &errors_len), .max = ERRORS_MAX},
    };
    bool ok = streams[0].out && streams[1].out && streams_run(argv, streams, 2);

    for (size_t i = 0; i < 2; i++)
        ok = streams[i].out && fclose(streams[i].out) == 0 && ok;
    if (errors)
        print_clean(errors);
    free(errors); /* allocated by open_memstream */
    return ok;
}
