/* proxy_limits.h - the sizes of the proxy's buffers and its time limits. A build can override each one that is inside
 * #ifndef (with Kconfig on ESP32). The defaults under CMX_DEVICE_PROFILE suit a microcontroller, the others a Linux
 * host.
 *
 * One relay uses at most the following memory. In our heap: its struct (under 400 bytes), one chunk that waits for the
 * gateway, and one channel window of bytes that wait for the local side. In libssh: one channel window. libssh chooses
 * the window: 1.28 MB in 0.10, 2 MB in 0.11, 8,000 bytes in LibSSH-ESP32. */
#pragma once

#if defined(ESP_PLATFORM) && !defined(CMX_DEVICE_PROFILE)
#define CMX_DEVICE_PROFILE /* on Arduino a library cannot set compiler flags */
#endif

/* Maximum number of bytes that one read moves from a local socket into one SSH packet. high_bw contexts use the larger
 * size, because fewer and larger packets cost less CPU time per byte (a third less on a host). A session with such a
 * context has one buffer of the larger size. On a device both sizes leave room for the packet's other fields: libssh's
 * buffers grow to powers of two, and thus stay at 1 and 2 KB. */
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
 * sockets. Moving several chunks in a row saves calls to poll. */
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

/* Maximum size in bytes of one read from libssh when a full local socket accepts data again; see relay_flow.c. */
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

/* The session ends if more than this many bytes of one channel wait for delivery. A gateway that sends more than its
 * window allows violates RFC 4254 section 5.2, but older versions of libssh only log that. */
#ifndef CMX_RELAY_BACKLOG_MAX
#define CMX_RELAY_BACKLOG_MAX (4u << 20)
#endif

/* libssh answers each request from the gateway and keeps the answers, some 50 bytes each, until the gateway reads them.
 * The session ends if more than this many answers are unread. */
#ifndef CMX_UNREAD_ANSWERS_MAX
#ifdef CMX_DEVICE_PROFILE
#define CMX_UNREAD_ANSWERS_MAX 256
#else
#define CMX_UNREAD_ANSWERS_MAX 4096
#endif
#endif

/* The stack that a session needs to verify an Ed25519 host key. libssh puts tables of 8 KB on the stack for this: the
 * session uses 12.7 KB on an ESP32-C3 and 13.2 KB on an ESP32-S3, but 5.5 KB for an ECDSA key (ESP32-S3). A session
 * with a smaller stack requests the gateway's host keys of other types first. If none of these is left to try, the
 * session continues in a task with a stack of this size. */
#ifdef CMX_DEVICE_PROFILE
#define CMX_ED25519_STACK 14848
#else
#define CMX_ED25519_STACK 0
#endif

/* Relays that wait for the gateway's CLOSE no longer count as connections but still use memory; a context has at most
 * twice max_connections relays, waiting ones included. A gateway sends its CLOSE only after its client has received all
 * bytes, which may never happen. The session ends only if a new connection finds no free place and a relay has waited
 * for the CLOSE for longer than this. */
#ifndef CMX_RELAY_CLOSE_TIMEOUT_MS
#define CMX_RELAY_CLOSE_TIMEOUT_MS 60000
#endif

/* A new connection is refused while less heap than this is free, because a session ends when libssh finds no memory for
 * received data. On hosts the free heap is unknown, so no connection is refused. */
#ifndef CMX_RELAY_HEAP_FLOOR
#define CMX_RELAY_HEAP_FLOOR 16384
#endif

/* A connection takes most of its memory after it has opened. While less heap than this is free, each session closes
 * its open connections of high_bw contexts, the newest first, so that the session itself does not run out of memory. */
#ifndef CMX_RELAY_HEAP_LOW
#define CMX_RELAY_HEAP_LOW 12288
#endif

/* A connection of a high_bw context takes up to this much memory, most of it in its first CMX_RELAY_BULK_MS. A new one
 * is accepted only if this much memory is free above CMX_RELAY_HEAP_FLOOR for it, and as much again for each such
 * connection of the device that is younger than CMX_RELAY_BULK_MS. While an update is being received and less heap than
 * this is free, connections of high_bw contexts are closed, the newest first. */
#ifndef CMX_RELAY_HEAP_BULK
#define CMX_RELAY_HEAP_BULK 32768
#endif
#define CMX_RELAY_BULK_MS 2000

/* After this long without a byte, a relay is logged as stalled. */
#define CMX_RELAY_STALL_MS 5000

/* After this long without a byte, a connection rests: it uses no CPU time until the next byte (relay_rest.h). 0:
 * connections never rest. That is the default on a device, which has few connections. */
#ifndef CMX_RELAY_REST_MS
#ifdef CMX_DEVICE_PROFILE
#define CMX_RELAY_REST_MS 0
#else
#define CMX_RELAY_REST_MS CMX_RELAY_STALL_MS
#endif
#endif

/* Maximum sleep of a session's task while a connection or a request is active. If other tasks cannot wake the task
 * (cmx_session_wake), the task never sleeps longer than this, so that it notices a stop or a change in time. */
#define CMX_SESSION_TICK_MS 500

/* A session's task that has not called cmx_session_alive for this long is stuck. */
#ifndef CMX_SESSION_STUCK_MS
#define CMX_SESSION_STUCK_MS 10000
#endif

/* A session that was reported as up and has lasted this long counts as a success and resets the backoff. A shorter
 * session does not, because otherwise a gateway that ends every session soon after the login would be tried again at
 * the shortest interval. */
#ifndef CMX_SESSION_PROVEN_MS
#define CMX_SESSION_PROVEN_MS 10000
#endif

/* A login attempt fails if the look-up of the gateway's name takes longer than this. The look-up continues, and a later
 * attempt uses its result. Even if only the first name server is dead, the answer takes 5 to 20 s longer. */
#ifndef CMX_LOOKUP_TIMEOUT_MS
#define CMX_LOOKUP_TIMEOUT_MS 30000
#endif

/* For this long after a look-up, new connections of a context use the addresses that it found for the local service. */
#define CMX_LOOKUP_FRESH_MS 2000

/* CMX_LOOKUPS_MAX: maximum number of look-ups that run at the same time in the whole process, abandoned ones included.
 * CMX_LOOKUP_STACK: stack of each look-up's task (0: the platform's default). */
#ifdef CMX_DEVICE_PROFILE
#define CMX_LOOKUPS_MAX 4
#define CMX_LOOKUP_STACK 4096
#else
#define CMX_LOOKUPS_MAX 64
#define CMX_LOOKUP_STACK 0
#endif

/* A probe fails if its token does not return within this time. */
#define CMX_PROBE_TIMEOUT_MS 10000
#define CMX_PROBE_TOKEN_LEN 32
