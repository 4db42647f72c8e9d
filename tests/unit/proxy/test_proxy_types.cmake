# Builds session_login.c for a device, whose tasks have a stack that is too small for Ed25519.
target_sources(test_proxy_types PRIVATE ${CMAKE_SOURCE_DIR}/src/cmxsafe/proxy/session_login.c)
target_compile_definitions(test_proxy_types PRIVATE CMX_DEVICE_PROFILE)
