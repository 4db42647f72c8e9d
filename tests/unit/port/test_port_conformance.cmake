file(GLOB conformance_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/port_conformance/*.c)
target_sources(test_port_conformance PRIVATE ${conformance_sources})
