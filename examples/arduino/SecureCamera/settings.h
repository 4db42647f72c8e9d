// settings.h - the values with which the device connects to its gateway. Edit them, then upload the sketch.
// src/cmxsafe/device/defaults.h lists every macro with its default.
#ifndef SETTINGS_CMXSAFE
#define SETTINGS_CMXSAFE

#define WIFI_SSID "network"
#define WIFI_PASSWORD "password"

#define SSH_REMOTE_HOST "gateway.example" // name or address of the SSH server
#define SSH_REMOTE_PORT 22
#define SSH_LOCAL_HOST "127.0.0.1"
#define USERNAME1 "camera-1"

// The fingerprint that this command prints on the gateway: ssh-keygen -lf /etc/ssh/ssh_host_ecdsa_key.pub
#define SSH_HOST_KEY "SHA256:what it prints"

// If neither a key nor a password is set here, the device creates an SSH key at its first start, and prints the public
// half and its fingerprint on the serial port. Add the public half to the account's authorized_keys, or enrol it. If an
// HMAC_UP key is burned into eFuse, the device derives the SSH key from that key instead. SSH_CLIENT_KEY_DERIVED 1: use
// only a derived key.
#define SSH_CLIENT_KEY_DERIVED 0
#define PASSWORD1 ""

// If the gateway serves a fleet: "fleet:" followed by the prefix that 'cmxsafe gateway show' prints. The device then
// derives its address in this prefix from its key.
#define SSH_REMOTE_ADDRESS ""

#define TIMEOUT_SECONDS 10
#define VERBOSITY SSH_LOG_NOLOG // the usual log; SSH_LOG_PACKET: the debug log
#define SSHMULTICHANNEL 1       // 1: all contexts share one SSH session; 0: each has its own, which takes 30 KB of RAM

// The public half of the key that signs firmware, as 'cmxsafe image key' prints it. Empty: any image is accepted.
#define OTA_PUBLIC_KEY ""

#endif
