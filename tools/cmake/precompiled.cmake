# One precompiled header for all test programs, which differ in no flag that these headers see. Compile time
# only, as where libraries have one: no source relies on a header that it does not include itself. GCC 12 forgets
# that precompiled system headers are system headers; a library in which it then warns of them goes without.
function(xsched_hsa_precompile_tests)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/precompiled_tests.cc CONTENT "int main() {}\n" @ONLY)
  add_executable(xsched_hsa_precompiled_tests ${CMAKE_BINARY_DIR}/precompiled_tests.cc)
  xsched_hsa_test_flags(xsched_hsa_precompiled_tests)
  target_link_libraries(xsched_hsa_precompiled_tests PRIVATE GTest::gtest nlohmann_json::nlohmann_json)
  target_precompile_headers(xsched_hsa_precompiled_tests PRIVATE
    <gtest/gtest.h> <nlohmann/json.hpp> <atomic> <chrono> <filesystem> <fstream> <functional> <map>
    <memory> <string> <thread> <vector>)
endfunction()
