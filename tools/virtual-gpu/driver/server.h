// server.h: the device process's socket, its clients and their life and death.
//
// Why        One thread answers every ioctl of every process; it never waits for a device. Packets
//            are the GPUs' threads' business.
// Threads    Run() is the server's thread; RequestStop() may be called from a signal handler.
// Ownership  owns the GPUs, the processes and the generated files.
// Limits     processes of the user who started it (and root's) may connect.
// Errors     Start returns false after one line on stderr; a bad client is disconnected; without a descriptor for it,
//            one that connects waits.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "connection.h"
#include "gpu.h"
#include "kfd_driver.h"
#include "proc_files.h"
#include "process.h"
#include "sim_clock.h"
#include "timers.h"

namespace virtual_gpu {

struct ServerOptions {
  std::filesystem::path directory;  // gets socket and root/; made when missing
  GpuModel model;
  std::uint32_t gpus = 1;
  double time_scale = 1.0;
  bool stay = false;  // otherwise it stops `grace_ms` after its last user
  std::int64_t grace_ms = 2000;
  bool strict = false;
  int ready_fd = -1;  // gets one byte when the socket listens
};

class Server {
 public:
  explicit Server(ServerOptions options);
  ~Server();
  bool Start();
  void Run();
  // Waits that long for something to do, does it, and returns how much it was. Public for the fuzz target.
  int Turn(int wait_ms);
  bool InUse() const { return users_ != 0; }
  static void RequestStop();

 private:
  bool Listen();
  void RemoveFiles();
  void Accept();
  void AcceptLater();
  // False: the connection is to be closed.
  bool ReceiveFrom(const std::shared_ptr<Connection>& connection);
  bool Dispatch(const Request& request);
  bool Hello(const Request& request);
  void Watch(const Request& request);
  void CountAsUser(Connection* connection);
  void SendStats(const Request& request);
  void Refresh(const Request& request);
  void ArmFault(const Request& request);
  void Close(int fd);
  void EndProcess(const std::shared_ptr<Process>& process);
  void ReapByPidFd(int fd);
  void CheckGrace();
  void ArmTimer();
  rpc::HelloReply Describe() const;
  std::string StatsJson(bool with_cus) const;

  const ServerOptions options_;
  SimClock clock_;
  Timers timers_;
  std::vector<std::unique_ptr<Gpu>> gpus_;
  ProcFiles proc_files_;
  std::unique_ptr<KfdDriver> driver_;
  std::map<int, std::shared_ptr<Connection>> connections_;
  ProcessTable processes_;
  std::uint64_t next_process_key_ = 1;
  std::uint64_t processes_seen_ = 0;
  std::uint32_t users_ = 0;
  std::int64_t unused_since_ns_ = 0;
  bool stop_ = false;
  int listen_fd_ = -1, epoll_fd_ = -1, timer_fd_ = -1;
};

}  // namespace virtual_gpu
