/* settings.h (device) - the macros of settings.h as values. A library is compiled apart from the sketch, so the macros
 * are read in the sketch's own translation unit (cmx_settings_capture in cmxsafe.h) and handed over in this struct. */
#ifndef CMX_DEVICE_SETTINGS_H
#define CMX_DEVICE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Strings are borrowed for good (literals). NULL, "" and 0 mean: not set. */
struct cmx_settings {
    const char *remote_host;
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
    const char *verbosity; /* as written: "SSH_LOG_NOLOG", "3" */
    bool multichannel;
    const char *ciphers;
    size_t task_stack;
    int local_port_offset; /* services listen at their port plus this: where a device has no loopback of its own */
    const char *ota_public_key;
};

/* C++ warns of members that an initialiser leaves out, unless they have a default. */
#ifdef __cplusplus
#define CMX_ZERO = {}
#else
#define CMX_ZERO
#endif

/* TaskParameters.direction; the values of cmx_proxy_direction. */
enum { CMX_TASK_REVERSE = 0, CMX_TASK_DIRECT = 1 };

/* A security context: one service's declaration. The first three fields are the original's; in those after them zero
 * means the default. Strings are borrowed for good. */
typedef struct TaskParameters {
    int local_port;          /* the service's; direct: where to listen on the device */
    int forward_remote_port; /* the listener's at the gateway; direct: the port of remote_host */
    bool high_bw;            /* larger buffers: faster, for 24 KB more a connection (proxy.h) */

    const char *remote_address CMX_ZERO; /* at the gateway (at a CMX-GW: the device's); default SSH_REMOTE_ADDRESS */
    int direction CMX_ZERO;              /* CMX_TASK_REVERSE, CMX_TASK_DIRECT */
    const char *remote_host CMX_ZERO;    /* direct: the host behind the gateway, as the gateway sees it */
    int max_connections CMX_ZERO;        /* at once; default 8 */
    int idle_timeout_s CMX_ZERO;         /* a connection without a byte for that long is closed; default never */
    const char *session CMX_ZERO;    /* contexts that name the same one share an SSH session; default one of its own */
    int probe_interval_s CMX_ZERO;   /* end-to-end probe of the gateway's listener; default off */
    const char *name CMX_ZERO;       /* in the log and status; default "port-N" */
    int connect_timeout_s CMX_ZERO;  /* to the service; default 10 */
    const char *local_host CMX_ZERO; /* default SSH_LOCAL_HOST */
    const char *tasks CMX_ZERO; /* direct, with setup_sm(): names of the tasks that may connect, separated by commas,
                                   15 characters of each count; default all */
} TaskParameters;

#ifdef __cplusplus
}
#endif
#endif
