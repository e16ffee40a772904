/* api-program: an HSA program in C99 that says what it does by xsched_hsa.h.
 *
 * Why        The header must work in C, with the layer and without it.
 * Output     one word or number a line: "present 0|1", "begin RESULT", ...; "ready" when it pauses for a
 *            line on its standard input.
 * Errors     exit 1 with one line; no GPU agent: exit 77.
 */
#include <hsa/hsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xsched_hsa.h>

static void Check(hsa_status_t status, const char *what) {
  if (status == HSA_STATUS_SUCCESS) return;
  fprintf(stderr, "api-program: %s failed with status 0x%x\n", what, (unsigned)status);
  exit(1);
}

static hsa_status_t FindGpu(hsa_agent_t agent, void *data) {
  hsa_device_type_t type;
  hsa_agent_get_info(agent, HSA_AGENT_INFO_DEVICE, &type);
  if (type != HSA_DEVICE_TYPE_GPU) return HSA_STATUS_SUCCESS;
  *(hsa_agent_t *)data = agent;
  return HSA_STATUS_INFO_BREAK;
}

static void Say(const char *what, int result) {
  printf("%s %d\n", what, result);
  fflush(stdout);
}

static void Pause(void) {
  char line[16];
  printf("ready\n");
  fflush(stdout);
  if (fgets(line, sizeof line, stdin) == 0) exit(0);
}

/* Requests of 2 ms without and one of 20 ms with a deadline of 1 ms. */
static void MarkRequests(void) {
  uint64_t request = 0;
  int i;
  for (i = 0; i < 5; ++i) {
    if (xsched_hsa_request_begin(0, &request) != XSCHED_HSA_OK) return;
    usleep(2000);
    xsched_hsa_request_end(request);
  }
  xsched_hsa_request_begin(1000, &request);
  usleep(20000);
  Say("end", xsched_hsa_request_end(request));
  Say("again", xsched_hsa_request_end(request));
}

int main(int argc, char **argv) {
  hsa_agent_t gpu = {0};
  hsa_queue_t *queue = 0, *second = 0;
  uint64_t request = 7;
  xsched_hsa_state state;
  Say("before", xsched_hsa_request_begin(0, &request));
  if (argc > 1 && strcmp(argv[1], "--no-hsa") == 0) return request == 0 ? 0 : 1;
  Check(hsa_init(), "hsa_init");
  hsa_iterate_agents(FindGpu, &gpu);
  if (gpu.handle == 0) return 77;
  Say("present", xsched_hsa_present());
  Check(hsa_queue_create(gpu, 256, HSA_QUEUE_TYPE_MULTI, 0, 0, UINT32_MAX, UINT32_MAX, &queue),
        "hsa_queue_create");
  Say("thread", xsched_hsa_set_thread_priority(XSCHED_HSA_PRIORITY_HIGH));
  Check(hsa_queue_create(gpu, 256, HSA_QUEUE_TYPE_MULTI, 0, 0, UINT32_MAX, UINT32_MAX, &second),
        "hsa_queue_create");
  Say("queue", xsched_hsa_set_queue_priority(queue, 3));
  Say("bad", xsched_hsa_set_queue_priority(queue, 16));
  Say("unknown", xsched_hsa_set_queue_priority(&gpu, 3));
  Say("null", xsched_hsa_request_begin(0, 0));
  MarkRequests();
  memset(&state, 0, sizeof state);
  state.size_bytes = sizeof state;
  Say("state", xsched_hsa_get_state(&state));
  Say("queues", (int)state.queues);
  Say("ended", (int)state.requests_ended);
  Say("missed", (int)state.requests_missed);
  xsched_hsa_request_begin(3600000000u, &request);
  Pause();
  xsched_hsa_request_end(request);
  Check(hsa_queue_destroy(second), "hsa_queue_destroy");
  Check(hsa_queue_destroy(queue), "hsa_queue_destroy");
  Check(hsa_shut_down(), "hsa_shut_down");
  return 0;
}
