#ifndef SETTINGS_CMXSAFE
#define SETTINGS_CMXSAFE
/* Has the form of the settings.h of CMXsafe-ESP32, including semicolons inside macros. */
#define TIMEOUT_SECONDS 10 // Timeout only during login phase
#define SSH_REMOTE_HOST "172.20.10.4"
#define SSH_LOCAL_HOST "127.0.0.1"
#define SSH_REMOTE_PORT 2233 // SSH server port
#define USERNAME1 "user"     // SSH username
#define PASSWORD1 "password"
#define VERBOSITY SSH_LOG_NOLOG;
#define SSHMULTICHANNEL 0;
#endif
