# proxy_run_hasty is proxy_run with three shorter times: how long the gateway has to answer a CLOSE, how long a session
# must last to count as a success, and how long a connection must be idle before its relay
# rests (relay_rest.h).
add_executable(proxy_run_hasty ${source} ${CMAKE_SOURCE_DIR}/src/cmxsafe/proxy/relay.c
                               ${CMAKE_SOURCE_DIR}/src/cmxsafe/proxy/relay_rest.c
                               ${CMAKE_SOURCE_DIR}/src/cmxsafe/proxy/session.c)
target_compile_definitions(proxy_run_hasty PRIVATE CMX_RELAY_CLOSE_TIMEOUT_MS=3000 CMX_SESSION_PROVEN_MS=1000
                                                   CMX_RELAY_REST_MS=200)
target_link_libraries(proxy_run_hasty PRIVATE cmxsafe_linux cmxsafe_read_ahead)
