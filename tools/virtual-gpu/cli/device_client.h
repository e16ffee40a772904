// device_client.h: a launcher's connection to a device process, and where named ones live.
//
// Why        run, start, stop and stats talk to virtual-gpud without being one of its processes.
// Threads    one.
// Errors     Connect returns false when nobody answers; the rest return false when the device
// process
//            hung up.
#pragma once

#include <filesystem>
#include <string>

#include "rpc_protocol.h"

namespace virtual_gpu::cli {

class DeviceClient {
 public:
  DeviceClient() = default;
  ~DeviceClient();
  DeviceClient(const DeviceClient&) = delete;
  DeviceClient& operator=(const DeviceClient&) = delete;

  bool Connect(const std::filesystem::path& socket);
  // From now on this connection keeps the device process alive.
  bool Watch(rpc::HelloReply* description);
  // `with_cus`: with the places of each queue's workgroups.
  bool Stats(bool with_cus, std::string* json);
  // A fault on request (../driver/faults.h). False: *error is one line.
  bool ArmFault(const std::string& fault, std::string* error);
  bool Shutdown();
  // Until the device process has closed its end, at most `timeout_ms`.
  bool WaitForEnd(int timeout_ms);

 private:
  bool Call(rpc::Kind kind, std::uint32_t number, void* arg, std::uint32_t arg_bytes, int* fd);

  int fd_ = -1;
};

// "name" must be letters, digits, '-', '_' or '.'; false otherwise.
bool ValidDeviceName(const std::string& name);
// $XDG_RUNTIME_DIR, if that is an absolute path that can be written, or /tmp; in it a folder of this user, then the name.
std::filesystem::path DeviceDirectory(const std::string& name);

}  // namespace virtual_gpu::cli
