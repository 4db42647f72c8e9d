/* defaults.h - every macro of settings.h with its meaning and default. A settings.h beside the sketch defines what
 * differs; what it leaves out, all of it perhaps, comes from here. */
#ifndef CMX_DEVICE_DEFAULTS_H
#define CMX_DEVICE_DEFAULTS_H

/* ---- the gateway ---- */

#ifndef SSH_REMOTE_HOST
#define SSH_REMOTE_HOST "" /* its name or address */
#endif

#ifndef SSH_REMOTE_PORT
#define SSH_REMOTE_PORT 22
#endif

/* Its host key: the fingerprint that `ssh-keygen -lf ssh_host_ed25519_key.pub` prints there ("SHA256:..."), or a line
 * of known_hosts. Several, separated by commas, while keys are being rotated: "SHA256:old...", "SHA256:new...". It is
 * checked before any credential leaves the device; there is no way to turn that off. */
#ifndef SSH_HOST_KEY
#define SSH_HOST_KEY ""
#endif

/* ---- who the device is ---- */

#ifndef USERNAME1
#define USERNAME1 ""
#endif

/* Offered only if nothing below is set or accepted; "": never offered. Prefer a key. */
#ifndef PASSWORD1
#define PASSWORD1 ""
#endif

/* A private key, OpenSSH or PEM, as text in the firmware (readable by who reads the flash, unless that is encrypted) or
 * as the name of a file. */
#ifndef SSH_CLIENT_KEY
#define SSH_CLIENT_KEY ""
#endif

#ifndef SSH_CLIENT_KEY_FILE
#define SSH_CLIENT_KEY_FILE ""
#endif

#ifndef SSH_CLIENT_KEY_PASSPHRASE
#define SSH_CLIENT_KEY_PASSPHRASE ""
#endif

/* 1: the key is derived from the hardware key in eFuse at each login, and stored nowhere. With 0 that is done too where
 * the device has such a key and nothing else is set here: no key, no file, no password. */
#ifndef SSH_CLIENT_KEY_DERIVED
#define SSH_CLIENT_KEY_DERIVED 0
#endif

/* ---- how it behaves ---- */

/* Where the device's own services listen. */
#ifndef SSH_LOCAL_HOST
#define SSH_LOCAL_HOST "127.0.0.1"
#endif

/* The address to listen on at the gateway, for contexts that name none: at a CMX-GW the device's virtual IPv6 address.
 * "": the gateway's loopback. */
#ifndef SSH_REMOTE_ADDRESS
#define SSH_REMOTE_ADDRESS ""
#endif

/* From the TCP connect to the last listener granted, each attempt. */
#ifndef TIMEOUT_SECONDS
#define TIMEOUT_SECONDS 10
#endif

/* A request with reply after that much silence; three unanswered, and the gateway counts as lost. 0: 15. */
#ifndef SSH_KEEPALIVE_SECONDS
#define SSH_KEEPALIVE_SECONDS 0
#endif

/* libssh's names or numbers: SSH_LOG_NOLOG is the usual log, SSH_LOG_PACKET (3) and above say more. */
#ifndef VERBOSITY
#define VERBOSITY SSH_LOG_NOLOG
#endif

/* 1: all contexts share one SSH session, which saves some 30 KB of RAM for each context after the first. Contexts can
 * also be grouped by TaskParameters.session. */
#ifndef SSHMULTICHANNEL
#define SSHMULTICHANNEL 0
#endif

/* OpenSSH names, separated by commas. "": current ones, in the order that suits the CPU. */
#ifndef SSH_CIPHERS
#define SSH_CIPHERS ""
#endif

/* Bytes of stack of a session's task, as in the original. Where the pinned key turns out to be the gateway's Ed25519
 * one the session moves to a task with 13,824: pin the ECDSA key to save that. */
#ifndef SSH_TASK_STACK
#define SSH_TASK_STACK 10500
#endif

/* ---- firmware update ---- */

/* Public key that signs images: P-256, "04..." in hex, as `cmxsafe image key` prints it, or PEM. "": images without a
 * signature are accepted, and each start says so.
 */
#ifndef OTA_PUBLIC_KEY
#define OTA_PUBLIC_KEY ""
#endif

#endif
