/* The operator's command reads untrusted input: HTTP answers from devices, and ssh's requests to the agent, which
 * contain the session identifier.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/common/http_client.h"
#include "cli/update_http.h"
#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/proxy/ssh_id.h"

static cmx_err get(const char *base, unsigned timeout_ms, struct http_answer *a)
{
    const struct http_request q = {.base = base, .target = "/x", .silence_ms = timeout_ms, .total_ms = 4 * timeout_ms};
    struct cmx_why why = {""};
    cmx_err err = http_exchange(&q, a, &why);

    if (err)
        assert_string_not_equal(why.text, "");
    return err;
}

static void test_urls(void **state)
{
    static const char *const bad[] = {"",
                                      "x",
                                      "http://",
                                      "https://127.0.0.1/",
                                      "ftp://127.0.0.1/",
                                      "file:///etc/passwd",
                                      "http://127.0.0.1:65536",
                                      "http://127.0.0.1:1a",
                                      "http://[::1",
                                      "http://127.0.0.1/a\r\nHost: b"};
    struct http_answer a;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(get(bad[i], 100, &a), CMX_EINVAL);
    /* Nothing listens on port 1 of the loopback. */
    assert_int_equal(get("http://127.0.0.1:1", 2000, &a), CMX_EREFUSED);
    assert_null(a.body);
}

/* Writes SSH_AGENTC_REQUEST_IDENTITIES, then an SSH_AGENTC_SIGN_REQUEST whose data begin with a session identifier of
 * id_len bytes. Returns the length.
 */
static size_t requests(uint8_t *mem, size_t cap, uint32_t id_len)
{
    uint8_t id[128];
    struct cmx_buf b;
    uint32_t text = 4 + id_len + 1;

    memset(id, 0x5a, sizeof id);
    cmx_buf_init(&b, mem, cap);
    assert_int_equal(cmx_buf_put_be32(&b, 1), CMX_OK);
    assert_int_equal(cmx_buf_put_u8(&b, 11), CMX_OK);
    assert_int_equal(cmx_buf_put_be32(&b, 1 + 4 + 4 + 4 + text + 4), CMX_OK);
    assert_int_equal(cmx_buf_put_u8(&b, 13), CMX_OK);
    assert_int_equal(cmx_buf_put_be32(&b, 4), CMX_OK);
    assert_int_equal(cmx_buf_put(&b, "blob", 4), CMX_OK);
    assert_int_equal(cmx_buf_put_be32(&b, text), CMX_OK);
    assert_int_equal(cmx_buf_put_be32(&b, id_len), CMX_OK);
    assert_int_equal(cmx_buf_put(&b, id, id_len), CMX_OK);
    assert_int_equal(cmx_buf_put_u8(&b, 50), CMX_OK);
    assert_int_equal(cmx_buf_put_be32(&b, 0), CMX_OK);
    return cmx_buf_len(&b);
}

static void test_session_identifier(void **state)
{
    uint8_t mem[256], id[CMX_PROXY_SESSION_ID_MAX];
    size_t len = requests(mem, sizeof mem, 32);

    (void)state;
    assert_int_equal(cmx_ssh_id_parse(mem, len, id), 32);
    assert_int_equal(id[31], 0x5a);
    assert_int_equal(cmx_ssh_id_parse(mem, len - 4, id), 32); /* the flags at the end are optional */
    for (size_t cut = 0; cut < len - 4; cut++)
        assert_int_equal(cmx_ssh_id_parse(mem, cut, id), 0);
    mem[4] = 12;
    assert_int_equal(cmx_ssh_id_parse(mem, len, id), 0);
    assert_int_equal(cmx_ssh_id_parse(mem, requests(mem, sizeof mem, 64), id), 64);
    assert_int_equal(cmx_ssh_id_parse(mem, requests(mem, sizeof mem, 65), id), 0);
    assert_int_equal(cmx_ssh_id_parse(mem, requests(mem, sizeof mem, 0), id), 0);
}

/* ---- a hostile device ---- */

struct hostile {
    int listener;
    const char *head;  /* text that is sent first */
    const char *again; /* text that is then sent repeatedly; NULL: the server closes */
    unsigned pause_us; /* pause before each repetition */
    char url[64];
    pthread_t thread;
};

static void *answer_ill(void *arg)
{
    struct hostile *h = arg;
    char request[4096];
    int fd = accept(h->listener, NULL, NULL);

    if (fd < 0)
        return NULL;
    (void)!recv(fd, request, sizeof request, 0);
    (void)!send(fd, h->head, strlen(h->head), MSG_NOSIGNAL);
    while (h->again && send(fd, h->again, strlen(h->again), MSG_NOSIGNAL) > 0)
        usleep(h->pause_us);
    if (!h->again) { /* closing with unread bytes would reset the connection */
        shutdown(fd, SHUT_WR);
        while (recv(fd, request, sizeof request, 0) > 0)
            ;
    }
    close(fd);
    return NULL;
}

static void start_hostile(struct hostile *h)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;

    h->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(h->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(h->listener, 1), 0);
    assert_int_equal(getsockname(h->listener, (struct sockaddr *)&a, &len), 0);
    snprintf(h->url, sizeof h->url, "http://127.0.0.1:%u", (unsigned)ntohs(a.sin_port));
    assert_int_equal(pthread_create(&h->thread, NULL, answer_ill, h), 0);
}

static void end_hostile(struct hostile *h)
{
    pthread_join(h->thread, NULL);
    close(h->listener);
}

