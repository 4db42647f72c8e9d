# The program exports the board's socket functions, which use lwIP: shared libraries then call these functions instead
# of libc's.
target_link_libraries(isolation_board PRIVATE cmxsafe-board_parts)
target_include_directories(isolation_board SYSTEM PRIVATE /usr/include/lwip)
set_target_properties(isolation_board PROPERTIES ENABLE_EXPORTS ON)
target_link_options(isolation_board PRIVATE "-Wl,--wrap=raw_new_ip_type")
