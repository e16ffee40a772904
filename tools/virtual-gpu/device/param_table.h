// param_table.h: the table of the device model's parameters: name, unit, how sure, source.
//
// Why        One list serves the replay file's "params", virtual-gpu-replay --params, and the table
//            in docs/virtual-gpu.md, which param_table_test.cc compares with it.
// Sureness   read: in a driver's or runtime's source; seen: in a document, log or dump; fitted: see
//            ../calibration; assumed: nobody has measured it; model: of the simulation itself.
// Units      values in the unit that each row names; a list is one number per SE of an XCC.
// Errors     SetParam throws std::runtime_error for a name that is not in the table.
// See        device_params.h, whose fields these are
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "device_params.h"

namespace virtual_gpu {

void SetParam(DeviceParams* params, const std::string& name, const nlohmann::json& value);
// name -> value.
nlohmann::json ParamsJson(const DeviceParams& params);
// The table as Markdown, with the values of `params`.
std::string ParamTable(const DeviceParams& params);

}  // namespace virtual_gpu
