// settings.h - how the device reaches its gateway. Edit the values, then upload.
// Every macro with its default: src/cmxsafe/device/defaults.h.
#ifndef SETTINGS_CMXSAFE
#define SETTINGS_CMXSAFE

#define WIFI_SSID "network"
#define WIFI_PASSWORD "password"

#define SSH_REMOTE_HOST "gateway.example" // an SSH server: name or address
#define SSH_REMOTE_PORT 22
#define SSH_LOCAL_HOST "127.0.0.1"
#define USERNAME1 "camera-1"

// The output of this command at the gateway: ssh-keygen -lf /etc/ssh/ssh_host_ecdsa_key.pub
#define SSH_HOST_KEY "SHA256:what it prints"

// If neither a key nor a password is set here, the device makes an SSH key at its first start, and prints its public
// half and its fingerprint on the serial port. Add the public half to the account's authorized_keys, or enrol it. If an
// HMAC_UP key is burned into eFuse, the SSH key is derived from that key instead. 1: use only a derived key.
#define SSH_CLIENT_KEY_DERIVED 0
#define PASSWORD1 ""

// At a fleet's gateway: "fleet:" and the prefix that 'cmxsafe gateway show' prints. It selects the address that belongs
// to the device's key.
#define SSH_REMOTE_ADDRESS ""

#define TIMEOUT_SECONDS 10
#define VERBOSITY SSH_LOG_NOLOG // SSH_LOG_PACKET: more log lines
#define SSHMULTICHANNEL 1       // one SSH session for all contexts; each further session takes 30 KB of RAM

// The public half of the key that signs firmware, as 'cmxsafe image key' prints it. Empty: any image is accepted.
#define OTA_PUBLIC_KEY ""

#endif
