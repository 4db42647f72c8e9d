/* Tests parts of the agent: status texts, the control protocol and its server, liveness of tasks, datagrams to systemd.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/control/agent_status.h"
#include "agent/control/control.h"
#include "agent/liveness.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/gateways.h"
#include "cmxsafe/version.h"
#include "port/linux/notify.h"

static uint8_t memory[STATUS_MAX];
static struct cmx_buf out;

static const char *text(void)
{
    const char *s = NULL;

    assert_int_equal(cmx_buf_cstr(&out, &s), CMX_OK);
    return s;
}

/* ---- status ---- */

static void test_units(void **state)
{
    static const struct {
        uint64_t n;
        const char *want;
    } durations[] = {{0, "0 ms"},        {999, "999 ms"},
                     {1000, "1 s"},      {119999, "119 s"},
                     {120000, "2 min"},  {7199999, "119 min"},
                     {7200000, "2 h"},   {172799999, "47 h"},
                     {172800000, "2 d"}, {UINT64_MAX, "213503982334 d"}},
      sizes[] = {{0, "0 B"},           {999, "999 B"},      {1000, "1.0 kB"},       {1999, "1.9 kB"},
                 {999999, "999.9 kB"}, {1000000, "1.0 MB"}, {1500000000, "1.5 GB"}, {UINT64_MAX, "18.4 EB"}};
    char s[40];

    (void)state;
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        status_duration(durations[i].n, s, sizeof s);
        assert_string_equal(s, durations[i].want);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        status_bytes(sizes[i].n, s, sizeof s);
        assert_string_equal(s, sizes[i].want);
    }
}

static struct status_view view(void)
{
    static struct cmx_context_status contexts[CMX_PROXY_CONTEXTS_MAX];
    static const struct confine_report confinement = {
        .n = 2, .item = {{"landlock files", true, false, "version 7"}, {"seccomp", false, false, "not \"there\""}}};
    struct status_view v = {.now_ms = 100000,
                            .started_ms = 40000,
                            .loaded_ms = 50000,
                            .config_file = "/c",
                            .gateways = "gw",
                            .gateway_host = "gw",
                            .gateway_port = 22,
                            .gateway_user = "u",
                            .confinement = &confinement,
                            .n_contexts = 2,
                            .contexts = contexts};
    struct cmx_context_status *c = v.contexts;

    c[0] = (struct cmx_context_status){.name = "camera",
                                       .session = "camera",
                                       .local_port = 81,
                                       .remote_port = 8081,
                                       .state = CMX_STATE_UP,
                                       .since_ms = 70000,
                                       .sessions = 2,
                                       .relays_open = 1,
                                       .relays_total = 12,
                                       .relays_refused = 3,
                                       .last_refusal = CMX_EBUSY,
                                       .last_refusal_ms = 99000,
                                       .bytes_in = 1234,
                                       .bytes_out = 5600000};
    c[1] = (struct cmx_context_status){.name = "b",
                                       .session = "b",
                                       .direction = CMX_DIRECT,
                                       .local_port = 1883,
                                       .remote_port = 1884,
                                       .state = CMX_STATE_WAITING,
                                       .since_ms = 99000,
                                       .retry_at_ms = 103000,
                                       .last_error = CMX_EREFUSED,
                                       .last_error_ms = 98000};
    strcpy(c[1].last_error_text, "gateway \x1b refused");
    return v;
}

static void test_table(void **state)
{
    struct status_view v = view();

    (void)state;
    cmx_buf_init(&out, memory, sizeof memory);
    assert_int_equal(status_table(&v, false, &out), CMX_OK);
    assert_string_equal(
        text(), "gateway gw port 22 as u; 1 of 2 contexts up; agent " CMX_VERSION ", running for 60 s\n\n"
                "CONTEXT  LISTENS       LEADS TO      STATE    SINCE  SESSIONS  OPEN  TOTAL  REFUSED      IN     OUT\n"
                "camera   gateway:8081  device:81     up        30 s         2     1     12        3  1.2 kB  5.6 MB\n"
                "b        device:1883   gateway:1884  waiting    1 s         0     0      0        0     0 B     0 B\n"
                "  last error 2 s ago: gateway ? refused; next attempt in 3 s\n"
                "\nconfinement: landlock files: yes (version 7); seccomp: no (not \"there\")\n");
    v.reload_failed_ms = 99000;
    v.reload_error = "f:3: no";
    cmx_buf_clear(&out);
    assert_int_equal(status_table(&v, true, &out), CMX_OK);
    assert_non_null(strstr(text(), "\nreload failed 1 s ago: f:3: no; the old configuration is in force\n"));
    assert_non_null(strstr(text(), "\033[32mup     \033[0m"));
    assert_non_null(strstr(text(), "\033[31mwaiting\033[0m"));
}

