# The host build: device library, Linux port, programs, tests. Sources are found by folder, so that a new file needs no line here.
# CMX_SANITIZE is empty, "address" (the address and undefined sanitizers) or "thread". CMX_FUZZ builds fuzz/ with clang. CMX_AGENT
# builds cmxsafed alone, for devices and for musl; each optional library that is missing turns its feature off
# (cmake/features.cmake).
set(CMX_SANITIZE "" CACHE STRING "empty, address or thread")
option(CMX_AGENT "build cmxsafed alone" OFF)
option(CMX_FUZZ "build the fuzzers (clang)" OFF)
option(CMX_TESTS "build the tests" ON)
option(CMX_WERROR "treat warnings as errors (developers and CI: scripts/test.sh turns it on)" OFF)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS ON)
if(NOT CMX_AGENT)
  enable_language(CXX)
  set(CMAKE_CXX_STANDARD 17)
endif()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBSSH REQUIRED IMPORTED_TARGET libssh)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
if(NOT CMX_AGENT)
  find_package(SQLite3 REQUIRED)
endif()

include(cmake/embed.cmake)
include(cmake/sonames.cmake)
include(cmake/features.cmake)
include(cmake/libc.cmake)

add_compile_options(-Wall -Wextra -Wshadow -Wmissing-format-attribute $<$<BOOL:${CMX_WERROR}>:-Werror> -fno-common)
add_compile_options($<$<COMPILE_LANGUAGE:C>:-Wconversion> $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>)
add_compile_options(-fstack-protector-strong)
# A program is linked only with the libraries whose functions it calls.
add_link_options(-Wl,--as-needed)
add_compile_definitions(_GNU_SOURCE)
if(CMX_SANITIZE)
  add_compile_definitions(GW_SESSION_MEMORY_MAX=RLIM_INFINITY) # sshd's helper, with the sanitizer, inherits this limit
endif()
if(CMX_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(CMX_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
else()
  add_compile_definitions($<$<CONFIG:RelWithDebInfo>:_FORTIFY_SOURCE=2>)
endif()
if(CMX_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# The device library (everything under src/ except what only ESP-IDF or lwIP compiles) and its Linux port. The library calls
# port.h and the port calls the library's core, so they are one archive.
file(GLOB_RECURSE CMX_DEVICE_SOURCES CONFIGURE_DEPENDS src/*.c)
list(FILTER CMX_DEVICE_SOURCES EXCLUDE REGEX "/cmxsafe/(esp|port/(esp|lwip))/") # the board's program adds port/lwip
file(GLOB CMX_PORT_SOURCES CONFIGURE_DEPENDS port/linux/*.c)
list(FILTER CMX_PORT_SOURCES EXCLUDE REGEX "/(http_mhd|tpm_hmac).c$") # added as features, below
add_library(cmxsafe_linux STATIC ${CMX_DEVICE_SOURCES} ${CMX_PORT_SOURCES})
target_include_directories(cmxsafe_linux PUBLIC src ${CMAKE_SOURCE_DIR})
target_link_libraries(cmxsafe_linux PUBLIC PkgConfig::LIBSSH PkgConfig::CRYPTO Threads::Threads ${CMAKE_DL_LIBS})
cmx_feature(cmxsafe_linux HTTP libmicrohttpd port/linux/http_mhd.c port/linux/without/linux_http_none.c MHD microhttpd)
cmx_feature(cmxsafe_linux TPM "tss2-esys;tss2-tctildr;tss2-rc" port/linux/tpm_hmac.c port/linux/without/tpm_none.c
  ESYS tss2-esys TCTILDR tss2-tctildr TSS_RC tss2-rc)

# The library cmxsafe_idf is for the virtual board and for tests. It implements ESP-IDF's flash and eFuse formats, and
# the FreeRTOS functions that sketches call (freertos/FreeRTOS.h).
if(CMX_TESTS OR NOT CMX_AGENT)
  file(GLOB CMX_IDF_SOURCES CONFIGURE_DEPENDS board/idf/*.c)
  add_library(cmxsafe_idf STATIC ${CMX_IDF_SOURCES})
  target_include_directories(cmxsafe_idf PUBLIC board/idf)
  target_link_libraries(cmxsafe_idf PUBLIC cmxsafe_linux)
endif()

# Read-ahead on the SSH socket: this object replaces a program's recv, poll and close. It is for programs that carry
# much traffic over the kernel's sockets. cmxsafe-board does not use the object, because the board replaces these
# functions itself.
set_source_files_properties(port/linux/libc/read_ahead.c PROPERTIES COMPILE_OPTIONS -U_FORTIFY_SOURCE)
add_library(cmxsafe_read_ahead OBJECT port/linux/libc/read_ahead.c)
target_include_directories(cmxsafe_read_ahead PRIVATE src)

# Programs that hold keys overwrite memory that they free. Builds with a sanitizer or for fuzzing do not, because
# sanitizers bring their own allocator.
add_library(cmxsafe_wipe_free INTERFACE)
if(NOT CMX_SANITIZE AND NOT CMX_FUZZ)
  target_sources(cmxsafe_wipe_free INTERFACE ${CMAKE_SOURCE_DIR}/port/linux/libc/wipe_free.c
    ${CMAKE_SOURCE_DIR}/${CMX_NEXT_MALLOC})
endif()

# Each folder with a main.c is a program. Its other files are the library NAME_parts, so that unit tests and fuzzers can
# link them. A folder may add libraries (to NAME_parts, PUBLIC) in its own program.cmake.
function(cmx_program name folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.c)
  list(FILTER sources EXCLUDE REGEX "/${folder}/(main.c$|idf/|without/)")
  list(FILTER sources EXCLUDE REGEX "/(nft_load|confine_seccomp).c$") # added as features, in program.cmake
  if(NOT sources)
    return()
  endif()
  add_library(${name}_parts STATIC ${sources})
  target_link_libraries(${name}_parts PUBLIC cmxsafe_linux)
  if(EXISTS ${CMAKE_SOURCE_DIR}/${folder}/main.c)
    add_executable(${name} ${folder}/main.c)
    target_link_libraries(${name} PRIVATE ${name}_parts)
  endif()
  if(EXISTS ${CMAKE_SOURCE_DIR}/${folder}/program.cmake)
    include(${CMAKE_SOURCE_DIR}/${folder}/program.cmake)
  endif()
endfunction()
cmx_program(cmxsafed agent)
target_link_libraries(cmxsafed PRIVATE cmxsafe_read_ahead cmxsafe_wipe_free)
if(NOT CMX_AGENT)
  cmx_program(cmxsafe-board board)
  target_link_libraries(cmxsafe-board PRIVATE cmxsafe_wipe_free)
  cmx_program(cmxsafe cli)
endif()

include(cmake/install.cmake)

if(CMX_TESTS)
  enable_testing()
  add_subdirectory(tests)
endif()
if(CMX_FUZZ)
  add_subdirectory(fuzz)
endif()
