target_include_directories(test_nvs_config PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/unit/device/nvs)
