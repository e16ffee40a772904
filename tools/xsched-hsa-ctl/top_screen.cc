#include "top_screen.h"

#include <curses.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace xsched_hsa {

bool Screen::Open() {
  if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0) return false;
  const char* terminal = std::getenv("TERM");
  // initscr() would end the process where this fails.
  SCREEN* const screen = newterm(terminal, stdout, stdin);
  if (screen == nullptr) return false;
  set_term(screen);
  cbreak();
  noecho();
  keypad(stdscr, TRUE);
  curs_set(0);
  open_ = true;
  return true;
}

Screen::~Screen() {
  if (open_) endwin();
}

void Screen::Draw(const std::vector<std::string>& lines, std::size_t heading) {
  erase();
  const std::size_t height = static_cast<std::size_t>(std::max(0, LINES));
  for (std::size_t i = 0; i < std::min(lines.size(), height); ++i) {
    if (i == heading) attron(A_REVERSE);
    mvaddnstr(static_cast<int>(i), 0, lines[i].c_str(), std::max(0, COLS));
    if (i == heading) attroff(A_REVERSE);
  }
  refresh();
}

int Screen::WaitForKey(double seconds) {
  timeout(static_cast<int>(seconds * 1000));
  const int key = getch();
  return key == ERR || key == KEY_RESIZE ? 0 : key;
}

std::size_t Screen::columns() const { return static_cast<std::size_t>(std::max(0, COLS)); }

}  // namespace xsched_hsa
