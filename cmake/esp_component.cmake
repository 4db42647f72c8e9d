# cmxsafe as an ESP-IDF component (5.1 to 5.5, 6.x). Included by the root CMakeLists.txt when ESP_PLATFORM is set. libssh comes
# from the component that the project has: david-cermak/libssh from the registry, or LibSSH-ESP32 (see cmake/libssh_esp32).
get_filename_component(CMX_ROOT ${CMAKE_CURRENT_LIST_DIR} DIRECTORY)

file(GLOB_RECURSE cmx_sources ${CMX_ROOT}/src/*.c ${CMX_ROOT}/src/*.cpp)
set(cmx_requires lwip esp_event esp_netif freertos)
set(cmx_private app_update efuse esp_app_format esp_http_server esp_partition esp_system esp_timer mbedtls nvs_flash spi_flash
    bootloader_support esp_hw_support)
if(IDF_VERSION_MAJOR GREATER_EQUAL 6)
  list(APPEND cmx_private esp_security) # since ESP-IDF 6.0 this component has esp_hmac.h
endif()

idf_component_register(SRCS ${cmx_sources} INCLUDE_DIRS ${CMX_ROOT}/src REQUIRES ${cmx_requires} PRIV_REQUIRES ${cmx_private}
  KCONFIG ${CMX_ROOT}/Kconfig)

target_compile_options(${COMPONENT_LIB} PRIVATE $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes>)
if(CONFIG_IDF_TARGET_ARCH_RISCV)
  # These options save 7 % of flash and cost a few cycles per call: no jump tables, no caller-saved registers kept across
  # calls, no padding of texts to whole words.
  target_compile_options(${COMPONENT_LIB} PRIVATE -msave-restore -mtune=size -malign-data=natural -fno-expensive-optimizations
    $<$<COMPILE_LANGUAGE:C>:-fno-jump-tables -fno-caller-saves -fno-move-loop-invariants -fno-shrink-wrap>)
endif()

if(CONFIG_LOG_MAXIMUM_LEVEL GREATER_EQUAL 4)
  target_compile_definitions(${COMPONENT_LIB} PRIVATE CMX_LOG_COMPILED=CMX_LOG_DEBUG)
endif()

set(cmx_libssh_names david-cermak__libssh libssh libssh_esp32 LibSSH-ESP32)
idf_component_optional_requires(PRIVATE ${cmx_libssh_names})
idf_build_get_property(cmx_built BUILD_COMPONENTS)
set(cmx_has_libssh FALSE)
foreach(name ${cmx_libssh_names})
  if(name IN_LIST cmx_built)
    set(cmx_has_libssh TRUE)
  endif()
endforeach()
if(NOT cmx_has_libssh)
  message(FATAL_ERROR "cmxsafe: no libssh component: add `david-cermak/libssh` to idf_component.yml, or LibSSH-ESP32 as "
    "docs/PORTING.md says")
endif()

# port/esp/claim_esp.c records which task connects to a direct context's listener.
target_compile_definitions(${COMPONENT_LIB} PRIVATE CMX_WRAP_CONNECT)
target_link_libraries(${COMPONENT_LIB} INTERFACE "-Wl,--wrap=lwip_connect" "-Wl,--wrap=lwip_close")

# lwIP's IP input hooks call the isolation module; the component lwip includes the header that declares them.
if(CONFIG_CMX_LWIP_HOOKS)
  idf_component_get_property(cmx_lwip lwip COMPONENT_LIB)
  target_compile_options(${cmx_lwip} PRIVATE "-I${CMX_ROOT}/src")
  target_compile_definitions(${cmx_lwip} PRIVATE "ESP_IDF_LWIP_HOOK_FILENAME=\"cmxsafe/port/esp/lwip_hooks.h\"")
  target_link_libraries(${cmx_lwip} PRIVATE ${COMPONENT_LIB})
endif()
