# XSCHED_HSA_SANITIZER=asan|tsan|ubsan builds everything of ours with that sanitizer; asan has the
# undefined-behaviour checks, too, so that one build finds both. What runs under which: HACKING.md.
set(XSCHED_HSA_SANITIZER "" CACHE STRING "asan, tsan, ubsan or empty")
if(XSCHED_HSA_SANITIZER STREQUAL "asan")
  # No vptr check: it needs run-time types, which the layer is built without.
  add_compile_options(-fsanitize=address,undefined -fno-sanitize=vptr
                      -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(XSCHED_HSA_SANITIZER STREQUAL "tsan")
  # It does not know atomic_thread_fence; GCC says so at each one.
  add_compile_options(-fsanitize=thread -Wno-tsan)
  add_link_options(-fsanitize=thread)
elseif(XSCHED_HSA_SANITIZER STREQUAL "ubsan")
  add_compile_options(-fsanitize=undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=undefined)
elseif(NOT XSCHED_HSA_SANITIZER STREQUAL "")
  message(FATAL_ERROR "XSCHED_HSA_SANITIZER is '${XSCHED_HSA_SANITIZER}'; use asan, tsan or ubsan")
endif()

# XSCHED_HSA_FUZZ=ON (with Clang): everything is instrumented, tests/fuzz are libFuzzer programs.
option(XSCHED_HSA_FUZZ "Build fuzz targets for libFuzzer" OFF)
if(XSCHED_HSA_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
endif()