/* No form of the status shows a session as up or healthy if its thread is no longer running. */
static void test_stuck(void **state)
{
    struct status_view v = view();
    char line[256];

    (void)state;
    v.contexts[0].state = CMX_STATE_STUCK;
    cmx_buf_init(&out, memory, sizeof memory);
    assert_int_equal(status_table(&v, true, &out), CMX_OK);
    assert_non_null(strstr(text(), "0 of 2 contexts up"));
    assert_non_null(strstr(text(), "\033[31mstuck  \033[0m"));
    cmx_buf_clear(&out);
    assert_int_equal(status_json(&v, &out), CMX_OK);
    assert_non_null(strstr(text(), "\"all_up\":false"));
    assert_non_null(strstr(text(), "\"state\":\"stuck\""));
    status_line(&v, line, sizeof line);
    assert_non_null(strstr(line, "camera: stuck"));
}

static void member(void *arg, struct cmx_json *j)
{
    cmx_json_u64(j, "isolation", *(int *)arg);
}

static void test_json(void **state)
{
    struct status_view v = view();
    int seven = 7;

    (void)state;
    v.modules_json = member;
    v.modules_arg = &seven;
    cmx_buf_init(&out, memory, sizeof memory);
    assert_int_equal(status_json(&v, &out), CMX_OK);
    assert_non_null(strstr(
        text(),
        "\"uptime_ms\":60000,\"all_up\":false,\"config\":{\"file\":\"/c\",\"loaded_ms\":50000,"
        "\"reload_failed\":null},\"gateway\":{\"host\":\"gw\",\"port\":22,\"user\":\"u\",\"configured\":\"gw\"}"));
    assert_non_null(strstr(text(),
                           "{\"name\":\"camera\",\"session\":\"camera\",\"direction\":\"reverse\",\"local_port\":81,"
                           "\"remote_port\":8081,\"state\":\"up\",\"since_ms\":30000,\"retry_in_ms\":null,"
                           "\"sessions\":2,\"key_exchange\":null,\"relays\":{\"open\":1,\"total\":12,\"refused\":3,"
                           "\"last_refusal\":{\"code\":\"busy\","
                           "\"age_ms\":1000}},\"bytes_in\":1234,"
                           "\"bytes_out\":5600000,\"last_error\":null}"));
    assert_non_null(strstr(text(), "\"state\":\"waiting\",\"since_ms\":1000,\"retry_in_ms\":3000"));
    assert_non_null(
        strstr(text(), "\"last_error\":{\"code\":\"refused\",\"text\":\"gateway \\u001b refused\",\"age_ms\":2000}"));
    assert_non_null(strstr(text(), "\"modules\":{\"isolation\":7}}\n"));
    assert_non_null(strstr(text(), "\"applied\":false,\"detail\":\"not \\\"there\\\"\""));
}

static void test_status_fits(void **state)
{
    struct status_view v = view();
    char longest_host[CMX_GATEWAYS_TEXT_MAX];

    (void)state;
    memset(longest_host, 'g', sizeof longest_host - 1);
    longest_host[sizeof longest_host - 1] = 0;
    v.gateways = v.gateway_host = longest_host;
    v.n_contexts = CMX_PROXY_CONTEXTS_MAX;
    for (size_t i = 0; i < v.n_contexts; i++) {
        struct cmx_context_status *c = &v.contexts[i];

        memset(c, 0xff, sizeof *c);
        c->state = CMX_STATE_WAITING;
        c->direction = CMX_REVERSE;
        c->last_error = CMX_EFORWARD;
        c->key_exchange = "sntrup761x25519-sha512@openssh.com";
        memset(c->name, 1, sizeof c->name - 1);
        memset(c->session, 1, sizeof c->session - 1);
        memset(c->last_error_text, 1, sizeof c->last_error_text - 1);
        c->name[sizeof c->name - 1] = c->session[sizeof c->session - 1] = 0;
        c->last_error_text[sizeof c->last_error_text - 1] = 0;
    }
    cmx_buf_init(&out, memory, sizeof memory);
    assert_int_equal(status_json(&v, &out), CMX_OK);
    assert_true(cmx_buf_len(&out) < sizeof memory - 40 * 1024); /* 40 KB remain for the modules' status */
    cmx_buf_clear(&out);
    assert_int_equal(status_table(&v, true, &out), CMX_OK);
    for (size_t cap = 0; cap < 2000; cap += 13) {
        cmx_buf_init(&out, memory, cap);
        assert_int_equal(status_json(&v, &out), CMX_ENOSPC);
        cmx_buf_init(&out, memory, cap);
        assert_int_equal(status_table(&v, false, &out), CMX_ENOSPC);
    }
}

