target_sources(test_sketch PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/unit/sketch/as_c.c ${CMAKE_CURRENT_SOURCE_DIR}/unit/sketch/as_cpp.cpp)
