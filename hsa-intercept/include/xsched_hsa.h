/* xsched_hsa.h: for programs that want to say more to xsched-hsa than their queues show.
 *
 * Why        A request's begin, end and deadline, and a priority for one queue or thread, are things
 *            that only the program knows. Everything works without them.
 * Threads    every function from any thread.
 * Needs      C99 or C++ with GCC or Clang, and dlopen (link with -ldl on old C libraries). There is no
 *            library to link: the functions are looked up in the layer, libxsched-hsa.so, if that is
 *            in this process. Where it is not, each call is a no-op that says so by its result.
 * Cost       without the layer one lookup a call (about a microsecond); with it the lookup is made once.
 * Units      microseconds and milliseconds by the name's suffix; priorities 0..15, higher first.
 * Errors     0 is success; XSCHED_HSA_ABSENT, XSCHED_HSA_BAD_ARGUMENT, XSCHED_HSA_NOT_FOUND. Nothing is
 *            thrown, printed or aborted.
 * ABI        structs begin with their size, set by the caller; functions are only added.
 */
#ifndef XSCHED_HSA_H
#define XSCHED_HSA_H

#include <dlfcn.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define XSCHED_HSA_API_VERSION 1

enum {
  XSCHED_HSA_OK = 0,
  XSCHED_HSA_ABSENT = 1,       /* the layer is not in this process, or not active in it */
  XSCHED_HSA_BAD_ARGUMENT = 2, /* a priority outside 0..15, a null pointer */
  XSCHED_HSA_NOT_FOUND = 3,    /* no such queue here */
  XSCHED_HSA_FULL = 4          /* more open requests than the layer remembers (256) */
};

#define XSCHED_HSA_PRIORITY_LOW 0
#define XSCHED_HSA_PRIORITY_NORMAL 7
#define XSCHED_HSA_PRIORITY_HIGH 15
#define XSCHED_HSA_PRIORITY_DEFAULT (-1) /* as the program's environment has it */

typedef struct xsched_hsa_state {
  uint32_t size_bytes;        /* in: sizeof(xsched_hsa_state); out: how much of it is filled in */
  uint32_t attached;          /* 1: a controller is there */
  int32_t priority;           /* of the process, as its environment asked */
  uint32_t queues;            /* that the layer manages now */
  uint32_t queues_held;       /* whose gate is closed now */
  uint32_t queues_restricted; /* squeezed or suspended now */
  uint64_t packets_held;      /* of the queues that exist now, since they were made */
  uint64_t holds;
  uint64_t held_us;
  uint64_t requests_begun, requests_ended, requests_missed;
} xsched_hsa_state;

/* ------------------------------------------------------------------- what the layer exports */
typedef int (*xsched_hsa_request_begin_fn)(uint64_t deadline_us, uint64_t* request);
typedef int (*xsched_hsa_request_end_fn)(uint64_t request);
typedef int (*xsched_hsa_set_queue_priority_fn)(const void* hsa_queue, int32_t priority);
typedef int (*xsched_hsa_set_thread_priority_fn)(int32_t priority);
typedef int (*xsched_hsa_get_state_fn)(xsched_hsa_state* state);

/* The layer's function of that name, or null. RTLD_NOLOAD: nothing is ever loaded from here. ROCr
 * loads the layer with RTLD_LOCAL, so that its names are not in the global scope. */
static inline void* xsched_hsa_lookup_(const char* name) {
  void* layer = dlopen("libxsched-hsa.so", RTLD_LAZY | RTLD_NOLOAD);
  void* found;
  if (layer == 0) return 0;
  found = dlsym(layer, name);
  dlclose(layer); /* only our reference; the layer is never unloaded */
  return found;
}

/* Each keeps what it has found; a program may call before ROCr has loaded the layer. */
#define XSCHED_HSA_FOUND_(type, name)                     \
  static void* found_ = 0;                                \
  void* at_ = __atomic_load_n(&found_, __ATOMIC_RELAXED); \
  type call_;                                             \
  if (at_ == 0) {                                         \
    at_ = xsched_hsa_lookup_(name);                       \
    __atomic_store_n(&found_, at_, __ATOMIC_RELAXED);     \
  }                                                       \
  *(void**)(&call_) = at_;

/* ------------------------------------------------------------------- for programs */

/* 1 if the layer is in this process (whether or not a controller is there). */
static inline int xsched_hsa_present(void) {
  return xsched_hsa_lookup_("xsched_hsa_layer_get_state") != 0;
}

/* A request begins; it has so many microseconds (0: no deadline). *request names it; 0 if the layer
 * is absent, which xsched_hsa_request_end takes, too. Deadlines are read by policies that know them. */
static inline int xsched_hsa_request_begin(uint64_t deadline_us, uint64_t* request) {
  XSCHED_HSA_FOUND_(xsched_hsa_request_begin_fn, "xsched_hsa_layer_request_begin")
  if (request == 0) return XSCHED_HSA_BAD_ARGUMENT;
  *request = 0;
  return call_ != 0 ? call_(deadline_us, request) : XSCHED_HSA_ABSENT;
}

static inline int xsched_hsa_request_end(uint64_t request) {
  XSCHED_HSA_FOUND_(xsched_hsa_request_end_fn, "xsched_hsa_layer_request_end")
  return call_ != 0 ? call_(request) : XSCHED_HSA_ABSENT;
}

/* `hsa_queue` is an hsa_queue_t*. An operator's order (xsched-hsa-ctl) comes before it. */
static inline int xsched_hsa_set_queue_priority(const void* hsa_queue, int32_t priority) {
  XSCHED_HSA_FOUND_(xsched_hsa_set_queue_priority_fn, "xsched_hsa_layer_set_queue_priority")
  return call_ != 0 ? call_(hsa_queue, priority) : XSCHED_HSA_ABSENT;
}

/* Of all queues that this thread makes from now on. HIP makes a stream's queue when the stream is
 * first used, in the thread that uses it, and shares queues between streams. */
static inline int xsched_hsa_set_thread_priority(int32_t priority) {
  XSCHED_HSA_FOUND_(xsched_hsa_set_thread_priority_fn, "xsched_hsa_layer_set_thread_priority")
  return call_ != 0 ? call_(priority) : XSCHED_HSA_ABSENT;
}

static inline int xsched_hsa_get_state(xsched_hsa_state* state) {
  XSCHED_HSA_FOUND_(xsched_hsa_get_state_fn, "xsched_hsa_layer_get_state")
  return call_ != 0 ? call_(state) : XSCHED_HSA_ABSENT;
}

#undef XSCHED_HSA_FOUND_

#ifdef __cplusplus
}
#endif
#endif