static void the_table_names_the_gateway_in_use_of_several(void **state)
{
    struct status_view v = view();

    (void)state;
    v.gateways = "gw, other";
    cmx_buf_init(&out, memory, sizeof memory);
    assert_int_equal(status_table(&v, false, &out), CMX_OK);
    assert_ptr_equal(strstr(text(), "gateway gw port 22 of gw, other as u; "), text());
}

static void test_line_and_settled(void **state)
{
    struct status_view v = view();
    char line[80];

    (void)state;
    status_line(&v, line, sizeof line);
    assert_string_equal(line, "1 of 2 contexts up; b: waiting (gateway ? refused)");
    status_line(&v, line, 12);
    assert_string_equal(line, "1 of 2 cont");
    assert_true(status_settled(&v));
    v.contexts[1].state = CMX_STATE_HANDSHAKE;
    assert_false(status_settled(&v));
    v.contexts[1].state = CMX_STATE_FORWARDING;
    assert_true(status_settled(&v));
    v.contexts[1].last_error_ms = 0; /* the gateway has not answered the forward request yet */
    assert_false(status_settled(&v));
    assert_int_equal(status_sessions(&v), 2);
    strcpy(v.contexts[1].session, "camera");
    assert_int_equal(status_sessions(&v), 1);
}

/* ---- control protocol ---- */

static void test_control_parse(void **state)
{
    struct control_request r;
    char line[CONTROL_LINE_MAX + 1];

    (void)state;
    assert_int_equal(control_parse((const uint8_t *)"  status  json ", 15, &r), CMX_OK);
    assert_int_equal(r.n, 2);
    assert_string_equal(r.word[0], "status");
    assert_string_equal(r.word[1], "json");
    assert_int_equal(control_parse((const uint8_t *)"status\r", 7, &r), CMX_OK);
    assert_string_equal(r.word[0], "status");
    assert_int_equal(control_parse((const uint8_t *)"", 0, &r), CMX_EFORMAT);
    assert_int_equal(control_parse((const uint8_t *)"   ", 3, &r), CMX_EFORMAT);
    assert_int_equal(control_parse((const uint8_t *)"a\0b", 3, &r), CMX_EFORMAT);
    assert_int_equal(control_parse((const uint8_t *)"a\x80", 2, &r), CMX_EFORMAT);
    assert_int_equal(control_parse((const uint8_t *)"a b c d e f g h", 15, &r), CMX_OK);
    assert_int_equal(control_parse((const uint8_t *)"a b c d e f g h i", 17, &r), CMX_ENOSPC);
    memset(line, 'a', sizeof line);
    assert_int_equal(control_parse((uint8_t *)line, CONTROL_LINE_MAX - 1, &r), CMX_OK);
    assert_int_equal(control_parse((uint8_t *)line, CONTROL_LINE_MAX, &r), CMX_ENOSPC);
}

static cmx_err say_words(void *arg, const struct control_request *r, struct cmx_buf *o)
{
    (void)arg;
    return cmx_buf_printf(o, "%zu words\n", r->n);
}

static cmx_err too_much(void *arg, const struct control_request *r, struct cmx_buf *o)
{
    (void)arg;
    (void)r;
    while (cmx_buf_put_str(o, "x") == CMX_OK)
        ;
    return CMX_ENOSPC;
}

static const struct control_command commands[] = {{"words", say_words}, {"much", too_much}};

static const char *ask(const char *line)
{
    cmx_buf_init(&out, memory, 256);
    control_answer(commands, 2, NULL, (const uint8_t *)line, strlen(line), &out);
    return text();
}

