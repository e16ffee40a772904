# debian.cmake: three packages: what runs (xsched-hsa), what programs compile against (-dev), and the
# device for machines without one, with the experiment (-virtual-gpu).
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME xsched-hsa)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "xsched-hsa maintainers <maintainers@xsched-hsa.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "preemptive scheduling for AMD Instinct GPUs")
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_COMPONENTS_ALL runtime dev virtual)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS OFF)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS OFF)

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME xsched-hsa)
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION "preemptive scheduling for AMD Instinct GPUs
 A layer for unmodified ROCm programs, a controller and a tool: while a request
 of an online model runs, an offline model on the same GPU is held back.")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SUGGESTS "libhsa-runtime64-1, bash-completion")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA
    "${CMAKE_CURRENT_SOURCE_DIR}/debian/postinst;${CMAKE_CURRENT_SOURCE_DIR}/debian/prerm;${CMAKE_CURRENT_SOURCE_DIR}/debian/postrm;${CMAKE_CURRENT_BINARY_DIR}/conffiles")
# What an administrator edits under /etc survives updates; a package of any other prefix has none.
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/conffiles "/etc/xsched-hsa/config.toml\n")

set(CPACK_DEBIAN_DEV_PACKAGE_NAME xsched-hsa-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_DEV_DESCRIPTION "header with which programs talk to xsched-hsa")

set(CPACK_DEBIAN_VIRTUAL_PACKAGE_NAME xsched-hsa-virtual-gpu)
set(CPACK_DEBIAN_VIRTUAL_PACKAGE_DEPENDS "python3")
set(CPACK_DEBIAN_VIRTUAL_PACKAGE_RECOMMENDS "xsched-hsa, libhsa-runtime64-1, libllvm19 | libllvm15")
set(CPACK_DEBIAN_VIRTUAL_DESCRIPTION "virtual MI GPU and the dual-model experiment of xsched-hsa")
include(CPack)
