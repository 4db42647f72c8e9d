// settings.h - what the device must know to reach its gateway. Fill in and upload.
#ifndef SETTINGS_CMXSAFE
#define SETTINGS_CMXSAFE

#define WIFI_SSID "network"
#define WIFI_PASSWORD "password"

#define SSH_REMOTE_HOST "gateway.example"  // an SSH server: name or address
#define SSH_REMOTE_PORT 22
#define SSH_LOCAL_HOST "127.0.0.1"
#define USERNAME1 "camera-1"

// At the gateway: ssh-keygen -lf /etc/ssh/ssh_host_ecdsa_key.pub
#define SSH_HOST_KEY "SHA256:what it prints"

// The key is derived from the eFuse key; 'cmxsafe gateway enroll --hwkey' prints the public half. Or a password:
#define SSH_CLIENT_KEY_DERIVED 1
#define PASSWORD1 ""

#define TIMEOUT_SECONDS 10
#define VERBOSITY SSH_LOG_NOLOG
#define SSHMULTICHANNEL 1  // 0: a session for each context, 35 KB each: see docs/ESP32.md, "On an Arduino core"

// The public half of the key that signs firmware: 'cmxsafe image key' prints it. Empty: any image is accepted.
#define OTA_PUBLIC_KEY ""

#endif
