# Libraries that the operator's command needs in addition to the device library.
include(${CMAKE_SOURCE_DIR}/gateway/program.cmake)
target_link_libraries(cmxsafe_parts PUBLIC cmxsafe_registry)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
target_link_libraries(cmxsafe_parts PUBLIC PkgConfig::CURL)
