cmx_feature(cmxsafed_parts SECCOMP libseccomp agent/confine/confine_seccomp.c agent/without/confine_seccomp_none.c SECCOMP seccomp)
cmx_feature(cmxsafed_parts NFTABLES libnftables agent/isolation/nft_load.c agent/without/nft_none.c NFTABLES nftables)
target_sources(cmxsafed_parts PRIVATE ${CMAKE_SOURCE_DIR}/${CMX_HEAP})
cmx_embed(cmxsafed_parts cmx_isolation_nft agent/isolation/isolation.nft)
