target_link_libraries(${name} PRIVATE cmxsafe_parts)
