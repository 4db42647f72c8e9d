# Builds bin/next/: the operator's command and sshd's helper of a simulated later version of cmxsafe, which adds a
# table and columns to the registry. Scenarios with gateways of two versions use it. Only registry.c and registry.h
# differ from the current version, because they contain the registry's version.
set(next_folder ${CMAKE_CURRENT_BINARY_DIR}/next)
set(registry ${CMAKE_SOURCE_DIR}/gateway/registry/registry)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${registry}.h ${registry}.c)
file(READ ${registry}.h next_header)
file(READ ${registry}.c next_source)
string(REGEX MATCH "GW_SCHEMA_VERSION ([0-9]+)" schema_line "${next_header}")
math(EXPR next_version "${CMAKE_MATCH_1} + 1")
string(REPLACE "${schema_line}" "GW_SCHEMA_VERSION ${next_version}" next_header "${next_header}")
string(REPLACE "schema_${CMAKE_MATCH_1}};" "schema_${CMAKE_MATCH_1}, schema_${next_version}};" next_source "${next_source}")
string(REPLACE "static const char *const schemas[" "static const char schema_${next_version}[] =
    \"CREATE TABLE future(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;\"
    \"ALTER TABLE device ADD COLUMN future INTEGER NOT NULL DEFAULT 7;\"
    \"ALTER TABLE grants ADD COLUMN future TEXT NOT NULL DEFAULT '';\";
static const char *const schemas[" next_source "${next_source}")
file(GENERATE OUTPUT ${next_folder}/gateway/registry/registry.h CONTENT "${next_header}")
file(GENERATE OUTPUT ${next_folder}/gateway/registry/registry.c CONTENT "${next_source}")

set(next_registry ${next_folder}/gateway/registry/registry.c ${next_folder}/gateway/registry/registry.h)
set_source_files_properties(${next_registry} PROPERTIES GENERATED TRUE)
file(GLOB next_shared CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/gateway/shared/shared_*.c)
list(FILTER next_shared EXCLUDE REGEX "shared_none.c$")
add_executable(next_cmxsafe ${CMAKE_SOURCE_DIR}/cli/main.c ${next_registry} ${next_shared})
target_link_libraries(next_cmxsafe PRIVATE cmxsafe_parts)
target_compile_definitions(next_cmxsafe PRIVATE SQLITE_ENABLE_SESSION SQLITE_ENABLE_PREUPDATE_HOOK)
set_target_properties(next_cmxsafe PROPERTIES OUTPUT_NAME cmxsafe)
add_executable(next_authkeys ${CMAKE_SOURCE_DIR}/gateway/authkeys/main.c ${next_registry})
target_link_libraries(next_authkeys PRIVATE cmxsafe_registry)
set_target_properties(next_authkeys PROPERTIES OUTPUT_NAME cmxsafe-authkeys)
foreach(program next_cmxsafe next_authkeys)
  target_include_directories(${program} BEFORE PRIVATE ${next_folder} ${CMAKE_SOURCE_DIR})
  set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/next)
endforeach()
