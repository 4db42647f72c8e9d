target_link_libraries(cmxsafed_parts PUBLIC PkgConfig::INIH)
# Loaded when they are needed, not linked.
target_include_directories(cmxsafed_parts SYSTEM PRIVATE ${SECCOMP_INCLUDE_DIRS} ${NFTABLES_INCLUDE_DIRS})
cmx_soname(cmxsafed_parts SECCOMP seccomp)
cmx_soname(cmxsafed_parts NFTABLES nftables)
