# What `cmake --install` installs, and the Debian package that `cpack` makes of it.
#
# All of it goes below the prefix but for the component `etc`, the files of a service in
# /etc/holdfast, which are installed only when asked for (`cmake --install DIR --component etc`)
# and in the package.
include(GNUInstallDirs)

install(TARGETS holdfast RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES docs/holdfast.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES docs/holdfast.yaml.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES CHANGELOG.md docs/manual.md docs/runbook.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES deploy/holdfast.yaml DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES deploy/debian/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES deploy/completions/holdfast.bash RENAME holdfast
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES deploy/completions/_holdfast DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES deploy/completions/holdfast.fish
    DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

# The unit names the binary by the prefix of the installation, which may differ from the build's.
install(CODE "set(BINDIR \${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR})
set(unit \${CMAKE_INSTALL_PREFIX}/lib/systemd/system/holdfast.service)
configure_file(${CMAKE_SOURCE_DIR}/deploy/systemd/holdfast.service.in \$ENV{DESTDIR}\${unit} @ONLY)
list(APPEND CMAKE_INSTALL_MANIFEST_FILES \${unit})")

install(FILES deploy/holdfast.yaml deploy/environment DESTINATION /etc/holdfast
    COMPONENT etc EXCLUDE_FROM_ALL)

# -- the package --------------------------------------------------------------------------------
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR "Holdfast")
set(CPACK_PACKAGE_CONTACT "The Holdfast maintainers <maintainers@holdfast.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "proxy that keeps LLM work going when a provider fails")
set(CPACK_PACKAGE_DESCRIPTION
    "Programs point their OpenAI, Anthropic or Gemini base URL at Holdfast. Each request goes to\nthe \
providers of the configuration in their order; when one is down, slow or out of\nquota, the next one \
answers.")
set(CPACK_INSTALL_CMAKE_PROJECTS
    "${CMAKE_BINARY_DIR};holdfast;ALL;/" "${CMAKE_BINARY_DIR};holdfast;etc;/")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, ca-certificates")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${CMAKE_SOURCE_DIR}/deploy/debian/conffiles ${CMAKE_SOURCE_DIR}/deploy/debian/postinst
    ${CMAKE_SOURCE_DIR}/deploy/debian/prerm ${CMAKE_SOURCE_DIR}/deploy/debian/postrm)
include(CPack)
