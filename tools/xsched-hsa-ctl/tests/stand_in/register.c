/* register.c: stands for librocprofiler-register.so.0, by name only. */
int rocprofiler_register_stand_in(void);
int rocprofiler_register_stand_in(void) { return 0; }
