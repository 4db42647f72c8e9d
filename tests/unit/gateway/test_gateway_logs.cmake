target_link_libraries(${name} PRIVATE cmxsafe_parts)
target_link_options(${name} PRIVATE "-Wl,--wrap=gw_idsock_events")
