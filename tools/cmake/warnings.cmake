# xsched_hsa_warnings(target): the warnings every first-party target is built with.
function(xsched_hsa_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
                         -Wimplicit-fallthrough -Wundef -Wvla $<$<BOOL:${XSCHED_HSA_WERROR}>:-Werror>)
endfunction()
option(XSCHED_HSA_WERROR "Treat warnings as errors" ON)
