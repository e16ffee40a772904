// Messages of layers: whatever comes is a greeting, a note or refused, and what is taken over is clean.
#include <cstdlib>

#include "fuzz_target.h"
#include "wire_codec.h"

using namespace xsched_hsa;

namespace {

void CheckClean(const std::string& text, std::size_t most) {
  if (text.size() > most) std::abort();
  for (const char c : text) {
    if (c < 0x20 || c > 0x7e) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span message(reinterpret_cast<const std::byte*>(data), size);
  ClassifyMessage(message);
  std::string why;
  if (const auto hello = ParseHello(message, &why)) {
    CheckClean(hello->comm, sizeof(HelloMessage::comm));
    CheckClean(hello->exe, sizeof(HelloMessage::exe));
    CheckClean(hello->run_token, sizeof(HelloMessage::run_token));
    if (hello->priority < 0 || hello->priority > kPriorityMax) std::abort();
  } else if (why.empty()) {
    std::abort();  // refused without a word
  } else {
    MakeRefusal(why);
  }
  if (const auto note = ParseNote(message)) CheckClean(*note, sizeof(NoteMessage::text));
  std::string joined;
  for (const std::string& part : SplitReply(fuzz::Text(data, size))) joined += part.substr(1);
  if (joined != fuzz::Text(data, size)) std::abort();
  return 0;
}
