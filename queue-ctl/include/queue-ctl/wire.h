// wire.h: the messages on the controller's socket.
//
// Why        One AF_UNIX SOCK_SEQPACKET socket serves layers (fixed binary messages: the layer has
//            only libc) and tools (JSON text). The first byte tells them apart: 'X' of kWireMagic
//            for a layer, '{' for a tool.
// Threads    plain data.
// Errors     a message of the wrong size, magic or version is answered with kRefused and a text, then
//            the connection is closed; the layer then passes everything through.
// Limits     kWireMessageMax bytes a message. JSON replies longer than that come in several messages,
//            each led by '+' (more follows) or '.' (last).
// Socket     $XSCHED_HSA_SOCKET, else /run/xsched-hsa/control.sock if it exists (a controller that is root
//            makes it), else $XDG_RUNTIME_DIR/xsched-hsa/control.sock (a layer takes it only if it
//            exists), else /tmp/xsched-hsa-<uid>/control.sock.
#pragma once

#include <cstdint>

namespace xsched_hsa {

inline constexpr std::uint32_t kWireMagic = 0x4c415858;  // bytes "XXAL"
inline constexpr std::uint32_t kWireMessageMax = 65536;

enum class WireType : std::uint32_t { kHello = 1, kWelcome = 2, kRefused = 3, kNote = 4 };

struct WireHeader {
  std::uint32_t magic;
  std::uint32_t abi_version;  // kAbiVersion of shared_page.h
  WireType type;
  std::uint32_t size_bytes;  // of the whole message
};

enum class GateKind : std::uint32_t { kNone = 0, kWindow = 1, kIntercept = 2 };

// layer -> controller, once. The controller takes pid and uid from SO_PEERCRED, never from here.
struct HelloMessage {
  WireHeader header;
  std::int32_t priority;              // XSCHED_HSA_PRIORITY, or kPriorityNormal
  std::uint32_t namespace_pid;        // getpid() as the program sees it
  std::uint32_t hsa_table_major;      // root HsaApiTable version.major_id
  std::uint32_t hsa_ext_table_bytes;  // AmdExtTable version.minor_id: tells the runtime version
  GateKind gate;
  std::uint32_t reserved;
  char comm[32];
  char exe[256];
  char run_token[40];  // XSCHED_HSA_RUN_TOKEN: which `xsched-hsa-ctl run` it belongs to
};

// controller -> layer. kWelcome carries three descriptors by SCM_RIGHTS, in this order: the process
// page, the user page, an eventfd that the layer writes whenever the controller should look.
struct WelcomeMessage {
  WireHeader header;  // kWelcome or kRefused
  std::uint32_t session_id;
  std::uint32_t process_page_bytes;
  std::uint32_t user_page_bytes;
  std::int32_t peer_pid;  // the program as the controller sees it (outer PID namespace)
  char text[192];         // kRefused: what, why, what to do
};

// layer -> controller, any time: one line for the controller's log.
struct NoteMessage {
  WireHeader header;
  char text[240];
};

static_assert(sizeof(WireHeader) == 16);
static_assert(sizeof(HelloMessage) == 16 + 24 + 32 + 256 + 40);
static_assert(sizeof(WelcomeMessage) == 16 + 16 + 192);

}  // namespace xsched_hsa
