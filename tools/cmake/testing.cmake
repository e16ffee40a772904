# What a test says, not how fast it says it; what it tests is optimised as it ships.
function(xsched_hsa_test_flags name)
  xsched_hsa_warnings(${name})
  target_compile_options(${name} PRIVATE -O0)
endfunction()

# Under a sanitizer everything takes several times as long (and in tests/support/process.h).
set(XSCHED_HSA_PATIENCE 1)
if(XSCHED_HSA_SANITIZER MATCHES "asan|tsan")
  set(XSCHED_HSA_PATIENCE 5)
endif()

# xsched_hsa_script_tests(TIMEOUT s TESTS ...) for tests of label vgpu that are not gtest's.
function(xsched_hsa_script_tests)
  cmake_parse_arguments(T "" "TIMEOUT" "TESTS" ${ARGN})
  math(EXPR T_TIMEOUT "${T_TIMEOUT} * ${XSCHED_HSA_PATIENCE}")
  set_tests_properties(${T_TESTS} PROPERTIES LABELS vgpu TIMEOUT ${T_TIMEOUT})
endfunction()

# xsched_hsa_test(name LABEL unit|vgpu|gpu SOURCES ... LIBS ... [TIMEOUT s] [SERIAL])
# One gtest binary; each TEST becomes a ctest of its own. `unit` needs nothing but the build tree,
# `vgpu` starts processes under the virtual GPU, `gpu` needs an MI-series device.
function(xsched_hsa_test name)
  cmake_parse_arguments(T "SERIAL" "LABEL;TIMEOUT;PREFIX" "SOURCES;LIBS" ${ARGN})
  if(NOT BUILD_TESTING)
    return()
  endif()
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 60)
  endif()
  math(EXPR T_TIMEOUT "${T_TIMEOUT} * ${XSCHED_HSA_PATIENCE}")
  add_executable(${name} ${T_SOURCES})
  xsched_hsa_test_flags(${name})
  target_precompile_headers(${name} REUSE_FROM xsched_hsa_precompiled_tests)
  target_link_libraries(${name} PRIVATE ${T_LIBS} GTest::gtest GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_compile_definitions(${name} PRIVATE XSCHED_HSA_BIN_DIR="${CMAKE_BINARY_DIR}/bin"
                             XSCHED_HSA_LIB_DIR="${CMAKE_BINARY_DIR}/lib"
                             XSCHED_HSA_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  set(props LABELS ${T_LABEL} TIMEOUT ${T_TIMEOUT})
  if(T_SERIAL)
    list(APPEND props RUN_SERIAL TRUE)
  endif()
  set(prefix)
  if(T_PREFIX)
    set(prefix TEST_PREFIX ${T_PREFIX})
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 30 ${prefix} PROPERTIES ${props})
endfunction()
