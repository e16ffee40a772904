// log_sinks.h: where the controller's lines go: stderr, or the journal with their fields.
//
// Why        Everybody's gates wait for the controller's thread, so it waits for nobody who reads its lines: not for a pipe, and
//            not for a journald that is stopped or swapped out, as sd_journal_send would.
// Threads    the controller's.
// Errors     none: what is not taken at once is lost.
// Limits     lines to stderr are cut at PIPE_BUF.
// See        stderr_line.h; systemd's "Native Journal Protocol".
#pragma once

#include <spdlog/spdlog.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace xsched_hsa {

// Does our standard error go to the journal?
bool LogsToTheJournal();

using JournalFields = std::vector<std::pair<std::string, std::string>>;
// One datagram of the journal's protocol.
std::string JournalEntry(const JournalFields& fields);
void SendToJournal(const JournalFields& fields);

// The journal has a time and a priority of its own for each line; elsewhere they are in the text.
std::shared_ptr<spdlog::logger> MakeLogger();

}  // namespace xsched_hsa
