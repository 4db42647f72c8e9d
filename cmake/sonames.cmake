# Libraries that programs load when they need them (port/linux/library.h). cmx_soname(TARGET NAME library): defines
# CMX_SONAME_NAME, the soname of the library that -llibrary finds, and CMX_PACKAGE_NAME, the Debian package of this library ("" if
# dpkg does not know it).
function(cmx_soname target name library)
  find_library(CMX_LIBRARY_${name} ${library} REQUIRED)
  mark_as_advanced(CMX_LIBRARY_${name})
  execute_process(COMMAND ${CMAKE_OBJDUMP} -p ${CMX_LIBRARY_${name}} OUTPUT_VARIABLE headers ERROR_QUIET)
  if(NOT headers MATCHES "SONAME +([^ \n]+)")
    message(FATAL_ERROR "${CMX_LIBRARY_${name}} has no soname")
  endif()
  set(soname ${CMAKE_MATCH_1})
  set(package "")
  execute_process(COMMAND dpkg-query -S "*/${soname}" OUTPUT_VARIABLE owner ERROR_QUIET RESULT_VARIABLE unknown)
  if(unknown EQUAL 0 AND owner MATCHES "^([^:, ]+)")
    set(package ${CMAKE_MATCH_1})
  endif()
  target_compile_definitions(${target} PRIVATE CMX_SONAME_${name}="${soname}" CMX_PACKAGE_${name}="${package}")
endfunction()
