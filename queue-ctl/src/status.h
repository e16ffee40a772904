// status.h: what an operation of the controller answers when it was asked by a tool.
#pragma once

#include <string>
#include <utility>

namespace xsched_hsa {

enum class StatusCode { kOk, kBadRequest, kNotFound, kPermission };

struct Status {
  StatusCode code = StatusCode::kOk;
  std::string text;

  bool ok() const { return code == StatusCode::kOk; }
  static Status Bad(std::string text) { return {StatusCode::kBadRequest, std::move(text)}; }
  static Status NotFound(std::string text) { return {StatusCode::kNotFound, std::move(text)}; }
  static Status Permission(std::string text) { return {StatusCode::kPermission, std::move(text)}; }
};

}  // namespace xsched_hsa
