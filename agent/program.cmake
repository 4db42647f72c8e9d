target_link_libraries(cmxsafed_parts PUBLIC PkgConfig::INIH PkgConfig::SECCOMP)
target_link_libraries(cmxsafed_parts PUBLIC PkgConfig::NFTABLES)
