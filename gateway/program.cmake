# The gateway's registry library and sshd's look-up helper; included by cli/program.cmake.
file(GLOB GW_REGISTRY_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/gateway/registry/*.c)
add_library(cmxsafe_registry STATIC ${GW_REGISTRY_SOURCES})
target_include_directories(cmxsafe_registry PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(cmxsafe_registry PUBLIC cmxsafe_linux SQLite::SQLite3)

# sshd runs this program at every login. To start fast, the program loads libcrypto only when it first hashes. The option
# --as-needed leaves out libraries of cmxsafe_registry that the program does not use.
add_executable(cmxsafe-authkeys ${CMAKE_SOURCE_DIR}/gateway/authkeys/main.c ${CMAKE_SOURCE_DIR}/gateway/authkeys/sha256_loaded.c)
target_link_libraries(cmxsafe-authkeys PRIVATE cmxsafe_registry)
target_link_options(cmxsafe-authkeys PRIVATE -Wl,--as-needed)
cmx_soname(cmxsafe-authkeys CRYPTO crypto)

# The operator's command contains the gateway's server (server), and the code that generates files (render), verifies
# evidence (verify) and reads the gateway's folder (folder).
file(GLOB GW_COMMAND_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/gateway/folder/*.c ${CMAKE_SOURCE_DIR}/gateway/server/*.c ${CMAKE_SOURCE_DIR}/gateway/render/*.c ${CMAKE_SOURCE_DIR}/gateway/verify/*.c)
target_sources(cmxsafe_parts PRIVATE ${GW_COMMAND_SOURCES})
# The templates of the files that the gateway generates (gateway/render/gw_template.h).
foreach(template
    fleet=fleet.nft fleet_user=fleet_user.nft host=host.nft bird=bird.conf bird_neighbour=bird_neighbour.conf sshd_config=sshd_config
    unit_net=cmxsafe-gateway-net.service unit_guard=cmxsafe-gateway-guard.service unit_bird=cmxsafe-gateway-bird.service
    unit_socket=cmxsafe-gateway.socket unit_service=cmxsafe-gateway.service unit_metrics=cmxsafe-gateway-metrics.service
    unit_metrics_timer=cmxsafe-gateway-metrics.timer)
  string(REPLACE "=" ";" template ${template})
  list(GET template 0 name)
  list(GET template 1 file)
  cmx_embed(cmxsafe_parts gw_template_${name} gateway/render/templates/${file})
endforeach()

# A registry in PostgreSQL needs libpq, and SQLite's session extension, which records changes.
option(CMX_POSTGRESQL "a registry in PostgreSQL, where libpq is found" ON)
if(CMX_POSTGRESQL)
  pkg_check_modules(PQ IMPORTED_TARGET libpq)
endif()
file(GLOB GW_SHARED_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/gateway/shared/*.c)
if(PQ_FOUND)
  list(FILTER GW_SHARED_SOURCES EXCLUDE REGEX "shared_none.c$")
  set_source_files_properties(
    ${GW_SHARED_SOURCES} TARGET_DIRECTORY cmxsafe_parts
    PROPERTIES COMPILE_DEFINITIONS "SQLITE_ENABLE_SESSION;SQLITE_ENABLE_PREUPDATE_HOOK")
  target_link_libraries(cmxsafe_parts PUBLIC PkgConfig::PQ)
else()
  list(FILTER GW_SHARED_SOURCES INCLUDE REGEX "(shared_none|copy_text).c$")
endif()
target_sources(cmxsafe_parts PRIVATE ${GW_SHARED_SOURCES})

# The eBPF programs that give sessions their identities. clang compiles them, and the executable embeds them.
find_program(CMX_CLANG NAMES clang REQUIRED)
pkg_check_modules(BPF REQUIRED IMPORTED_TARGET libbpf)
set(IDSOCK_SOURCE ${CMAKE_SOURCE_DIR}/gateway/bpf/idsock.bpf.c)
set(IDSOCK_OBJECT ${CMAKE_BINARY_DIR}/idsock.bpf) # not .o: CMake would put a .o file into an archive, which ld then refuses
# <asm/types.h> is in the multiarch folder, which clang does not search for this target.
execute_process(COMMAND ${CMAKE_C_COMPILER} -print-multiarch OUTPUT_VARIABLE CMX_MULTIARCH OUTPUT_STRIP_TRAILING_WHITESPACE)
add_custom_command(
  OUTPUT ${IDSOCK_OBJECT}
  COMMAND ${CMX_CLANG} -target bpf -O2 -g -fdebug-prefix-map=${CMAKE_SOURCE_DIR}=. -fdebug-prefix-map=${CMAKE_BINARY_DIR}=build -Wall -Werror -I/usr/include/${CMX_MULTIARCH} -c ${IDSOCK_SOURCE} -o ${IDSOCK_OBJECT}
  DEPENDS ${IDSOCK_SOURCE} ${CMAKE_SOURCE_DIR}/gateway/bpf/idsock.h
  VERBATIM)
set_source_files_properties(
  ${CMAKE_SOURCE_DIR}/gateway/server/gw_idsock.c TARGET_DIRECTORY cmxsafe_parts
  PROPERTIES COMPILE_DEFINITIONS "GW_IDSOCK_OBJECT=\"${IDSOCK_OBJECT}\"" OBJECT_DEPENDS ${IDSOCK_OBJECT})
target_sources(cmxsafe_parts PRIVATE ${IDSOCK_OBJECT})
target_link_libraries(cmxsafe_parts PUBLIC PkgConfig::BPF)

# The guard lists a set of the packet filter every second. With libnftables it need not start nft each time.
pkg_check_modules(NFTABLES_LINKED REQUIRED IMPORTED_TARGET libnftables)
target_link_libraries(cmxsafe_parts PUBLIC PkgConfig::NFTABLES_LINKED)
