#include "trace.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "arguments.h"
#include "ask.h"
#include "trace_format.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

constexpr char kRecordsOfAnother[] =
    "the controller's records are of another release; install tool and controller of one";

// Everything that "trace-read" has, in bits that keep no other program waiting.
int Fetch(Asker* asker, const json& stopped, Recording* recording) {
  recording->processes = stopped.value("processes", json::array());
  recording->gpus = stopped.value("gpus", json::array());
  recording->lost = stopped.value("lost", std::uint64_t{0});
  const auto total = stopped.value("events", std::uint64_t{0});
  const auto decisions = stopped.value("decisions", std::uint64_t{0});
  while (recording->records.size() < total || recording->decisions.size() < decisions) {
    json part;
    const json request = {{"op", "trace-read"},
                          {"from", recording->records.size()},
                          {"decisions_from", recording->decisions.size()}};
    if (const int code = asker->Ask(request, "records", &part)) return code;
    const std::size_t before = recording->records.size() + recording->decisions.size();
    for (const json& r : part.value("records", json::array())) {
      if (!r.is_array() || r.size() != 6) return Fail(kRecordsOfAnother, kExitNoController);
      recording->records.push_back({r[0].get<std::uint64_t>(), r[1].get<std::uint32_t>(),
                                    r[2].get<std::uint32_t>(), r[3].get<std::uint32_t>(),
                                    r[4].get<std::uint64_t>(), r[5].get<std::uint64_t>()});
    }
    for (json& one : part["decisions"]) recording->decisions.push_back(std::move(one));
    if (recording->records.size() + recording->decisions.size() == before) {
      return Fail("the recording was replaced while it was read; stop it again", kExitFailed);
    }
  }
  return 0;
}

}  // namespace

int TraceStart(const std::string& socket, bool as_json) {
  json reply;
  if (const int code = Asker(socket).Ask({{"op", "trace-start"}}, "sessions", &reply)) return code;
  if (as_json) {
    PrintJson(reply);
  } else {
    std::cout << "recording " << reply.value("sessions", 0)
              << " programs; 'xsched-hsa-ctl trace stop FILE' ends it\n";
  }
  return 0;
}

int TraceStatus(const std::string& socket, bool as_json) {
  json reply;
  if (const int code = Asker(socket).Ask({{"op", "trace-status"}}, "recording", &reply))
    return code;
  if (as_json) {
    PrintJson(reply);
  } else {
    std::cout << (reply.value("recording", false) ? "recording" : "not recording") << ", "
              << reply.value("events", std::uint64_t{0}) << " events, "
              << reply.value("lost", std::uint64_t{0}) << " lost\n";
  }
  return 0;
}

int TraceStop(const std::string& socket, const std::string& file, bool as_json) {
  const bool to_stdout = file == "-";
  Asker asker(socket);
  json stopped;
  // Asked first, and written beside it: neither a controller that is away nor one that goes in between
  // costs the user an old file.
  if (const int code = asker.Ask({{"op", "trace-status"}}, "recording", &stopped)) return code;
  const std::string part = file + ".part";
  std::FILE* out = to_stdout ? stdout : std::fopen(part.c_str(), "we");
  if (out == nullptr) {
    return Fail("cannot write " + part + ": " + std::strerror(errno) + "; the recording goes on",
                kExitFailed);
  }
  Recording recording;
  int code = asker.Ask({{"op", "trace-stop"}}, "events", &stopped);
  try {
    if (code == 0) code = Fetch(&asker, stopped, &recording);
  } catch (const json::exception&) {
    code = Fail(kRecordsOfAnother, kExitNoController);
  }
  const std::string text = code == 0 ? ChromeTrace(std::move(recording)) : "";
  bool written = std::fwrite(text.data(), 1, text.size(), out) == text.size();
  written = (to_stdout ? std::fflush(out) : std::fclose(out)) == 0 && written;
  if (code == 0 && written && !to_stdout) written = std::rename(part.c_str(), file.c_str()) == 0;
  const int error = errno;
  if (!to_stdout && (code != 0 || !written)) std::remove(part.c_str());
  if (code != 0) return code;
  if (!written) {
    return Fail("cannot write " + file + ": " + std::strerror(error) +
                    "; the recording is kept, stop it again into another file",
                kExitFailed);
  }
  if (to_stdout) return 0;
  if (as_json) {
    PrintJson(stopped);
  } else {
    std::cout << file << ": " << stopped.value("events", std::uint64_t{0}) << " events, "
              << stopped.value("lost", std::uint64_t{0}) << " lost; load it at ui.perfetto.dev\n";
  }
  return 0;
}

}  // namespace xsched_hsa
