# The gateway's registry library and sshd's look-up helper; included by cli/program.cmake.
file(GLOB GW_REGISTRY_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/gateway/registry/*.c)
add_library(cmxsafe_registry STATIC ${GW_REGISTRY_SOURCES})
target_include_directories(cmxsafe_registry PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(cmxsafe_registry PUBLIC cmxsafe_device cmxsafe_linux SQLite::SQLite3)

# Run at every login.
add_executable(cmxsafe-authkeys ${CMAKE_SOURCE_DIR}/gateway/authkeys/main.c)
target_link_libraries(cmxsafe-authkeys PRIVATE cmxsafe_registry)