static void test_answers(void **state)
{
    static const struct {
        const char *text;
        cmx_err err;
        int status;
        const char *words;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=x\r\ncontent-length:  3\r\n\r\nabcdef", CMX_OK, 200,
         "abc"},
        {"HTTP/1.0 503 busy\nRetry-After: 7\n\nerror: later\nmore", CMX_OK, 503, "later"},
        {"HTTP/1.1 204 \r\n\r\n", CMX_OK, 204, "no reason given (HTTP status 204)"},
        {"HTTP/1.1 403 No\r\nContent-Length: 7\r\n\r\nerror: ", CMX_OK, 403, "no reason given (HTTP status 403)"},
        {"HTTP/1.1 401 No\r\nContent-Length: 6\r\n\r\n<html>", CMX_OK, 401, "no reason given (HTTP status 401)"},
        {"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/lo\x1bgin\r\nContent-Length: 6\r\n\r\n<html>", CMX_OK, 302,
         "it redirects to http://192.0.2.1/lo?gin with HTTP status 302, and redirects are not followed; give the URL "
         "of "
         "the service itself"},
        {"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", CMX_OK, 302, "no reason given (HTTP status 302)"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd", CMX_ETRUNC, 0, NULL},
        {"SSH-2.0-OpenSSH_9.2\r\n", CMX_EPROTO, 0, NULL},
        {"", CMX_ECLOSED, 0, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hostile h = {.head = cases[i].text};
        struct http_answer a;
        char words[320];

        start_hostile(&h);
        assert_int_equal(get(h.url, 5000, &a), cases[i].err);
        end_hostile(&h);
        assert_int_equal(a.status, cases[i].status);
        if (cases[i].words)
            assert_string_equal(http_answer_words(&a, words, sizeof words), cases[i].words);
        if (i == 0)
            assert_string_equal(a.type, "text/plain");
        if (i == 1)
            assert_int_equal(a.retry_s, 7);
        http_answer_free(&a);
    }
}

/* A server that sends only a byte now and then cannot delay the command beyond its time limit. */
static void test_dripping_answer(void **state)
{
    struct hostile h = {.head = "HTTP/1.1 200 OK\r\n", .again = "X", .pause_us = 20000};
    struct http_answer a;

    (void)state;
    start_hostile(&h);
    assert_int_equal(get(h.url, 250, &a), CMX_ETIMEOUT);
    end_hostile(&h);
}

static void test_endless_answer(void **state)
{
    struct hostile h = {.head = "HTTP/1.1 200 OK\r\n\r\n",
                        .again =
                            "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"};
    struct http_answer a;

    (void)state;
    start_hostile(&h);
    assert_int_equal(get(h.url, 20000, &a), CMX_ENOSPC);
    end_hostile(&h);
}

static bool go_on(void *arg, uint64_t sent)
{
    (void)arg;
    (void)sent;
    return true;
}

static update_result send_to(struct hostile *h, struct cmx_why *why)
{
    struct http_upload file = {.file = tmpfile(), .total = 8, .progress = go_on};
    update_result result;

    assert_true(file.file && fwrite("firmware", 1, 8, file.file) == 8);
    rewind(file.file);
    start_hostile(h);
    result = update_send(h->url, &file, why);
    end_hostile(h);
    fclose(file.file);
    return result;
}

/* An answer that never ends must not block a rollout. */
static void test_endless_answer_to_an_upload(void **state)
{
    struct hostile h = {.head = "HTTP/1.1 200 OK\r\n\r\n",
                        .again =
                            "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"};
    struct cmx_why why = {""};

    (void)state;
    assert_int_equal(send_to(&h, &why), UPDATE_AGAIN);
    assert_string_equal(why.text, "the answer is longer than 65536 bytes");
}

/* The text of a refusal is printed on a terminal: no byte of it may move the cursor or change the window's title. */
static void test_refusal_is_printable(void **state)
{
    struct hostile h = {.head = "HTTP/1.1 422 No\r\nContent-Length: 30\r\nConnection: close\r\n\r\n"
                                "error: \x1b[2J\x9b"
                                "1m\x07 TRUSTED\x7f\xc3\xa9\r\nmore"};
    struct cmx_why why = {""};

    (void)state;
    assert_int_equal(send_to(&h, &why), UPDATE_REFUSED);
    assert_string_equal(why.text, "?[2J?1m? TRUSTED???");
}

/* The command repeats only requests that can succeed later. Its message for a refusal contains the device's text. */
static void test_results_of_statuses(void **state)
{
    static const struct {
        int status;
        update_result result;
    } cases[] = {{200, UPDATE_OK},      {400, UPDATE_REFUSED}, {401, UPDATE_REFUSED}, {403, UPDATE_REFUSED},
                 {404, UPDATE_FOREIGN}, {408, UPDATE_AGAIN},   {409, UPDATE_BUSY},    {413, UPDATE_REFUSED},
                 {416, UPDATE_AGAIN},   {422, UPDATE_REFUSED}, {500, UPDATE_REFUSED}, {502, UPDATE_AGAIN},
                 {503, UPDATE_AGAIN}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char head[128];
        struct hostile h = {.head = head};
        struct cmx_why why = {""};

        snprintf(head, sizeof head, "HTTP/1.1 %d x\r\nContent-Length: 15\r\n\r\nerror: not now\n", cases[i].status);
        assert_int_equal(send_to(&h, &why), cases[i].result);
        assert_string_equal(why.text, "not now");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_session_identifier),
        cmocka_unit_test(test_dripping_answer),
        cmocka_unit_test(test_endless_answer),
        cmocka_unit_test(test_endless_answer_to_an_upload),
        cmocka_unit_test(test_refusal_is_printable),
        cmocka_unit_test(test_results_of_statuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
