target_link_libraries(${name} PRIVATE cmxsafed_parts)
target_link_options(${name} PRIVATE "-Wl,--wrap=fopen")
