# A device's pieces. libssh's part is played by the test.
target_sources(test_proxy_flow PRIVATE ${CMAKE_SOURCE_DIR}/src/cmxsafe/proxy/flow.c)
target_compile_definitions(test_proxy_flow PRIVATE CMX_RELAY_SPILL=1024u)
