/* sdk_tool.c: what makes a library a rocprofiler-sdk tool. */
void* rocprofiler_configure(void);
void* rocprofiler_configure(void) { return 0; }
