# The same with an engine that is not so patient with a gateway that owes a channel's close.
add_executable(proxy_run_hasty ${source} ${CMAKE_SOURCE_DIR}/src/cmxsafe/proxy/relay.c)
target_compile_definitions(proxy_run_hasty PRIVATE CMX_RELAY_CLOSE_TIMEOUT_MS=3000)
target_link_libraries(proxy_run_hasty PRIVATE cmxsafe_linux cmxsafe_device cmxsafe_read_ahead)
