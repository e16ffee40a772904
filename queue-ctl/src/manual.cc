#include "manual.h"

#include "version.h"

namespace xsched_hsa {

ManText Manual() {
  ManText text;
  text.section = 8;
  text.version = kVersion;
  text.description =
      "The controller of xsched-hsa: programs whose ROCm runtime has loaded the layer join it, and "
      "it "
      "decides which of their GPU queues give way to which. One serves a machine, run as root or "
      "by "
      "systemd; or each user runs one.\n\n"
      "When it goes, whatever way, every program passes freely within 70 ms, and joins the next "
      "controller by itself.";
  text.sections = {
      {"EXIT STATUS",
       "  0  it was asked to leave, or nobody was there\n"
       "  2  it could not start as asked; one line on standard error says why"},
      {"FILES",
       "  /run/xsched-hsa/control.sock       the socket of a controller run as root\n"
       "  /etc/xsched-hsa/config.toml        its configuration\n"
       "  /etc/xsched-hsa/config.d/*.toml    read after it"},
      {"SIGNALS",
       "  SIGTERM, SIGINT  open every gate and leave\n  SIGHUP  read the configuration again"},
      {"SEE ALSO", "xsched-hsa-ctl(1)"}};
  return text;
}

}  // namespace xsched_hsa
