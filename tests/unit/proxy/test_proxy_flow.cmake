# Builds relay_flow.c with a device's CMX_RELAY_SPILL. The test replaces libssh.
target_sources(test_proxy_flow PRIVATE ${CMAKE_SOURCE_DIR}/src/cmxsafe/proxy/relay_flow.c)
target_compile_definitions(test_proxy_flow PRIVATE CMX_RELAY_SPILL=1024u)
