# HIP programs are built where hipcc is, as users build them; nothing that is installed needs HIP.
find_program(XSCHED_HSA_HIPCC hipcc)
# What the virtual GPU shows to this ROCr (tools/virtual-gpu/driver/gpu_model.cc: 1.12, ROCm 6.0, is the first that names
# gfx942). On an MI300 with an older one give gfx942.
find_package(hsa-runtime64 QUIET)
set(hip_arch gfx90a)
if(hsa-runtime64_VERSION VERSION_GREATER_EQUAL 1.12)
  set(hip_arch gfx942)
endif()
set(XSCHED_HSA_HIP_ARCH ${hip_arch} CACHE STRING "hipcc --offload-arch for the HIP programs")

# xsched_hsa_hip_program(name FOLDER folder SOURCE file [DEPENDS ...]): target `name`, built with all.
function(xsched_hsa_hip_program name)
  cmake_parse_arguments(P "" "FOLDER;SOURCE" "DEPENDS" ${ARGN})
  set(binary ${P_FOLDER}/${name})
  add_custom_command(OUTPUT ${binary}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${P_FOLDER}
    COMMAND ${XSCHED_HSA_HIPCC} --offload-arch=${XSCHED_HSA_HIP_ARCH} -std=c++17 -O2 -Wall -Wextra
            -o ${binary} ${CMAKE_CURRENT_SOURCE_DIR}/${P_SOURCE}
    DEPENDS ${P_SOURCE} ${P_DEPENDS} VERBATIM)
  add_custom_target(${name} ALL DEPENDS ${binary})
endfunction()
