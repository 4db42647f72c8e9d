target_link_libraries(${name} PRIVATE cmxsafe_parts)
target_link_options(${name} PRIVATE "-Wl,--wrap=cmx_stderr_line")
