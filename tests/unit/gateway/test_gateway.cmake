target_link_libraries(test_gateway PRIVATE cmxsafe_parts)
target_link_options(test_gateway PRIVATE "-Wl,--wrap=fsync")