static void test_control_answer(void **state)
{
    (void)state;
    assert_string_equal(ask("words a b"), "3 words\n");
    assert_string_equal(ask("much"), "{\"error\":\"does not fit\"}\n");
    assert_string_equal(ask("wrods"), "{\"error\":\"unknown command 'wrods'\"}\n");
    assert_string_equal(ask("wordss"), "{\"error\":\"unknown command 'wordss'; did you mean 'words'?\"}\n");
    assert_string_equal(ask("\x01"), "{\"error\":\"the request must be words of printable ASCII\"}\n");
    cmx_buf_init(&out, memory, 5);
    control_answer(commands, 2, NULL, (const uint8_t *)"x", 1, &out);
    assert_int_equal(cmx_buf_len(&out), 0);
}

/* ---- control server ---- */

static char dir[] = "/tmp/cmx-agent-XXXXXX";
static char path[64];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/s", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static int client(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(a.sun_path, path);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* Serves until no event is pending. Returns the number of descriptors that the server then polls. */
static size_t turn(struct control *c, uint64_t now)
{
    struct pollfd fds[CONTROL_CLIENTS_MAX + 1];
    size_t n;

    for (;;) {
        n = control_polls(c, fds);
        if (poll(fds, (nfds_t)n, 0) <= 0) {
            control_serve(c, fds, n, now);
            return control_polls(c, fds);
        }
        control_serve(c, fds, n, now);
    }
}

static void expect_end(int fd, const char *want)
{
    char got[256];
    size_t n = 0;
    ssize_t r;

    while ((r = recv(fd, got + n, sizeof got - 1 - n, 0)) > 0)
        n += (size_t)r;
    got[n] = 0;
    assert_string_equal(got, want);
    close(fd);
}

static void test_control_server(void **state)
{
    struct control *c = NULL, *second = NULL;
    struct cmx_mem_stats before, after;
    int a, b;

    (void)state;
    cmx_mem_stats(&before);
    assert_int_equal(control_open(&c, path, commands, 2, NULL, 4096), CMX_OK);
    assert_int_equal(control_open(&second, path, commands, 2, NULL, 4096), CMX_EBUSY);
    turn(c, 0); /* accepts the connection that the second control_open made to find this server */
    a = client();
    b = client();
    assert_int_equal(turn(c, 0), 3);
    assert_int_equal(send(a, "wor", 3, 0), 3);
    turn(c, 0);
    assert_int_equal(send(b, "words 1\nignored", 15, 0), 15);
    assert_int_equal(turn(c, 0), 2);
    expect_end(b, "2 words\n");
    assert_int_equal(send(a, "ds\n", 3, 0), 3);
    turn(c, 0);
    expect_end(a, "1 words\n");
    a = client();
    turn(c, 0);
    close(a); /* closes without sending a request */
    assert_int_equal(turn(c, 0), 1);
    a = client(); /* this client sends nothing */
    turn(c, 1000);
    assert_int_equal(turn(c, 1000 + CONTROL_CLIENT_MS - 1), 2);
    assert_int_equal(turn(c, 1000 + CONTROL_CLIENT_MS), 1);
    expect_end(a, "");
    control_close(c);
    assert_int_equal(access(path, F_OK), -1);
    cmx_mem_stats(&after);
    assert_int_equal(after.live_blocks, before.live_blocks);
}

static void test_control_bounds(void **state)
{
    struct control *c = NULL;
    int fd[CONTROL_CLIENTS_MAX + 2];
    char line[CONTROL_LINE_MAX];

    (void)state;
    assert_int_equal(control_open(&c, path, commands, 2, NULL, 4096), CMX_OK);
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX + 2; i++) {
        fd[i] = client();
        turn(c, 0);
    }
    assert_int_equal(turn(c, 0), CONTROL_CLIENTS_MAX); /* two clients wait: the listener is not polled */
    memset(line, 'a', sizeof line);
    assert_int_equal(send(fd[0], line, sizeof line, 0), sizeof line);
    turn(c, 0);
    expect_end(fd[0], "{\"error\":\"the request is too long\"}\n");
    assert_int_equal(turn(c, 0), CONTROL_CLIENTS_MAX);
    for (size_t i = 1; i < CONTROL_CLIENTS_MAX + 2; i++)
        close(fd[i]);
    assert_int_equal(turn(c, 0), 1);
    /* If there is no memory for an answer, the server disconnects the client and continues. */
    fd[0] = client();
    turn(c, 0);
    assert_int_equal(send(fd[0], "words\n", 6, 0), 6);
    cmx_mem_fail_at(1);
    turn(c, 0);
    cmx_mem_fail_at(0);
    expect_end(fd[0], "");
    control_close(c);
}

