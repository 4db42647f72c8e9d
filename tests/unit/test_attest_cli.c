/* What the operator's command reads from others: HTTP answers, and the session identifier out of an agent's requests.
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

#include "cmxsafe/core/buf.h"
#include "cmxsafe/proxy/ssh_id.h"
#include "http_get.h"
#include "update_http.h"

static cmx_err parse(const char *text, struct http_answer *a)
{
    return http_parse_answer((const uint8_t *)text, strlen(text), a);
}

static void test_answers(void **state)
{
    struct http_answer a;

    (void)state;
    assert_int_equal(
        parse("HTTP/1.1 200 OK\r\nContent-Type: Text/Plain; charset=x\r\ncontent-length:  3\r\n\r\nabcdef", &a),
        CMX_OK);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.type, "text/plain");
    assert_int_equal(a.len, 3);
    assert_memory_equal(a.body, "abc", 3);
    assert_int_equal(parse("HTTP/1.0 503 busy\nRetry-After: 7\n\nlater", &a), CMX_OK);
    assert_int_equal(a.retry, 7);
    assert_int_equal(a.len, 5); /* up to the connection's end */
    assert_int_equal(parse("HTTP/1.1 204 \r\n\r\n", &a), CMX_OK);
    assert_int_equal(a.len, 0);
}

static void test_broken_answers(void **state)
{
    static const char *const broken[] = {
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 99 x\r\n\r\n",
        "HTTP/1.1 600 x\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    };
    struct http_answer a;

    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_int_equal(parse(broken[i], &a), CMX_EPROTO);
    assert_int_equal(parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcd", &a), CMX_ETRUNC);
}

static void test_urls(void **state)
{
    static const char *const bad[] = {
        "",         "https://x/",         "http://",        "http:///x",      "http://x:0/",
        "x",        "http://x:65536/",    "http://[::1/",   "http://x y/",    "http://x:1a/",
        "ftp://x/", "http://x/a\r\nb: c", "http://[::1]x/", "http://x?query", "http://:80/"};
    struct http_answer a;
    char why[128];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(http_get(bad[i], NULL, 100, &a, why, sizeof why), CMX_EINVAL);
    /* Port 1 of loopback: nobody listens. */
    assert_int_equal(http_get("http://127.0.0.1:1/x", NULL, 2000, &a, why, sizeof why), CMX_EREFUSED);
    assert_null(a.mem);
}

/* SSH_AGENTC_REQUEST_IDENTITIES, then SSH_AGENTC_SIGN_REQUEST of a text that begins with an identifier of id_len bytes.
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
    assert_int_equal(cmx_ssh_id_parse(mem, len - 4, id), 32); /* flags are not looked at */
    for (size_t cut = 0; cut < len - 4; cut++)
        assert_int_equal(cmx_ssh_id_parse(mem, cut, id), 0);
    mem[4] = 12;
    assert_int_equal(cmx_ssh_id_parse(mem, len, id), 0);
    assert_int_equal(cmx_ssh_id_parse(mem, requests(mem, sizeof mem, 64), id), 64);
    assert_int_equal(cmx_ssh_id_parse(mem, requests(mem, sizeof mem, 65), id), 0);
    assert_int_equal(cmx_ssh_id_parse(mem, requests(mem, sizeof mem, 0), id), 0);
}

/* ---- a device that means ill ---- */

struct hostile {
    int listener;
    const char *head;  /* what it answers first */
    const char *again; /* and then, without an end; NULL: closes */
    unsigned pause_us; /* before each */
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
    if (!h->again) { /* so that what is still coming makes no reset of it */
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

/* A byte now and then is no silence; 64 KB of them would keep an operator for hours. */
static void test_dripping_answer(void **state)
{
    struct hostile h = {.head = "HTTP/1.1 200 OK\r\n", .again = "X", .pause_us = 20000};
    struct http_answer a;
    char why[128];

    (void)state;
    start_hostile(&h);
    assert_int_equal(http_get(h.url, NULL, 250, &a, why, sizeof why), CMX_ETIMEOUT);
    end_hostile(&h);
}

static void test_endless_answer(void **state)
{
    struct hostile h = {.head = "HTTP/1.1 200 OK\r\n\r\n",
                        .again =
                            "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"};
    struct http_answer a;
    char why[128];

    (void)state;
    start_hostile(&h);
    assert_int_equal(http_get(h.url, NULL, 20000, &a, why, sizeof why), CMX_ENOSPC);
    end_hostile(&h);
}

static bool go_on(void *arg, uint64_t sent)
{
    (void)arg;
    (void)sent;
    return true;
}

static cmx_err send_to(struct hostile *h, char *answer, size_t cap)
{
    char path[] = "/tmp/cmx-test-XXXXXX";
    int fd = mkstemp(path);
    cmx_err err;

    assert_true(fd >= 0 && write(fd, "firmware", 8) == 8);
    close(fd);
    start_hostile(h);
    err = update_send(h->url, path, 8, 0, 0, go_on, NULL, answer, cap);
    end_hostile(h);
    unlink(path);
    return err;
}

/* An answer to an upload that does not end would hold a rollout's place for ever. */
static void test_endless_answer_to_an_upload(void **state)
{
    struct hostile h = {.head = "HTTP/1.1 200 OK\r\n\r\n",
                        .again =
                            "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"};
    char answer[256];

    (void)state;
    assert_int_equal(send_to(&h, answer, sizeof answer), CMX_ECLOSED);
}

/* A refusal goes to a terminal: nothing in it may move the cursor or change the title. */
static void test_refusal_is_printable(void **state)
{
    struct hostile h = {.head = "HTTP/1.1 422 No\r\nContent-Length: 30\r\nConnection: close\r\n\r\n"
                                "error: \x1b[2J\x9b"
                                "1m\x07 TRUSTED\x7f\xc3\xa9\r\nmore"};
    char answer[256];

    (void)state;
    assert_int_equal(send_to(&h, answer, sizeof answer), CMX_EPERM);
    assert_string_equal(answer, "error: ?[2J?1m? TRUSTED???");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_broken_answers),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_session_identifier),
        cmocka_unit_test(test_dripping_answer),
        cmocka_unit_test(test_endless_answer),
        cmocka_unit_test(test_endless_answer_to_an_upload),
        cmocka_unit_test(test_refusal_is_printable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
