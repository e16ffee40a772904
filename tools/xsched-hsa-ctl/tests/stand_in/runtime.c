/* runtime.c: stands for a libhsa-runtime64.so.1 that is linked against rocprofiler-register.
 *
 * STAND_IN_SWITCH: one that knows HSA_TOOLS_ROCPROFILER_V1_TOOLS.
 */
#if STAND_IN_SWITCH
const char stand_in_switch[] = "HSA_TOOLS_ROCPROFILER_V1_TOOLS";
#endif
int rocprofiler_register_stand_in(void);
int hsa_runtime_stand_in(void);
int hsa_runtime_stand_in(void) { return rocprofiler_register_stand_in(); }
