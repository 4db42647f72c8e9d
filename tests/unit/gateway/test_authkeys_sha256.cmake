target_sources(test_authkeys_sha256 PRIVATE ${CMAKE_SOURCE_DIR}/gateway/authkeys/sha256_loaded.c)
cmx_soname(test_authkeys_sha256 CRYPTO crypto)
