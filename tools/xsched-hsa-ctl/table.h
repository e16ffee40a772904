// table.h: aligned columns for people.
#pragma once

#include <string>
#include <vector>

namespace xsched_hsa {

// The first row is the heading. Cells that are numbers are aligned right.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);

}  // namespace xsched_hsa
