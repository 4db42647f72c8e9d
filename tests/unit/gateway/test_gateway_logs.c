/* What the running gateway keeps for its readers: the access log in files, and the journal in memory. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/folder/gw_json.h"
#include "gateway/server/gw_access_log.h"
#include "gateway/server/gw_access_read.h"
#include "gateway/server/gw_idsock.h"
#include "gateway/server/gw_journal.h"

static struct gw g;

static int make_folder(void **state)
{
    char path[GW_PATH_MAX];

    (void)state;
    snprintf(g.dir, sizeof g.dir, "/tmp/cmx-logs.XXXXXX");
    if (!mkdtemp(g.dir))
        return -1;
    return mkdir(gw_path(&g, "run", path), 0755);
}

static int remove_folder(void **state)
{
    char path[GW_PATH_MAX];

    (void)state;
    for (unsigned n = 0; n < GW_ACCESS_FILES; n++)
        unlink(gw_access_path(&g, n, path));
    rmdir(gw_path(&g, "run/access", path));
    rmdir(gw_path(&g, "run", path));
    return rmdir(g.dir);
}

static void write_file(const void *data, size_t len)
{
    char path[GW_PATH_MAX];
    FILE *f;

    mkdir(gw_path(&g, "run/access", path), 0755);
    f = fopen(gw_access_path(&g, 0, path), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static struct gw_access_reader reader;

static const char *next_line(void)
{
    static char line[GW_ACCESS_LINE_MAX];

    return gw_access_read_line(&reader, line) ? line : NULL;
}

/* After a power cut the last line may be incomplete, and its bytes may be zeros. The lines around it are read. */
static void test_cut_line(void **state)
{
    static const char text[] = "{\"event\":\"open\"}\n{\"event\":\"op\0\0\0";
    struct gw_access_log *l;

    (void)state;
    write_file(text, sizeof text - 1);
    l = gw_access_open(&g, "fd12::1");
    assert_non_null(l);
    gw_access_denied(l, "fd12::2 fd12::3 81 5");
    gw_access_close(l);
    gw_access_read_begin(&reader, &g);
    assert_string_equal(next_line(), "{\"event\":\"open\"}\n");
    assert_string_equal(next_line(), "{\"event\":\"op???\n");
    assert_non_null(strstr(next_line(), "\"start\""));
    assert_non_null(strstr(next_line(), "\"port\":81"));
    assert_null(next_line());
    gw_access_read_end(&reader);
}

/* A line that is longer than the server ever writes does not stop the reader. */
static void test_long_line(void **state)
{
    static char text[3 * GW_ACCESS_LINE_MAX];
    const char *line;

    (void)state;
    memset(text, 'x', sizeof text);
    memcpy(text + sizeof text - 6, "\nnext\n", 6);
    write_file(text, sizeof text);
    gw_access_read_begin(&reader, &g);
    line = next_line();
    assert_non_null(line);
    assert_int_equal(strlen(line), GW_ACCESS_LINE_MAX - 1);
    assert_string_equal(next_line(), "next\n");
    assert_null(next_line());
    gw_access_read_end(&reader);
}

/* A line that has not been written completely yet is read once it is complete. */
static void test_partial_line(void **state)
{
    char path[GW_PATH_MAX];
    FILE *f;

    (void)state;
    write_file("one\ntw", 6);
    gw_access_read_begin(&reader, &g);
    assert_string_equal(next_line(), "one\n");
    assert_null(next_line());
    f = fopen(gw_access_path(&g, 0, path), "a");
    assert_non_null(f);
    fputs("o\n", f);
    assert_int_equal(fclose(f), 0);
    assert_string_equal(next_line(), "two\n");
    gw_access_read_end(&reader);
}

/* A compromised account may put other files into the log's folder. Root's reader must not wait for them or read them.
 */
static void test_other_files(void **state)
{
    char path[GW_PATH_MAX];

    (void)state;
    write_file("one\n", 4);
    assert_int_equal(symlink("/dev/zero", gw_access_path(&g, 2, path)), 0);
    assert_int_equal(mkfifo(gw_access_path(&g, 1, path), 0600), 0);
    alarm(10);
    gw_access_read_begin(&reader, &g);
    assert_string_equal(next_line(), "one\n");
    unlink(gw_access_path(&g, 0, path));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_null(next_line());
    alarm(0);
    gw_access_read_end(&reader);
    for (unsigned n = 0; n < 3; n++)
        unlink(gw_access_path(&g, n, path));
}

