/* device_settings.h - the macros of settings.h as values. A library is compiled separately from the sketch, so
 * cmx_settings_capture (cmxsafe.h) reads the macros in the sketch's own translation unit into a struct cmx_settings. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/c_linkage.h"

CMX_C_BEGIN

/* Strings must stay valid (literals). NULL, "" and 0 mean: not set. */
struct cmx_settings {
    const char *remote_host; /* one gateway or a list, see SSH_REMOTE_HOST in defaults.h */
    int remote_port;
    const char *const *host_keys;
    size_t n_host_keys;
    const char *username;
    const char *password;
    const char *client_key;
    const char *client_key_file;
    const char *client_key_passphrase;
    bool client_key_derived;
    const char *local_host;
    const char *remote_address;
    int timeout_s;
    int keepalive_s;
    const char *verbosity; /* the macro's text: "SSH_LOG_NOLOG", "3" */
    bool multichannel;
    const char *ciphers;
    bool require_pq;
    size_t task_stack;
    int local_port_offset; /* added to each service's port; for virtual boards that share a machine's loopback */
    const char *ota_public_key;
};

/* C++ warns about members that an initialiser omits, unless they have a default. */
#ifdef __cplusplus
#define CMX_ZERO = {}
#else
#define CMX_ZERO
#endif

/* TaskParameters.direction. The values equal those of cmx_proxy_direction. */
enum { CMX_TASK_REVERSE = 0, CMX_TASK_DIRECT = 1 };

/* TaskParameters.peer: how the service learns the client's address. PROXY_V1 and PROXY_V2: a header of the PROXY
 * protocol, version 1 (text) or 2 (binary), precedes the first byte that the service receives. A service in the same
 * firmware calls cmx_peer (cmxsafe.h) instead. The values equal those of cmx_proxy_peer. */
enum { CMX_TASK_PEER_NONE = 0, CMX_TASK_PEER_PROXY_V1 = 1, CMX_TASK_PEER_PROXY_V2 = 2 };

/* A security context: one service's declaration. The first three fields are those of CMXsafe-ESP32; in the others zero
 * means the default. Bounds and defaults: cmxsafe/proxy/context_options.h. Strings must stay valid (literals). */
typedef struct TaskParameters {
    int local_port;          /* port of the service; direct: the port to listen on */
    int forward_remote_port; /* port of the gateway's listener; direct: the service's port on remote_host */
    bool high_bw;            /* buffers of CMX_RELAY_CHUNK_HIGH bytes: more throughput, more memory */

    const char *remote_address
        /* The address on which the gateway listens; on a CMX-GW, the device's address. Default SSH_REMOTE_ADDRESS. */
        CMX_ZERO;
    int direction CMX_ZERO;           /* CMX_TASK_REVERSE, CMX_TASK_DIRECT */
    const char *remote_host CMX_ZERO; /* direct: the service's host; the gateway resolves the name */
    int max_connections CMX_ZERO;     /* maximum number of connections at the same time; default 8 */
    int idle_timeout_s CMX_ZERO;      /* close a connection after this long without traffic; default never */
    const char *session CMX_ZERO;     /* contexts with the same value here share an SSH session; default: not shared */
    int probe_interval_s CMX_ZERO;    /* time between two tests of the gateway's listener; default: no tests */
    const char *name CMX_ZERO;        /* name in the log and status; default "port-N"; direct: "direct-N" */
    int connect_timeout_s CMX_ZERO;   /* how long connecting to the service may take; default 10 s */
    const char *local_host CMX_ZERO;  /* default SSH_LOCAL_HOST */
    const char *tasks CMX_ZERO; /* direct, with setup_sm(): names of the tasks that may connect, separated by commas
                                   (the first 15 characters are compared); default all */
    int peer CMX_ZERO;          /* how the service learns the client's address; default CMX_TASK_PEER_NONE */
    const char *allow_from CMX_ZERO; /* identities or prefixes that may connect, separated by commas; default all */
} TaskParameters;

CMX_C_END
