#include "gateway/server/gw_access_read.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

const char *gw_access_path(const struct gw *g, unsigned n, char out[GW_PATH_MAX])
{
    if (n)
        snprintf(out, GW_PATH_MAX, "%s/run/access/log.%u", g->dir, n);
    else
        snprintf(out, GW_PATH_MAX, "%s/run/access/log", g->dir);
    return out;
}

#define READ_MAX (64l << 20) /* longer than the server lets a file become */

/* The log's folder belongs to the gateway's account. If the account is compromised, it may hold FIFOs, which would
 * block the reader, links to devices, or huge files, of which only the end is read. */
static FILE *open_log(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    FILE *f = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? fdopen(fd, "r") : NULL;

    if (!f && fd >= 0)
        close(fd);
    if (f && st.st_size > READ_MAX)
        (void)fseek(f, -READ_MAX, SEEK_END); /* can't fail for a regular file */
    return f;
}

void gw_access_read_begin(struct gw_access_reader *r, const struct gw *g)
{
    char path[GW_PATH_MAX];

    r->g = g;
    for (unsigned n = 0; n < GW_ACCESS_FILES; n++)
        r->files[n] = open_log(gw_access_path(g, n, path));
}

/* Reads a complete line. If the end of the line is not written yet, the next call reads the line again. A power cut may
 * leave a line of arbitrary bytes: NUL bytes become '?', and a line that is too long is cut. */
static bool read_whole(FILE *f, char line[GW_ACCESS_LINE_MAX])
{
    size_t n = 0;
    long read = 0;
    int c;

    while ((c = getc(f)) != EOF && c != '\n') {
        read++;
        if (n < GW_ACCESS_LINE_MAX - 2)
            line[n++] = c ? (char)c : '?';
    }
    line[n] = '\n';
    line[n + 1] = '\0';
    if (c == '\n')
        return true;
    clearerr(f);
    (void)fseek(f, -read, SEEK_CUR); /* can't fail for a regular file */
    return false;
}

/* Call this when all open files have been read to their end. If the log was truncated, continues at its beginning. If
 * the log was rotated meanwhile, opens the new file as files[0], and keeps the former one as files[1]. The rest of the
 * former file is then read before the new file. */
static bool reader_turn(struct gw_access_reader *r)
{
    char path[GW_PATH_MAX];
    struct stat old;
    struct stat now;
    FILE *next;

    gw_access_path(r->g, 0, path);
    if (r->files[0] && (fstat(fileno(r->files[0]), &old) != 0 || stat(path, &now) != 0))
        return false;
    if (r->files[0] && old.st_ino == now.st_ino) {
        if (now.st_size < ftell(r->files[0])) /* another program truncated the file */
            rewind(r->files[0]);
        return false; /* the next call reads from there */
    }
    next = open_log(path);
    if (!next)
        return false;
    r->files[1] = r->files[0];
    r->files[0] = next;
    return true;
}

bool gw_access_read_line(struct gw_access_reader *r, char line[GW_ACCESS_LINE_MAX])
{
    do {
        for (unsigned n = GW_ACCESS_FILES; n-- > 0;) {
            if (r->files[n] && read_whole(r->files[n], line))
                return true;
            if (n > 0 && r->files[n]) {
                fclose(r->files[n]);
                r->files[n] = NULL;
            }
        }
    } while (reader_turn(r));
    return false;
}

void gw_access_read_end(struct gw_access_reader *r)
{
    for (unsigned n = 0; n < GW_ACCESS_FILES; n++)
        if (r->files[n])
            fclose(r->files[n]);
}