/* While no descriptor is free, the server still answers the client that is connected. A second client waits, and poll
 * does not report it again and again. */
static void test_control_without_descriptors(void **state)
{
    struct control *c = NULL;
    struct rlimit was, now;
    int a, b;

    (void)state;
    assert_int_equal(control_open(&c, path, commands, 2, NULL, 4096), CMX_OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    a = client();
    b = client();
    now = (struct rlimit){.rlim_cur = (rlim_t)b + 1, .rlim_max = was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    assert_int_equal(turn(c, 0), 1); /* only the first client */
    assert_false(control_rests(c));
    assert_int_equal(send(a, "words 1\n", 8, 0), 8);
    turn(c, 0);
    assert_int_equal(send(b, "words\n", 6, 0), 6);
    turn(c, 0);
    assert_true(control_rests(c));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    expect_end(a, "2 words\n");
    expect_end(b, "1 words\n");
    control_close(c);
}

static bool tells_of_removal(struct control *c)
{
    struct pollfd p = {.fd = control_watch(c), .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

static void test_control_removed(void **state)
{
    struct control *c = NULL;
    char other[sizeof path + 2];
    int fd;

    (void)state;
    assert_int_equal(control_open(&c, path, commands, 2, NULL, 4096), CMX_OK);
    assert_false(tells_of_removal(c));
    snprintf(other, sizeof other, "%s2", path);
    fd = open(other, O_CREAT | O_WRONLY, 0600); /* a new file beside the socket causes no event */
    assert_true(fd >= 0);
    close(fd);
    assert_false(tells_of_removal(c));
    assert_int_equal(unlink(other), 0); /* the removal of the other file causes an event, too */
    assert_true(tells_of_removal(c));
    turn(c, 0);
    assert_false(tells_of_removal(c));
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(unlink(path), 0);
    assert_true(tells_of_removal(c));
    turn(c, 0);
    assert_false(tells_of_removal(c));
    fd = client(); /* the new socket answers */
    assert_int_equal(send(fd, "words\n", 6, 0), 6);
    turn(c, 0);
    expect_end(fd, "1 words\n");
    control_close(c);
}

static void test_control_places(void **state)
{
    struct control *c = NULL;
    char longest[200], folder[sizeof path + 2], inside[sizeof path + 4];
    FILE *f;

    (void)state;
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(control_open(&c, longest, commands, 2, NULL, 64), CMX_ENOSPC);
    cmx_mem_fail_at(1);
    assert_int_equal(control_open(&c, path, commands, 2, NULL, 64), CMX_ENOMEM);
    cmx_mem_fail_at(0);
    f = fopen(path, "w"); /* a file that is not a socket is not replaced */
    fclose(f);
    assert_int_equal(control_open(&c, path, commands, 2, NULL, 64), CMX_OK);
    turn(c, 0);
    control_close(c);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);

    /* The socket is created once its folder exists; from then on its removal causes an event. */
    snprintf(folder, sizeof folder, "%s.d", path);
    snprintf(inside, sizeof inside, "%s/s", folder);
    assert_int_equal(control_open(&c, inside, commands, 2, NULL, 64), CMX_OK);
    turn(c, 0);
    assert_int_equal(mkdir(folder, 0700), 0);
    turn(c, 0);
    assert_int_equal(unlink(inside), 0);
    assert_true(tells_of_removal(c));
    turn(c, 0);
    control_close(c);
    assert_int_equal(rmdir(folder), 0); /* the socket was removed */
}

/* A socket that another process uses is never removed, even if this process has no free descriptor for the check, or
 * if the socket is of another type. */
static void test_control_socket_in_use(void **state)
{
    struct control *c = NULL, *second = NULL;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct rlimit was, none;
    int fd;

    (void)state;
    assert_int_equal(control_open(&c, path, commands, 2, NULL, 4096), CMX_OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(control_open(&second, path, commands, 2, NULL, 4096), CMX_OK);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    turn(second, 0); /* tries again to open the socket */
    control_close(second);
    assert_int_equal(access(path, F_OK), 0);
    control_close(c);
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(control_open(&second, path, commands, 2, NULL, 4096), CMX_EBUSY);
    close(fd);
    unlink(path);
}

/* ---- liveness ---- */

static atomic_bool end_task;

static void live_once(void *arg)
{
    (void)arg;
    liveness_feed(1000);
    while (!end_task)
        cmx_port_sleep_ms(5);
}

static void wait_tasks(unsigned n)
{
    for (int i = 0; i < 2000 && liveness_tasks() != n; i++)
        cmx_port_sleep_ms(5);
    assert_int_equal(liveness_tasks(), n);
}

static void test_liveness(void **state)
{
    (void)state;
    assert_true(liveness_ok(500, 100, 0));
    assert_true(liveness_ok(500, 100, 1)); /* the task may still be starting */
    assert_true(liveness_ok(600, 100, 1));
    assert_false(liveness_ok(601, 100, 1)); /* the task never started */
    assert_int_equal(cmx_port_task_start("live", 0, live_once, NULL), CMX_OK);
    wait_tasks(1);
    assert_true(liveness_ok(1000, 100, 1));
    assert_true(liveness_ok(1100, 100, 1));
    assert_false(liveness_ok(1101, 100, 1)); /* the task is stuck */
    assert_true(liveness_ok(900, 100, 1));
    end_task = true;
    wait_tasks(0);
    assert_true(liveness_ok(1101, 100, 0)); /* a task that ended is not stuck */
    assert_true(liveness_ok(2000, 100, 1));
    assert_false(liveness_ok(2101, 100, 1)); /* none of the expected tasks is running */
}

/* ---- systemd ---- */

static void test_notify(void **state)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct cmx_notify n;
    char got[600], big[600], pid[16];
    ssize_t len;

    (void)state;
    unsetenv("NOTIFY_SOCKET");
    setenv("WATCHDOG_USEC", "2000000", 1);
    cmx_notify_open(&n);
    assert_int_equal(n.fd, -1);
    assert_int_equal(n.watchdog_ms, 0);
    cmx_notify_send(&n, "READY=1"); /* without NOTIFY_SOCKET it does nothing */
    strcpy(a.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    setenv("NOTIFY_SOCKET", path, 1);
    setenv("WATCHDOG_USEC", "2000000", 1);
    snprintf(pid, sizeof pid, "%d", getpid());
    setenv("WATCHDOG_PID", pid, 1);
    cmx_notify_open(&n);
    assert_int_equal(n.watchdog_ms, 2000);
    assert_null(getenv("NOTIFY_SOCKET"));
    cmx_notify_send(&n, "READY=1\nSTATUS=%s", "well");
    len = recv(fd, got, sizeof got, 0);
    assert_int_equal(len, 19);
    assert_memory_equal(got, "READY=1\nSTATUS=well", 19);
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = 0;
    cmx_notify_send(&n, "STATUS=%s", big);
    assert_int_equal(recv(fd, got, sizeof got, 0), 511);
    cmx_notify_close(&n);
    setenv("NOTIFY_SOCKET", path, 1);
    setenv("WATCHDOG_USEC", "2000000", 1);
    setenv("WATCHDOG_PID", "1", 1); /* the watchdog belongs to another process */
    cmx_notify_open(&n);
    assert_int_equal(n.watchdog_ms, 0);
    cmx_notify_close(&n);
    setenv("NOTIFY_SOCKET", "relative", 1);
    cmx_notify_open(&n);
    assert_int_equal(n.fd, -1);
    close(fd);
    unlink(path);
}

static void test_journal_stream(void **state)
{
    struct stat st;
    char stream[64];

    (void)state;
    unsetenv("JOURNAL_STREAM");
    assert_false(cmx_notify_stderr_is_journal());
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    assert_true(cmx_notify_stderr_is_journal());
    setenv("JOURNAL_STREAM", "1:1", 1);
    assert_false(cmx_notify_stderr_is_journal());
    unsetenv("JOURNAL_STREAM");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_stuck),
        cmocka_unit_test(test_json),
        cmocka_unit_test(the_table_names_the_gateway_in_use_of_several),
        cmocka_unit_test(test_status_fits),
        cmocka_unit_test(test_line_and_settled),
        cmocka_unit_test(test_control_parse),
        cmocka_unit_test(test_control_answer),
        cmocka_unit_test(test_control_server),
        cmocka_unit_test(test_control_bounds),
        cmocka_unit_test(test_control_without_descriptors),
        cmocka_unit_test(test_control_removed),
        cmocka_unit_test(test_control_places),
        cmocka_unit_test(test_control_socket_in_use),
        cmocka_unit_test(test_liveness),
        cmocka_unit_test(test_notify),
        cmocka_unit_test(test_journal_stream),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
