find_package(JPEG REQUIRED)
target_sources(test_picture PRIVATE ${CMAKE_SOURCE_DIR}/examples/esp-idf/secure_services/main/jpeg.c
  ${CMAKE_SOURCE_DIR}/examples/esp-idf/secure_services/main/picture.c)
target_include_directories(test_picture PRIVATE ${CMAKE_SOURCE_DIR}/examples/esp-idf/secure_services/main)
target_link_libraries(test_picture PRIVATE JPEG::JPEG)
