# cmake --install build --prefix PREFIX: programs, manual pages, completion, documentation and examples below the prefix. The unit
# of cmxsafed and its configuration assume the prefix /usr: the Debian packages install them (scripts/package.sh), and this file
# installs them only as examples.
include(GNUInstallDirs)

install(TARGETS cmxsafed RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
if(CMX_AGENT)
  install(FILES packaging/man/cmxsafed.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
  install(FILES packaging/man/cmxsafed.conf.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
  return()
endif()
install(TARGETS cmxsafe cmxsafe-board RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS cmxsafe-authkeys RUNTIME DESTINATION lib/cmxsafe) # where `cmxsafe gateway` looks for the helper
file(GLOB CMX_MAN_PAGES CONFIGURE_DEPENDS packaging/man/*.[158])
foreach(page ${CMX_MAN_PAGES})
  string(REGEX MATCH "[158]$" volume ${page})
  install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${volume})
endforeach()
foreach(program cmxsafe cmxsafed cmxsafe-board)
  install(FILES packaging/completion/cmxsafe DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME ${program})
endforeach()
install(DIRECTORY packaging/monitoring DESTINATION ${CMAKE_INSTALL_DATADIR}/cmxsafe)
file(GLOB CMX_DOCS CONFIGURE_DEPENDS docs/*.md)
install(FILES README.md SECURITY.md LICENSE ${CMX_DOCS} DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES packaging/agent/cmxsafed.service packaging/agent/cmxsafed-reboot.path packaging/agent/cmxsafed-reboot.service packaging/agent/cmxsafed-mirror@.service packaging/agent/cmxsafed-isolation.service packaging/agent/isolation.conf packaging/agent/low-ports.conf packaging/agent/tpm.conf examples/linux/cmxsafed.conf
  DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
