# The rules of a device, whose tasks have too small a stack for Ed25519.
target_sources(test_proxy_types PRIVATE ${CMAKE_SOURCE_DIR}/src/cmxsafe/proxy/login.c)
target_compile_definitions(test_proxy_types PRIVATE CMX_DEVICE_PROFILE)
