# The components of the examples: cmxsafe in this tree; the LibSSH-ESP32 checkout that LIBSSH_ESP32_DIR names (without
# it, the component manager fetches libssh); and ESP-IDF's own helper, which brings Wi-Fi or Ethernet up.
list(APPEND EXTRA_COMPONENT_DIRS ${CMAKE_CURRENT_LIST_DIR}/cmxsafe
  $ENV{IDF_PATH}/examples/common_components/protocol_examples_common)
set(COMPONENTS main cmxsafe)
if(DEFINED ENV{LIBSSH_ESP32_DIR})
  list(APPEND EXTRA_COMPONENT_DIRS ${CMAKE_CURRENT_LIST_DIR}/libssh_esp32)
  list(APPEND COMPONENTS libssh_esp32)
endif()
