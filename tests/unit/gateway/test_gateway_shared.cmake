if(PQ_FOUND)
  target_link_libraries(test_gateway_shared PRIVATE cmxsafe_parts)
  target_compile_definitions(test_gateway_shared PRIVATE SQLITE_ENABLE_SESSION SQLITE_ENABLE_PREUPDATE_HOOK)
else()
  # Without libpq the test is an empty program.
  file(WRITE ${CMAKE_BINARY_DIR}/test_gateway_shared_none.c "int main(void)\n{\n    return 0;\n}\n")
  set_target_properties(test_gateway_shared PROPERTIES SOURCES ${CMAKE_BINARY_DIR}/test_gateway_shared_none.c)
endif()
