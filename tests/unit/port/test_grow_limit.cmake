# Links the test with the allocation functions of cmxsafed.
target_link_libraries(test_grow_limit PRIVATE cmxsafe_wipe_free)
