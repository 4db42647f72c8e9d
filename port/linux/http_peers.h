/* http_peers.h - the open connections of one HTTP server (http_mhd.c) and their deadlines. libmicrohttpd's own timeout
 * ends only connections without any traffic: a client that sends or reads a byte now and then would occupy a connection
 * for ever. Any thread. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define HTTP_PEER_GRACE_MS 200 /* a connection that waits this long for a request may be closed to make room */
#define HTTP_PEER_AGE_MAX 10   /* a connection older than this many idle timeouts serves no new request */

struct http_peer {
    struct http_peer *next;
    int fd;
    bool ended; /* the connection is shut down; the library closes it */
    uint64_t opened_ms;
    uint64_t head_ms;     /* when the connection began to wait for a request's head; 0: it is not waiting */
    uint64_t deadline_ms; /* 0: no deadline */
};

struct http_peers {
    pthread_mutex_t lock; /* protects list and the peers in it */
    struct http_peer *list;
    uint64_t idle_ms;
};

void http_peers_init(struct http_peers *s, uint64_t idle_ms);
void http_peers_destroy(struct http_peers *s); /* call it when the list is empty */

/* fd is borrowed until http_peer_free. The connection awaits its first head. NULL: no memory; the connection then has
 * no deadlines. */
struct http_peer *http_peer_new(struct http_peers *s, int fd);

/* Call when the connection begins to await the head of a request. The head must arrive within one idle timeout. p may
 * be NULL, here and below. */
void http_peer_head(struct http_peers *s, struct http_peer *p);

/* Call when the head is complete, and before each further step. The step may take n idle timeouts; n 0: no deadline. */
void http_peer_set(struct http_peers *s, struct http_peer *p, unsigned n);

/* True if the connection is so old that it should close after the current answer (HTTP_PEER_AGE_MAX). */
bool http_peer_old(const struct http_peers *s, const struct http_peer *p);

/* Shuts down the connections whose deadline has passed. */
void http_peers_sweep(struct http_peers *s);

/* Makes room for another connection: shuts down the one that has awaited a head for longest, if it has waited longer
 * than HTTP_PEER_GRACE_MS. Does nothing while a connection that was shut down earlier is still being closed. */
void http_peers_evict(struct http_peers *s);

void http_peer_free(struct http_peers *s, struct http_peer *p);
