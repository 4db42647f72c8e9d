# The application is the one that an ESP32 runs.
set(CMX_APP ${CMAKE_SOURCE_DIR}/examples/esp-idf/secure_services/main)
target_sources(cmxsafe-board_parts PRIVATE ${CMX_APP}/app.c ${CMX_APP}/page.c ${CMX_APP}/stream.c ${CMX_APP}/picture.c
  ${CMX_APP}/jpeg.c)
target_include_directories(cmxsafe-board_parts PUBLIC ${CMX_APP})
target_link_libraries(cmxsafe-board_parts PUBLIC PkgConfig::INIH)
