# The board runs the same application as an ESP32.
set(CMX_APP ${CMAKE_SOURCE_DIR}/examples/esp-idf/secure_services/main)
target_sources(cmxsafe-board_parts PRIVATE ${CMX_APP}/app.c ${CMX_APP}/page.c ${CMX_APP}/stream.c ${CMX_APP}/picture.c
  ${CMX_APP}/jpeg.c)
target_sources(cmxsafe-board_parts PRIVATE ${CMAKE_SOURCE_DIR}/src/cmxsafe/port/lwip/filter_lwip.c)
target_include_directories(cmxsafe-board_parts PUBLIC ${CMX_APP})
target_include_directories(cmxsafe-board_parts SYSTEM PRIVATE /usr/include/lwip)
target_link_libraries(cmxsafe-board_parts PUBLIC cmxsafe_idf lwip resolv ${CMAKE_DL_LIBS})

# sockets.c defines functions that have the names of libc's; the inline functions that _FORTIFY_SOURCE adds to libc's
# headers would clash with them. The program exports these names, so that shared libraries use its sockets.
set_source_files_properties(board/lwip/sockets.c PROPERTIES COMPILE_OPTIONS "-U_FORTIFY_SOURCE;-U_FILE_OFFSET_BITS;-U_TIME_BITS")
set_target_properties(cmxsafe-board PROPERTIES ENABLE_EXPORTS ON)
