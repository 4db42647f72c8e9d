/* limits.h - the sizes of the proxy's buffers; everything that bounds its memory. A build may set any of them (Kconfig
 * on ESP32); the defaults below suit a Linux host, those under CMX_DEVICE_PROFILE a microcontroller.
 *
 * What one relay can cost: of ours, a struct (under 400 bytes), what the gateway would not take yet (at most a chunk)
 * and what the local side would not take (at most the channel window); of libssh's, one channel window again. libssh's
 * window is its own: 1.28 MB in 0.10, 2 MB in 0.11, 8,000 bytes in LibSSH-ESP32. */
#ifndef CMX_PROXY_LIMITS_H
#define CMX_PROXY_LIMITS_H

#if defined(ESP_PLATFORM) && !defined(CMX_DEVICE_PROFILE)
#define CMX_DEVICE_PROFILE /* Arduino gives a library no compiler flags */
#endif

/* Bytes that move from a local socket into one SSH packet at a time. high_bw contexts use the larger one: fewer, larger
 * packets cost less CPU a byte (a third on a host), and each session then holds one such buffer. On a device both leave
 * room for a packet's other fields, since libssh's buffers grow to powers of two: with these to 1 and 2 KB. */
#ifndef CMX_RELAY_CHUNK
#ifdef CMX_DEVICE_PROFILE
#define CMX_RELAY_CHUNK 896
#else
#define CMX_RELAY_CHUNK 16384
#endif
#endif

#ifndef CMX_RELAY_CHUNK_HIGH
#ifdef CMX_DEVICE_PROFILE
#define CMX_RELAY_CHUNK_HIGH 1920
#else
#define CMX_RELAY_CHUNK_HIGH 65536
#endif
#endif

/* A session without connections keeps that buffer for the next one: where memory may be in pieces by then. */
#ifndef CMX_RELAY_CHUNK_KEPT
#ifdef CMX_DEVICE_PROFILE
#define CMX_RELAY_CHUNK_KEPT true
#else
#define CMX_RELAY_CHUNK_KEPT false
#endif
#endif

/* Bytes taken out of libssh at once when a local socket that was full takes some again; see flow.c. */
#ifndef CMX_RELAY_SPILL
#ifdef ESP_PLATFORM
#define CMX_RELAY_SPILL 1024u
#else
#define CMX_RELAY_SPILL CMX_RELAY_BACKLOG_MAX
#endif
#endif

/* A read of libssh's that brought less than this has emptied the socket: 4,096 is what it asks for (MAX_BUF_SIZE). A
 * device's build may have it ask for less, since its buffer grows to twice that; more it may not. */
#ifndef CMX_SSH_READ
#ifdef CMX_DEVICE_PROFILE
#define CMX_SSH_READ 512
#else
#define CMX_SSH_READ 4096
#endif
#endif

/* A gateway that sends more than its windows allow breaks RFC 4254 section 5.2; older libssh only logs it. Above this
 * many undelivered bytes on one channel the session is ended. */
#ifndef CMX_RELAY_BACKLOG_MAX
#define CMX_RELAY_BACKLOG_MAX (4u << 20)
#endif

/* libssh answers each request of the gateway, and keeps the answers (some 50 bytes each) until they are taken. A gateway
 * that leaves more than this many of them unread ends the session. */
#ifndef CMX_UNREAD_ANSWERS_MAX
#ifdef CMX_DEVICE_PROFILE
#define CMX_UNREAD_ANSWERS_MAX 256
#else
#define CMX_UNREAD_ANSWERS_MAX 4096
#endif
#endif

/* libssh verifies an Ed25519 host key with tables of 8 KB on the stack: 12.7 KB at the deepest on an ESP32-C3, where
 * ECDSA P-256 takes 9.8. A session whose stack is smaller than this asks for the gateway's other keys first; where none
 * of them is pinned it moves to a task with this much. */
#ifdef CMX_DEVICE_PROFILE
#define CMX_ED25519_STACK 13824
#else
#define CMX_ED25519_STACK 0
#endif

/* A relay that waits for the peer to answer its channel close has no buffers left; there can be as many of them as open
 * ones. A gateway does not answer before its client has taken what is on the way, and a client may never do so: the
 * session is ended for that only when their places are asked for, and one of them waits for longer than this. */
#ifndef CMX_RELAY_CLOSE_TIMEOUT_MS
#define CMX_RELAY_CLOSE_TIMEOUT_MS 60000
#endif

/* Local services answer a connection within this, unless the context says otherwise. */
#define CMX_RELAY_CONNECT_TIMEOUT_S 10

/* Longest sleep of a session task: the time it takes to notice a request to stop or to change. */
#define CMX_SESSION_TICK_MS 500

/* A probe's token must have come back within this. */
#define CMX_PROBE_TIMEOUT_MS 10000
#define CMX_PROBE_TOKEN_LEN 32

#endif
