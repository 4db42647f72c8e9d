target_include_directories(test_crypto_psa PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/unit/port/psa)
