// wire_codec.h: bytes from and to the socket, as values.
//
// Why        Everything that arrives is hostile until it has passed here; no socket is needed to
//            test or to fuzz it.
// Threads    pure functions.
// Errors     a Parse function returns nothing and says why in one line that the sender will log.
// See        wire.h for the layouts; queue-ctl/tests/wire_codec_test.cc
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "queue-ctl/wire.h"
#include "session.h"

namespace xsched_hsa {

enum class MessageKind { kUnknown, kLayer, kTool };
MessageKind ClassifyMessage(std::span<const std::byte> message);

// pid and uid stay 0: the caller takes them from the socket.
std::optional<LayerInfo> ParseHello(std::span<const std::byte> message, std::string* why);
std::optional<std::string> ParseNote(std::span<const std::byte> message);

WelcomeMessage MakeWelcome(std::uint32_t session_id, std::int32_t peer_pid);
WelcomeMessage MakeRefusal(const std::string& text);

// At most `size` bytes up to the first NUL, with everything outside printable ASCII replaced: such
// text goes to logs, terminals and JSON.
std::string CleanText(const char* text, std::size_t size);

// A reply as the messages that carry it: '+' leads those with more to follow, '.' the last.
std::vector<std::string> SplitReply(const std::string& reply);

}  // namespace xsched_hsa
