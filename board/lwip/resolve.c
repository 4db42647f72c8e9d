#include "board/lwip/resolve.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cmxsafe/port/crypto.h"

#define MESSAGE_MAX 1232 /* the size that EDNS clients commonly announce; the server truncates longer answers */
#define TRIES 3
#define WAIT_S 2

/* Sends the query in message and overwrites message with the answer. Returns the answer's length; 0: no answer
 * arrived. */
static int exchange(int fd, uint8_t *message, int len)
{
    uint8_t query[MESSAGE_MAX];

    memcpy(query, message, (size_t)len);
    for (int i = 0; i < TRIES; i++) {
        ssize_t n = send(fd, query, (size_t)len, 0);

        while (n >= 0 && (n = recv(fd, message, MESSAGE_MAX, 0)) >= 0)
            if (n >= 12 && memcmp(message, query, 2) == 0)
                return (int)n; /* the socket is connected, so it receives only from the server */
    }
    return 0;
}

size_t board_resolve_parse(const uint8_t *message, int len, bool v6, struct cmx_ip *out, size_t cap)
{
    const ns_type type = v6 ? ns_t_aaaa : ns_t_a;
    size_t n = 0;
    ns_msg m;

    if (ns_initparse(message, len, &m) != 0)
        return 0;
    for (int i = 0; i < ns_msg_count(m, ns_s_an) && n < cap; i++) {
        ns_rr rr;

        if (ns_parserr(&m, ns_s_an, i, &rr) != 0 || ns_rr_type(rr) != type || ns_rr_class(rr) != ns_c_in)
            continue;
        if (v6 && ns_rr_rdlen(rr) == CMX_IPV6_LEN)
            cmx_ip_v6(&out[n++], ns_rr_rdata(rr));
        if (!v6 && ns_rr_rdlen(rr) == 4)
            cmx_ip_v4(&out[n++], ns_rr_rdata(rr));
    }
    return n;
}

static size_t ask(int fd, const char *name, bool v6, struct cmx_ip *out, size_t cap)
{
    uint8_t message[MESSAGE_MAX];
    struct __res_state state;
    int len;

    memset(&state, 0, sizeof state);
    state.options = RES_INIT | RES_RECURSE;
    len = res_nmkquery(&state, ns_o_query, name, ns_c_in, v6 ? ns_t_aaaa : ns_t_a, NULL, 0, NULL, message,
                       sizeof message);
    if (len < 12 || cmx_crypto_random(message, 2) != CMX_OK)
        return 0;
    len = exchange(fd, message, len);
    return len ? board_resolve_parse(message, len, v6, out, cap) : 0;
}

size_t board_resolve(const char *server, const char *name, struct cmx_ip *out, size_t cap)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
    const struct timeval patience = {.tv_sec = WAIT_S};
    size_t n = 0;
    int fd;

    if (inet_pton(AF_INET, server, &to.sin_addr) != 1)
        return 0;
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0)
        return 0;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
        connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
        n = ask(fd, name, true, out, cap);
        n += ask(fd, name, false, out + n, cap - n);
    }
    close(fd);
    return n;
}
