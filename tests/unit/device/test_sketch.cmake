set(SKETCH ${CMAKE_CURRENT_SOURCE_DIR}/unit/device/sketch)
# Compiles the sketch with ARDUINO defined, as Arduino does.
set_source_files_properties(${SKETCH}/as_c.c ${SKETCH}/as_cpp.cpp PROPERTIES COMPILE_DEFINITIONS ARDUINO=10819)
target_sources(test_sketch PRIVATE ${SKETCH}/as_c.c ${SKETCH}/as_cpp.cpp)

# Also builds the sketch as two programs, for tests/e2e/product/sketch.sh.
add_executable(sketch_c ${SKETCH}/sketch_run.c ${SKETCH}/as_c.c)
target_compile_definitions(sketch_c PRIVATE CMX_SKETCH=sketch_setup_c)
add_executable(sketch_cpp ${SKETCH}/sketch_run.c ${SKETCH}/as_cpp.cpp)
target_compile_definitions(sketch_cpp PRIVATE CMX_SKETCH=sketch_setup_cpp)
foreach(program sketch_c sketch_cpp)
  target_link_libraries(${program} PRIVATE cmxsafe_idf)
endforeach()
