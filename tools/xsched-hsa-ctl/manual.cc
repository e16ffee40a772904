#include "manual.h"

namespace xsched_hsa {

ManText Manual() {
  ManText text;
  text.section = 1;
  text.version = XSCHED_HSA_VERSION;
  text.description =
      "Runs unmodified ROCm programs under preemptive scheduling and talks to the controller, "
      "xsched-hsad(8). A program is named by its process id, one of its queues by PID:QUEUE; "
      "'list' shows both. Inside a container, and for programs in one, the id that the controller "
      "sees is asked first, then the one that the program itself sees.\n\n"
      "Who may do what: everybody sees and changes their own programs, root all.";
  text.sections = {
      {"EXIT STATUS",
       "  0  done\n"
       "  1  it ran and the answer is no: doctor found a fault, a file could not be written\n"
       "  2  wrong words, no such program or queue, not permitted; nothing was changed\n"
       "  3  no controller answers, or it is of another release; nothing was changed. run: the "
       "layer\n     did not come up in the program\n\n"
       "run returns the program's own status, or 128 and the signal that ended it."},
      {"ENVIRONMENT",
       "XSCHED_HSA_SOCKET names the controller's socket. The others are in the documentation's "
       "environment table."},
      {"EXAMPLES",
       "  xsched-hsa-ctl run --priority high -- python serve.py\n"
       "  xsched-hsa-ctl run --priority low -- python train.py\n"
       "  xsched-hsa-ctl top\n"
       "  xsched-hsa-ctl show 4711:1 --json\n"
       "  xsched-hsa-ctl trace start; sleep 5; xsched-hsa-ctl trace stop out.json"},
      {"SEE ALSO", "xsched-hsad(8)"}};
  return text;
}

}  // namespace xsched_hsa
