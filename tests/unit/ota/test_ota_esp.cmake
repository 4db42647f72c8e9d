target_include_directories(test_ota_esp PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/unit/ota/idf)
