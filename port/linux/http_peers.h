/* http_peers.h - the open connections of one HTTP server (http_mhd.c), and the moments at which they must have got on:
 * a byte now and then is no idle connection for the library, and would hold a place for ever. The caller holds a lock.
 */
#ifndef CMX_HTTP_PEERS_H
#define CMX_HTTP_PEERS_H

#include <stdint.h>

/* deadline_ms is 0 while a route has the connection. */
struct http_peer {
    struct http_peer *next;
    int fd;
    uint64_t deadline_ms;
};

struct http_peers {
    struct http_peer *list;
    uint64_t idle_ms;
};

/* fd is borrowed until http_peer_free; the first deadline is an idle timeout away. NULL: no memory, and no deadlines.
 */
struct http_peer *http_peer_new(struct http_peers *s, int fd);

/* n idle timeouts from now; 0: none. p may be NULL. */
void http_peer_set(const struct http_peers *s, struct http_peer *p, unsigned n);

/* Shuts down those whose time is over: who reads from them sees the end. */
void http_peers_sweep(const struct http_peers *s);

/* NULL is fine. */
void http_peer_free(struct http_peers *s, struct http_peer *p);

#endif
