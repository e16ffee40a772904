#include "workload.h"

#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "install_paths.h"

namespace dual_model {
namespace {

using nlohmann::json;

// json's own accessors throw; one place turns that into a line of text.
std::uint64_t Positive(const json& value, const char* what, std::uint64_t max) {
  if (!value.is_number() || value.get<double>() < 0 || value.get<double>() > double(max)) {
    throw std::runtime_error(std::string(what) + " is not a number from 0 to " +
                             std::to_string(max));
  }
  return static_cast<std::uint64_t>(std::llround(value.get<double>()));
}

std::uint64_t Product(const json& dimensions, const char* what, std::uint64_t max) {
  if (!dimensions.is_array() || dimensions.empty() || dimensions.size() > 3) {
    throw std::runtime_error(std::string(what) + " is not a list of one to three dimensions");
  }
  std::uint64_t product = 1;
  for (const json& dimension : dimensions) {
    const std::uint64_t extent = Positive(dimension, what, max);
    if (extent == 0 || product > max / extent) {
      throw std::runtime_error(std::string(what) + " is empty or larger than " +
                               std::to_string(max));
    }
    product *= extent;
  }
  return product;
}

TraceKernel ParseKernel(const json& entry) {
  constexpr std::uint64_t kGridMax = std::numeric_limits<std::uint32_t>::max();
  TraceKernel kernel;
  kernel.name = entry.value("name", "");
  kernel.workgroups = Product(entry.at("grid"), "grid", kGridMax);
  kernel.work_items =
      static_cast<std::uint32_t>(Product(entry.at("block"), "block", kWorkItemsMax));
  kernel.registers = static_cast<std::uint32_t>(Positive(entry.at("regs"), "regs", 256));
  kernel.lds_bytes = static_cast<std::uint32_t>(Positive(entry.at("lds"), "lds", 1u << 20));
  kernel.duration_ns = Positive(entry.at("ns"), "ns", 1'000'000'000'000);
  if (kernel.workgroups > kGridMax / kernel.work_items) {
    throw std::runtime_error("grid times block exceeds 2^32 - 1 work-items");
  }
  if (kernel.duration_ns == 0) throw std::runtime_error("ns is 0");
  return kernel;
}

TraceModel ParseModel(const json& root, const std::string& model_name) {
  const json& models = root.at("models");
  if (!models.contains(model_name)) {
    std::string known;
    for (const auto& item : models.items()) known += (known.empty() ? "" : ", ") + item.key();
    throw std::runtime_error("has no model '" + model_name + "'; it has " + known);
  }
  const json& entry = models.at(model_name);
  TraceModel model;
  model.gpu = root.value("gpu", "unknown GPU");
  model.name = model_name;
  model.batch = entry.value("batch", 1u);
  if (entry.contains("latency")) model.request_ms = entry["latency"].value("p50_ms", 0.0);
  const json& kernels = entry.at("kernels");
  if (!kernels.is_array() || kernels.empty() || kernels.size() > kKernelsMax) {
    throw std::runtime_error("model " + model_name + " has no kernels, or more than " +
                             std::to_string(kKernelsMax));
  }
  for (const json& kernel : kernels) {
    try {
      model.kernels.push_back(ParseKernel(kernel));
    } catch (const std::exception& e) {
      throw std::runtime_error("model " + model_name + ", kernel " +
                               std::to_string(model.kernels.size()) + ": " + e.what());
    }
  }
  return model;
}

}  // namespace

double TraceModel::KernelSumMs() const {
  double sum_ns = 0;
  for (const TraceKernel& kernel : kernels) sum_ns += static_cast<double>(kernel.duration_ns);
  return sum_ns / 1e6;
}

bool ParseModelSpec(std::string_view text, bool want_rate, ModelSpec* spec, std::string* error) {
  const std::string shape = want_rate ? "FILE:MODEL@RATE" : "FILE:MODEL";
  const std::string prefix = "'" + std::string(text) + "' is not " + shape + ": ";
  const std::size_t at = text.rfind('@');
  const std::size_t colon = text.substr(0, at).rfind(':');
  if (colon == std::string_view::npos || colon == 0) {
    *error = prefix + "no ':' after a file name";
    return false;
  }
  spec->file = text.substr(0, colon);
  spec->model = text.substr(0, at).substr(colon + 1);
  spec->rate_per_s = 0;
  if (spec->model.empty()) {
    *error = prefix + "the model's name is empty";
    return false;
  }
  if (want_rate != (at != std::string_view::npos)) {
    *error = prefix + (want_rate ? "add '@' and requests per second" : "take '@RATE' off");
    return false;
  }
  if (!want_rate) return true;
  const std::string_view rate = text.substr(at + 1);
  const auto [end, code] =
      std::from_chars(rate.data(), rate.data() + rate.size(), spec->rate_per_s);
  if (code != std::errc() || end != rate.data() + rate.size() || !(spec->rate_per_s > 0) ||
      spec->rate_per_s > 1e6) {
    *error = prefix + "the rate must be a number of requests per second above 0";
    return false;
  }
  return true;
}

bool ParseWorkload(std::string_view text, const std::string& file, const std::string& model_name,
                   TraceModel* model, std::string* error) {
  try {
    *model = ParseModel(json::parse(text), model_name);
    return true;
  } catch (const json::parse_error&) {
    *error = "workload file " + file + " is not JSON; use a file like workloads/resnet_h100.json";
  } catch (const json::exception& e) {
    *error = "workload file " + file + " lacks a field or has a wrong type: " + e.what();
  } catch (const std::exception& e) {
    *error = "workload file " + file + " " + e.what();
  }
  return false;
}

std::string WorkloadFolder() { return InstallPaths().share_folder + "/workloads"; }

bool LoadWorkload(const ModelSpec& spec, TraceModel* model, std::string* error) {
  std::string path = spec.file;
  if (!std::filesystem::exists(path) && path.find('/') == std::string::npos) {
    path = WorkloadFolder() + "/" + path;
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream || std::filesystem::is_directory(path)) {
    *error = "can't read workload file " + spec.file + "; give a file like " + WorkloadFolder() +
             "/resnet_h100.json";
    return false;
  }
  std::ostringstream text;
  text << stream.rdbuf();
  return ParseWorkload(text.str(), spec.file, spec.model, model, error);
}

}  // namespace dual_model
