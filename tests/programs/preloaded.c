/* preloaded.c: what a launcher preloads: its own hsa_queue_create before the runtime's, by symbol.
 *
 * Why        Shims of other schedulers and of memory limits come in by LD_PRELOAD; the layer by the runtime's
 *            tables, behind them.
 * Output     at the end of the program "preloaded: N queues" on stderr, if it made any.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <hsa/hsa.h>
#include <stdio.h>

static int queues;

__attribute__((visibility("default"))) hsa_status_t hsa_queue_create(
    hsa_agent_t agent, uint32_t size, hsa_queue_type32_t type,
    void (*callback)(hsa_status_t, hsa_queue_t*, void*), void* data, uint32_t private_bytes,
    uint32_t group_bytes, hsa_queue_t** queue) {
  static hsa_status_t (*next)(hsa_agent_t, uint32_t, hsa_queue_type32_t,
                              void (*)(hsa_status_t, hsa_queue_t*, void*), void*, uint32_t, uint32_t,
                              hsa_queue_t**);
  if (next == 0) *(void**)&next = dlsym(RTLD_NEXT, "hsa_queue_create");
  ++queues;
  return next(agent, size, type, callback, data, private_bytes, group_bytes, queue);
}

__attribute__((destructor)) static void Report(void) {
  if (queues != 0) fprintf(stderr, "preloaded: %d queues\n", queues);
}
