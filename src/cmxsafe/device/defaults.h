/* defaults.h - every macro of settings.h with its meaning and default. A settings.h beside the sketch defines the
 * macros whose values differ from the defaults. */
#pragma once

/* ---- the gateway ---- */

/* The gateway's name or address, or several: "gw1.example, gw2.example:2222 > backup.example". Gateways separated by a
 * comma are equivalent and tried in a random order. Gateways after a '>' are tried only when all gateways before it
 * have failed. */
#ifndef SSH_REMOTE_HOST
#define SSH_REMOTE_HOST ""
#endif

#ifndef SSH_REMOTE_PORT
#define SSH_REMOTE_PORT 22
#endif

/* The gateway's host key: the fingerprint ("SHA256:...") that `ssh-keygen -lf ssh_host_ed25519_key.pub` prints on the
 * gateway, or a line of known_hosts. For a key rotation give several, separated by commas: "SHA256:old...",
 * "SHA256:new...". The device checks the host key before it sends any credential; no setting turns this check off. */
#ifndef SSH_HOST_KEY
#define SSH_HOST_KEY ""
#endif

/* ---- the device's credentials ---- */

#ifndef USERNAME1
#define USERNAME1 ""
#endif

/* The password. The device offers it only if no key below is set, or if the gateway has refused the key. "": no
 * password. Prefer a key. */
#ifndef PASSWORD1
#define PASSWORD1 ""
#endif

/* A private key in OpenSSH or PEM form. SSH_CLIENT_KEY is its text, which becomes part of the firmware.
 * SSH_CLIENT_KEY_FILE is the name of a file that contains it. Anyone who can read an unencrypted flash can read the
 * key. */
#ifndef SSH_CLIENT_KEY
#define SSH_CLIENT_KEY ""
#endif

#ifndef SSH_CLIENT_KEY_FILE
#define SSH_CLIENT_KEY_FILE ""
#endif

#ifndef SSH_CLIENT_KEY_PASSPHRASE
#define SSH_CLIENT_KEY_PASSPHRASE ""
#endif

/* 1: the device derives its SSH key from the hardware key in eFuse at each login, and never stores it. 0: the device
 * does so only if it has a hardware key and no SSH_CLIENT_KEY, SSH_CLIENT_KEY_FILE or PASSWORD1 is set. */
#ifndef SSH_CLIENT_KEY_DERIVED
#define SSH_CLIENT_KEY_DERIVED 0
#endif

/* ---- behaviour ---- */

/* The address on which the device's own services listen. */
#ifndef SSH_LOCAL_HOST
#define SSH_LOCAL_HOST "127.0.0.1"
#endif

/* The address of the gateway's listeners, for contexts that set no remote_address. For a CMX-GW, set it to the device's
 * virtual IPv6 address. "": the gateway's loopback. */
#ifndef SSH_REMOTE_ADDRESS
#define SSH_REMOTE_ADDRESS ""
#endif

/* Time limit for one attempt to log in, from TCP connect to authentication. */
#ifndef TIMEOUT_SECONDS
#define TIMEOUT_SECONDS 10
#endif

/* Send a keepalive after this long without traffic; reconnect after three unanswered keepalives. 0 means 15 seconds. */
#ifndef SSH_KEEPALIVE_SECONDS
#define SSH_KEEPALIVE_SECONDS 0
#endif

/* The log level, as one of libssh's names or numbers: SSH_LOG_NOLOG for the usual log, SSH_LOG_PACKET (3) and above for
 * the debug log. */
#ifndef VERBOSITY
#define VERBOSITY SSH_LOG_NOLOG
#endif

/* 1: all contexts without TaskParameters.session share one SSH session, which saves some 30 KB of RAM for each context
 * after the first. */
#ifndef SSHMULTICHANNEL
#define SSHMULTICHANNEL 0
#endif

/* Ciphers by their OpenSSH names, separated by commas. "": AES-GCM and ChaCha20-Poly1305, the faster one first,
 * then AES-256-CTR. */
#ifndef SSH_CIPHERS
#define SSH_CIPHERS ""
#endif

/* 1: only key exchanges that resist a quantum computer are accepted. Needs libssh 0.12; LibSSH-ESP32 5.5 has no such
 * key exchange. */
#ifndef SSH_REQUIRE_PQ
#define SSH_REQUIRE_PQ 0
#endif

/* Stack size of a session's task, in bytes. If only the gateway's Ed25519 key is pinned, the session moves to a task
 * with a stack of 14,848 bytes. To avoid this, pin the gateway's ECDSA key, too. */
#ifndef SSH_TASK_STACK
#define SSH_TASK_STACK 7168
#endif

/* ---- firmware update ---- */

/* The public key that verifies the signatures of images: P-256, "04..." in hex, as `cmxsafe image key` prints it, or
 * PEM. "": images without a signature are accepted, and each start logs a warning. */
#ifndef OTA_PUBLIC_KEY
#define OTA_PUBLIC_KEY ""
#endif