/* Opens an empty log that can grow by only `room` bytes, as on a full disk. The caller must set RLIMIT_FSIZE to *before
 * again. */
static struct gw_access_log *open_full(rlim_t room, struct rlimit *before)
{
    struct rlimit now;
    struct gw_access_log *l;
    char path[GW_PATH_MAX];
    struct stat st;

    write_file("", 0);
    l = gw_access_open(&g, "fd12::1");
    assert_non_null(l);
    assert_int_equal(stat(gw_access_path(&g, 0, path), &st), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, before), 0);
    now = *before;
    now.rlim_cur = (rlim_t)st.st_size + room;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    return l;
}

/* On a full disk, the log removes an incomplete line, so that the next line does not follow it. */
static void test_full_disk(void **state)
{
    struct rlimit before;
    struct gw_access_log *l = open_full(20, &before);
    const char *line;

    (void)state;
    gw_access_denied(l, "fd12::2 fd12::3 81 5");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    gw_access_denied(l, "fd12::2 fd12::3 82 6");
    gw_access_close(l);
    gw_access_read_begin(&reader, &g);
    assert_non_null(strstr(next_line(), "\"start\""));
    line = next_line();
    assert_non_null(line);
    assert_ptr_equal(strrchr(line, '{'), line); /* one line, not two */
    assert_non_null(strstr(line, "\"port\":82"));
    line = next_line();
    assert_non_null(line);
    assert_non_null(strstr(line, "\"denied-more\"")); /* the refusals that could not be logged */
    assert_non_null(strstr(line, "\"count\":5}"));
    assert_null(next_line());
    gw_access_read_end(&reader);
}

#define CONNECTION(event, id, port)                                                                                    \
    "{\"event\":\"" event "\",\"at\":5,\"id\":" id ",\"since\":4,\"consumer\":\"fd12::2\",\"target\":\"fd12::3\","     \
    "\"port\":" port ",\"bytes_in\":0,\"bytes_out\":0}\n"
#define START "{\"event\":\"start\",\"at\":5,\"pid\":17}\n"

/* A server that was killed leaves connections without an end. The next one logs them, but only once. */
static void test_killed_server(void **state)
{
    static const char text[] = CONNECTION("open", "1", "80") START CONNECTION("open", "1", "81")
        CONNECTION("open", "2", "82") CONNECTION("close", "1", "81") CONNECTION("open", "3", "83");

    (void)state;
    write_file(text, sizeof text - 1);
    for (unsigned n = 0; n < 2; n++)
        gw_access_close(gw_access_open(&g, "fd12::1"));
    gw_access_read_begin(&reader, &g);
    for (unsigned n = 0; n < 6; n++)
        assert_non_null(next_line());
    for (unsigned n = 2; n < 4; n++) {
        char port[16];
        const char *line = next_line();

        snprintf(port, sizeof port, "\"port\":8%u,", n);
        assert_non_null(line);
        assert_non_null(strstr(line, "{\"event\":\"cut\","));
        assert_non_null(strstr(line, "\"since\":4,\"consumer\":\"fd12::2\",\"target\":\"fd12::3\","));
        assert_non_null(strstr(line, port));
    }
    for (unsigned n = 0; n < 2; n++)
        assert_non_null(strstr(next_line(), "\"start\""));
    assert_null(next_line());
    gw_access_read_end(&reader);
}

static struct idsock_event events[2];

uint64_t __wrap_gw_idsock_events(struct gw_idsock *s, gw_idsock_event_fn fn, void *arg);

/* Instead of the kernel: reports the events of one connection. */
uint64_t __wrap_gw_idsock_events(struct gw_idsock *s, gw_idsock_event_fn fn, void *arg)
{
    (void)s;
    for (size_t i = 0; i < 2; i++)
        fn(arg, &events[i]);
    return 0;
}

/* Opens and closes `n` connections from outside the fleet to port 81; `first` is the first one's cookie. */
static void connections(struct gw_access_log *l, uint64_t first, unsigned n)
{
    for (uint64_t cookie = first; cookie < first + n; cookie++) {
        for (size_t i = 0; i < 2; i++)
            events[i] = (struct idsock_event){.cookie = cookie,
                                              .local_port = 81,
                                              .remote = {0xfd, 0x12, [15] = 2},
                                              .local = {0xfd, 0x12, [15] = 3},
                                              .closed = i == 1};
        gw_access_take(l, NULL);
    }
}

