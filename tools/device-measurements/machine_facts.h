// machine_facts.h: what a measurement was made on, and whether somebody else is using the GPU.
//
// Sources    uname, /sys/module/amdgpu, the KFD's lists of queues; what is not readable is left out.
// Errors     none: an unknown fact is an absent one.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace device_measurements {

// {"kernel": ..., "amdgpu": {"version": ..., "cwsr_enable": ...}}
nlohmann::json MachineFacts();

// Processes but this one that have queues on the GPU. False: the driver shows no list here.
bool OtherUsers(std::uint32_t gpu_id, std::vector<int>* pids);

}  // namespace device_measurements
