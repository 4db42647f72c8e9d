# cmx_embed(TARGET NAME FILE): adds the text of FILE, followed by a NUL, to TARGET as `const char NAME[]`.
function(cmx_embed target name file)
  set(source ${CMAKE_BINARY_DIR}/embed/${name}.c)
  file(READ ${CMAKE_SOURCE_DIR}/${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  file(CONFIGURE OUTPUT ${source} CONTENT "extern const char ${name}[];\nconst char ${name}[] = {${bytes}0};\n" @ONLY)
  set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${file})
  target_sources(${target} PRIVATE ${source})
endfunction()