/* While the disk is full, many connections end. Later connections are logged nevertheless. */
static void test_many_on_full_disk(void **state)
{
    struct rlimit before;
    struct gw_access_log *l = open_full(0, &before);
    unsigned cut = 0, closed = 0;
    const char *line;

    (void)state;
    connections(l, 1, 40000);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    connections(l, 40001, 100);
    gw_access_read_begin(&reader, &g);
    while ((line = next_line()) != NULL) {
        cut += strstr(line, "\"cut\"") != NULL;
        closed += strstr(line, "\"close\"") != NULL;
    }
    gw_access_read_end(&reader);
    gw_access_close(l);
    assert_int_equal(closed, 100);
    assert_in_range(cut, 1, 40000); /* written when the disk had room again, not only when the log was closed */
}

/* A compromised account may leave a huge log. The gateway starts nevertheless, and the log's latest lines are read. */
static void test_huge_log(void **state)
{
    static const char text[] = "\n" CONNECTION("open", "1", "81");
    struct gw_access_log *l;
    char path[GW_PATH_MAX];
    FILE *f;

    (void)state;
    write_file("", 0);
    assert_int_equal(truncate(gw_access_path(&g, 0, path), (off_t)1 << 40), 0);
    f = fopen(path, "a");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    alarm(20);
    l = gw_access_open(&g, "fd12::1");
    alarm(0);
    assert_non_null(l);
    gw_access_close(l);
    gw_access_read_begin(&reader, &g);
    while (strncmp(next_line(), "{\"event\":\"open\"", 15) != 0)
        continue;
    assert_non_null(strstr(next_line(), "\"cut\""));
    gw_access_read_end(&reader);
}

static struct gw_journal journal;

static void journal_is(uint64_t from, uint64_t lost, unsigned entries)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    struct gw_json out;
    char want[64];
    unsigned n = 0;

    assert_non_null(f);
    gw_json_begin(&out, f);
    cmx_json_object(&out.j, NULL);
    gw_journal_json(&out.j, &journal, from);
    cmx_json_end(&out.j);
    assert_true(gw_json_end(&out));
    fclose(f);
    snprintf(want, sizeof want, "\"next\":%llu,\"lost\":%llu,", (unsigned long long)journal.next,
             (unsigned long long)lost);
    assert_non_null(strstr(text, want));
    for (const char *at = text; (at = strstr(at, "\"name\":")) != NULL; at++)
        n++;
    assert_int_equal(n, entries);
    free(text);
}

static void test_journal(void **state)
{
    uint64_t former;

    (void)state;
    gw_journal_begin(&journal);
    journal_is(0, 0, 0);
    gw_journal_add(&journal, GW_JOURNAL_UP, "cam-1", "from");
    gw_journal_add(&journal, GW_JOURNAL_UP, "cam-2", "from");
    journal_is(0, 0, 2);
    journal_is(journal.next - 1, 0, 1);
    journal_is(journal.next, 0, 0);
    journal_is(journal.next + 1, 1, 2); /* a number that another process gave */
    for (unsigned i = 0; i < GW_JOURNAL_MAX; i++)
        gw_journal_add(&journal, GW_JOURNAL_DOWN, "cam-1", "from");
    journal_is(0, 2, GW_JOURNAL_MAX);
    journal_is(journal.base + 1, 1, GW_JOURNAL_MAX);

    /* After a restart, a reader asks the new process for the first time. By then the new journal may have more entries
     * than the former one had. The reader still gets all entries of the new journal. */
    gw_journal_begin(&journal);
    gw_journal_add(&journal, GW_JOURNAL_UP, "cam-1", "from");
    former = journal.next;
    usleep(2000);
    gw_journal_begin(&journal);
    for (unsigned i = 0; i < 3; i++)
        gw_journal_add(&journal, GW_JOURNAL_UP, "cam-1", "from");
    journal_is(former, 1, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_line),          cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_partial_line),      cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_full_disk),         cmocka_unit_test(test_killed_server),
        cmocka_unit_test(test_many_on_full_disk), cmocka_unit_test(test_huge_log),
        cmocka_unit_test(test_journal),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
