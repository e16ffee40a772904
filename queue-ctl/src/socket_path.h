// socket_path.h: where the control socket is, and making a place for it that nobody else can take.
//
// Errors     one line for the user. PrepareSocketDirectory accepts a directory only if nobody but
//            its owner (us or root) can put files there, or /tmp-like with the sticky bit for an
//            explicit path.
#pragma once

#include <sys/un.h>

#include <string>

namespace xsched_hsa {

// False if the path does not fit.
bool FillAddress(const std::string& path, sockaddr_un* address);

// The controller's own choice when none was given: as wire.h says, but root makes the system's
// socket.
std::string ControllerSocketPath();

// Makes the directory of the socket (0755 for root, else 0700) if it is not there; empty text:
// done.
std::string PrepareSocketDirectory(const std::string& socket_path);

}  // namespace xsched_hsa
