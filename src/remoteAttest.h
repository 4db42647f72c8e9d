/* remoteAttest.h - remote attestation with the file and function names of the original CMXsafe-ESP32.
 * cmxsafe/device/attest_service.h implements it.
 *
 *     int paramAttest = NULL;
 *     remoteAttest::setup_remoteAttest(&paramAttest);
 *
 * In C: setup_remoteAttest(NULL). Starts the service on 127.0.0.1:8888 and returns; make it reachable with the context
 * attestationPort. Errors are logged. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

/* param is ignored; it exists because xTaskCreate requires a parameter. */
void setup_remoteAttest(void *param);

#ifdef __cplusplus
}

namespace remoteAttest
{
inline void setup_remoteAttest(void *param)
{
    ::setup_remoteAttest(param);
}
} // namespace remoteAttest
#endif
