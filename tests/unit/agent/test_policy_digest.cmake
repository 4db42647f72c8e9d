target_link_libraries(${name} PRIVATE cmxsafed_parts)
