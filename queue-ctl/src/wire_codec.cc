#include "wire_codec.h"

#include <algorithm>
#include <cstring>

#include "queue-ctl/shared_page.h"

namespace xsched_hsa {
namespace {

constexpr std::size_t kChunkBytes = 32768;  // well below kWireMessageMax and the socket's buffer

template <typename T>
bool CopyOut(std::span<const std::byte> message, T* value) {
  if (message.size() != sizeof(T)) return false;
  std::memcpy(value, message.data(), sizeof(T));
  return true;
}

WireHeader MakeHeader(WireType type, std::size_t size) {
  return {kWireMagic, kAbiVersion, type, static_cast<std::uint32_t>(size)};
}

}  // namespace

MessageKind ClassifyMessage(std::span<const std::byte> message) {
  if (message.empty()) return MessageKind::kUnknown;
  const auto first = static_cast<char>(message[0]);
  if (first == '{') return MessageKind::kTool;
  return first == 'X' ? MessageKind::kLayer : MessageKind::kUnknown;
}

std::string CleanText(const char* text, std::size_t size) {
  std::string clean(text, strnlen(text, size));
  for (char& c : clean) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return clean;
}

std::optional<LayerInfo> ParseHello(std::span<const std::byte> message, std::string* why) {
  WireHeader header;
  if (message.size() < sizeof header) {
    *why = "the greeting is shorter than its header; is this the layer libxsched-hsa.so?";
    return std::nullopt;
  }
  std::memcpy(&header, message.data(), sizeof header);
  if (header.magic != kWireMagic) {
    *why = "the greeting has a wrong magic number; is this the layer libxsched-hsa.so?";
    return std::nullopt;
  }
  if (header.abi_version != kAbiVersion) {
    *why = "the layer speaks version " + std::to_string(header.abi_version) +
           ", the controller version " + std::to_string(kAbiVersion) +
           "; install layer and controller of one release";
    return std::nullopt;
  }
  HelloMessage hello;
  if (header.type != WireType::kHello || header.size_bytes != sizeof hello ||
      !CopyOut(message, &hello)) {
    *why = "the greeting has " + std::to_string(message.size()) + " bytes instead of " +
           std::to_string(sizeof hello) + "; install layer and controller of one release";
    return std::nullopt;
  }
  LayerInfo info;
  info.namespace_pid = hello.namespace_pid;
  info.hsa_table_major = hello.hsa_table_major;
  info.hsa_ext_table_bytes = hello.hsa_ext_table_bytes;
  const bool known_gate = hello.gate == GateKind::kWindow || hello.gate == GateKind::kIntercept;
  info.gate = known_gate ? hello.gate : GateKind::kNone;
  info.priority = ClampPriority(hello.priority);
  info.comm = CleanText(hello.comm, sizeof hello.comm);
  info.exe = CleanText(hello.exe, sizeof hello.exe);
  info.run_token = CleanText(hello.run_token, sizeof hello.run_token);
  return info;
}

std::optional<std::string> ParseNote(std::span<const std::byte> message) {
  NoteMessage note;
  if (!CopyOut(message, &note)) return std::nullopt;
  if (note.header.magic != kWireMagic || note.header.abi_version != kAbiVersion ||
      note.header.type != WireType::kNote || note.header.size_bytes != sizeof note) {
    return std::nullopt;
  }
  return CleanText(note.text, sizeof note.text);
}

WelcomeMessage MakeWelcome(std::uint32_t session_id, std::int32_t peer_pid) {
  WelcomeMessage welcome{};
  welcome.header = MakeHeader(WireType::kWelcome, sizeof welcome);
  welcome.session_id = session_id;
  welcome.peer_pid = peer_pid;
  welcome.process_page_bytes = sizeof(ProcessPage);
  welcome.user_page_bytes = sizeof(UserPage);
  return welcome;
}

WelcomeMessage MakeRefusal(const std::string& text) {
  WelcomeMessage refusal{};
  refusal.header = MakeHeader(WireType::kRefused, sizeof refusal);
  std::memcpy(refusal.text, text.data(), std::min(text.size(), sizeof refusal.text - 1));
  return refusal;
}

std::vector<std::string> SplitReply(const std::string& reply) {
  std::vector<std::string> messages;
  std::size_t at = 0;
  do {
    const std::size_t size = std::min(kChunkBytes, reply.size() - at);
    const bool last = at + size == reply.size();
    messages.push_back((last ? "." : "+") + reply.substr(at, size));
    at += size;
  } while (at < reply.size());
  return messages;
}

}  // namespace xsched_hsa
