// top_screen.h: the terminal of `top`, and nothing that knows what is on it.
//
// Why        The only file that sees curses, whose macros are many.
// Threads    one.
// Ownership  the terminal is given back when a Screen goes, also by a signal that ends the loop.
// Errors     Open is false where there is no usable terminal.
#pragma once

#include <string>
#include <vector>

namespace xsched_hsa {

class Screen {
 public:
  ~Screen();
  bool Open();
  // Lines beyond the height are cut; the line numbered `heading` is shown in reverse.
  void Draw(const std::vector<std::string>& lines, std::size_t heading);
  // A key, or 0 after that time or when the size has changed.
  int WaitForKey(double seconds);
  std::size_t columns() const;

 private:
  bool open_ = false;
};

}  // namespace xsched_hsa
