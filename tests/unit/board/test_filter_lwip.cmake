target_sources(test_filter_lwip PRIVATE ${CMAKE_SOURCE_DIR}/src/cmxsafe/port/lwip/filter_lwip.c)
target_include_directories(test_filter_lwip SYSTEM PRIVATE /usr/include/lwip)
target_link_libraries(test_filter_lwip PRIVATE lwip)
