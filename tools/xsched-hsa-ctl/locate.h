// locate.h: finds the project's other parts relative to this executable.
//
// Why        The build tree and an installation have the same layout: bin/ beside lib/.
// Errors     an empty path when nothing is there; SearchedPlaces says where we looked.
#pragma once

#include <string>

namespace xsched_hsa {

std::string FindController();  // xsched-hsad
std::string FindBeside(const std::string& program);
std::string FindLayer();  // libxsched-hsa.so
std::string SearchedLayerPlaces();

}  // namespace xsched_hsa
