/* proxy_limits.h - the sizes of the proxy's buffers and its time limits. A build may set those in #ifndef
 * (Kconfig on ESP32). The defaults suit a Linux host, those under CMX_DEVICE_PROFILE a microcontroller.
 *
 * One relay costs at most: in our heap, its struct (under 400 bytes), one chunk that the gateway does not take yet and
 * one channel window that the local side does not take yet; in libssh, one channel window. libssh chooses the window:
 * 1.28 MB in 0.10, 2 MB in 0.11, 8,000 bytes in LibSSH-ESP32. */
#pragma once

#if defined(ESP_PLATFORM) && !defined(CMX_DEVICE_PROFILE)
#define CMX_DEVICE_PROFILE /* Arduino gives a library no compiler flags */
#endif

/* Bytes that move from a local socket into one SSH packet at a time. high_bw contexts use the larger size: fewer,
 * larger packets cost less CPU time per byte (a third less on a host), and the session then holds one such buffer. On a
 * device both sizes leave room for the packet's other fields, so that libssh's buffers, which grow to powers of two,
 * stay at 1 and 2 KB. */
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

/* A session reads a local socket until the socket is empty or this many bytes have moved, then serves its other
 * sockets. Several chunks in a row save calls of poll. */
#ifndef CMX_RELAY_BURST
#ifdef CMX_DEVICE_PROFILE
#define CMX_RELAY_BURST 4096
#else
#define CMX_RELAY_BURST 65536
#endif
#endif

/* true: a session keeps its buffer of CMX_RELAY_CHUNK or CMX_RELAY_CHUNK_HIGH bytes while it has no connections,
 * because the heap may be too fragmented to allocate the buffer again. */
#ifndef CMX_RELAY_CHUNK_KEPT
#ifdef CMX_DEVICE_PROFILE
#define CMX_RELAY_CHUNK_KEPT true
#else
#define CMX_RELAY_CHUNK_KEPT false
#endif
#endif

/* Bytes read from libssh at once when a local socket that was full accepts data again; see relay_flow.c. */
#ifndef CMX_RELAY_SPILL
#ifdef ESP_PLATFORM
#define CMX_RELAY_SPILL 1024u
#else
#define CMX_RELAY_SPILL CMX_RELAY_BACKLOG_MAX
#endif
#endif

/* libssh reads at most MAX_BUF_SIZE bytes at a time, so a shorter read means that the socket is drained. MAX_BUF_SIZE
 * is 4,096 unless the build sets it; cmake/libssh_esp32 sets 512, which keeps libssh's buffer small. */
#ifndef CMX_SSH_READ
#ifdef CMX_DEVICE_PROFILE
#define CMX_SSH_READ 512
#else
#define CMX_SSH_READ 4096
#endif
#endif

/* A gateway that sends more than its window allows violates RFC 4254 section 5.2; older libssh only logs it. More than
 * this many undelivered bytes on one channel end the session. */
#ifndef CMX_RELAY_BACKLOG_MAX
#define CMX_RELAY_BACKLOG_MAX (4u << 20)
#endif

/* libssh answers each request of the gateway and keeps the answers, some 50 bytes each, until the gateway reads them.
 * More than this many unread answers end the session. */
#ifndef CMX_UNREAD_ANSWERS_MAX
#ifdef CMX_DEVICE_PROFILE
#define CMX_UNREAD_ANSWERS_MAX 256
#else
#define CMX_UNREAD_ANSWERS_MAX 4096
#endif
#endif

/* libssh verifies an Ed25519 host key with tables of 8 KB on the stack: 12.7 KB at the deepest point on an
 * ESP32-C3, 13.2 KB on an ESP32-S3. A session with an ECDSA key uses 5.5 KB (ESP32-S3). A session with a smaller stack
 * than this requests the gateway's other keys first. If none of them is pinned it continues in a task with a stack of
 * this size. */
#ifdef CMX_DEVICE_PROFILE
#define CMX_ED25519_STACK 14848
#else
#define CMX_ED25519_STACK 0
#endif

/* Relays that wait for the gateway's CLOSE no longer count as connections but still use memory; a context has at most
 * twice max_connections relays, waiting ones included. A gateway sends its CLOSE only after its client has taken all
 * bytes, which a client may never do. The session is ended only if a new connection needs the place and a relay has
 * waited for longer than this. */
#ifndef CMX_RELAY_CLOSE_TIMEOUT_MS
#define CMX_RELAY_CLOSE_TIMEOUT_MS 60000
#endif

/* A new connection is refused while less heap than this is free. Without memory libssh drops packets silently, and the
 * connections that exist would hang. On hosts the free heap is unknown, so no connection is refused. */
#ifndef CMX_RELAY_HEAP_FLOOR
#define CMX_RELAY_HEAP_FLOOR 16384
#endif

/* While an update is received and less heap than this is free, connections of high_bw contexts are closed and refused,
 * so that the update has enough memory. */
#ifndef CMX_RELAY_HEAP_UPDATE
#define CMX_RELAY_HEAP_UPDATE 32768
#endif

/* After this long without a byte, a relay is logged as stalled. */
#define CMX_RELAY_STALL_MS 5000

/* After this long without a byte, a connection costs no time until the next byte (relay_rest.h). 0: connections never
 * rest; a device has few of them. */
#ifndef CMX_RELAY_REST_MS
#ifdef CMX_DEVICE_PROFILE
#define CMX_RELAY_REST_MS 0
#else
#define CMX_RELAY_REST_MS CMX_RELAY_STALL_MS
#endif
#endif

/* Longest sleep of a session's task, and so the longest time until the task notices a request to stop or to change. */
#define CMX_SESSION_TICK_MS 500

/* A session's task that has not called cmx_session_alive for this long is stuck. */
#ifndef CMX_SESSION_STUCK_MS
#define CMX_SESSION_STUCK_MS 10000
#endif

/* A session that has lived for this long is a success: the next wait before a login starts small again. Shorter ones do
 * not reset the backoff, so that a gateway which ends every session soon after the login is not hammered. */
#ifndef CMX_SESSION_PROVEN_MS
#define CMX_SESSION_PROVEN_MS 10000
#endif

/* The look-up of the gateway's name may take this long before the attempt fails. The look-up continues, and a later
 * attempt uses its result. A dead first name server alone costs 5 to 20 s. */
#ifndef CMX_LOOKUP_TIMEOUT_MS
#define CMX_LOOKUP_TIMEOUT_MS 30000
#endif

/* A context's connections share the addresses of its service for this long. */
#define CMX_LOOKUP_FRESH_MS 2000

/* Look-ups that run at once in the whole process, abandoned ones included, and the stack of each (0: the platform's
 * default). */
#ifdef CMX_DEVICE_PROFILE
#define CMX_LOOKUPS_MAX 4
#define CMX_LOOKUP_STACK 4096
#else
#define CMX_LOOKUPS_MAX 64
#define CMX_LOOKUP_STACK 0
#endif

/* A probe fails if its token does not come back within this time. */
#define CMX_PROBE_TIMEOUT_MS 10000
#define CMX_PROBE_TOKEN_LEN 32
