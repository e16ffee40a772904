#include "faults.h"

#include <errno.h>

#include <charconv>
#include <string_view>

namespace virtual_gpu {
namespace {

struct Name {
  const char* text;
  FaultKind fault;
  std::int64_t number;  // when none is given; -1: one must be
};
constexpr Name kNames[] = {
    {"preempt-timeout", FaultKind::kPreemptTimeout, 1},
    {"eio", FaultKind::kIo, 1},
    {"create-fails", FaultKind::kCreateFails, 1},
    {"update-fails", FaultKind::kUpdateFails, 1},
    {"hung-wave", FaultKind::kHungWave, 1},
    {"lost-event", FaultKind::kLostEvent, 1},
    {"die", FaultKind::kDie, 0},
    {"evict", FaultKind::kEvict, -1},
    {"restore", FaultKind::kRestore, -1},
};

struct ErrnoName {
  const char* text;
  int value;
};
constexpr ErrnoName kErrnos[] = {
    {"EPERM", EPERM},   {"EIO", EIO},     {"ENOMEM", ENOMEM},
    {"EACCES", EACCES}, {"EBUSY", EBUSY}, {"EINVAL", EINVAL},
    {"ENOSPC", ENOSPC}, {"ETIME", ETIME}, {"EFAULT", EFAULT},
};

bool ToNumber(std::string_view text, std::int64_t* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && *value >= 0;
}

bool ToErrno(std::string_view text, int* value) {
  for (const ErrnoName& name : kErrnos) {
    if (text == name.text) {
      *value = name.value;
      return true;
    }
  }
  std::int64_t number = 0;
  if (!ToNumber(text, &number) || number < 1 || number > 4095) return false;
  *value = static_cast<int>(number);
  return true;
}

}  // namespace

std::string FaultNames() {
  std::string all;
  for (const Name& name : kNames) all += (all.empty() ? "" : ", ") + std::string(name.text);
  return all;
}

bool ParseFault(const std::string& text, FaultRequest* request, std::string* error) {
  std::string_view rest = text;
  const auto bad = [&](const char* why) {
    *error = "fault '" + text + "': " + why + "; known: " + FaultNames();
    return false;
  };
  if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
    std::int64_t gpu = 0;
    if (!ToNumber(rest.substr(at + 1), &gpu) || gpu >= rpc::kGpusMax) return bad("no such GPU");
    request->gpu = static_cast<std::uint32_t>(gpu);
    rest = rest.substr(0, at);
  }
  const std::size_t colon = rest.find(':');
  std::string_view argument =
      colon == std::string_view::npos ? std::string_view() : rest.substr(colon + 1);
  const Name* found = nullptr;
  for (const Name& name : kNames) {
    if (rest.substr(0, colon) == name.text) found = &name;
  }
  if (found == nullptr) return bad("unknown name");
  request->fault = found->fault;
  request->number = found->number;
  if (found->fault == FaultKind::kCreateFails || found->fault == FaultKind::kUpdateFails) {
    const std::size_t comma = argument.find(',');
    if (!ToErrno(argument.substr(0, comma), &request->error)) return bad("needs an errno");
    if (comma == std::string_view::npos) return true;
    argument = argument.substr(comma + 1);
  } else if (colon == std::string_view::npos) {
    return found->number >= 0 || bad("needs a pid");
  }
  return ToNumber(argument, &request->number) || bad("the number is none");
}

void Faults::Arm(const FaultRequest& request) {
  std::lock_guard lock(mutex_);
  OfGpu& gpu = gpus_[request.gpu];
  gpu.left[static_cast<std::size_t>(request.fault)] += request.number;
  gpu.error[static_cast<std::size_t>(request.fault)] = request.error;
}

bool Faults::Take(FaultKind fault, std::uint32_t gpu) {
  std::lock_guard lock(mutex_);
  std::int64_t& left = gpus_[gpu].left[static_cast<std::size_t>(fault)];
  if (left == 0) return false;
  --left;
  ++taken_[static_cast<std::size_t>(fault)];
  return true;
}

std::int64_t Faults::Taken(FaultKind fault) const {
  std::lock_guard lock(mutex_);
  return taken_[static_cast<std::size_t>(fault)];
}

int Faults::TakeError(FaultKind fault, std::uint32_t gpu) {
  if (!Take(fault, gpu)) return 0;
  std::lock_guard lock(mutex_);
  return gpus_[gpu].error[static_cast<std::size_t>(fault)];
}

}  // namespace virtual_gpu
