// redirect.h: which paths belong to the virtual GPU, and where their stand-ins are.
//
// Why        sysfs topology, render nodes and module state are plain files in a directory that the
//            device process generates, so readdir, read and close need no hooks.
// Threads    any; no state.
#pragma once

#include <limits.h>

namespace virtual_gpu::interposer {

// `path` itself when it is not ours, else the stand-in, written to `buffer`.
const char* Redirect(const char* path, char (&buffer)[PATH_MAX]);

// The same for what is relative to a directory descriptor (or AT_FDCWD): null when it is not ours.
// Only for paths that do not exist: the lookup asks /proc what the descriptor is.
const char* RedirectAt(int directory, const char* path, char (&buffer)[PATH_MAX]);
// Is this one of our files that show the moment at which they are opened?
bool ShowsTheMoment(const char* path);

// Of KFD's topology, where every file that is asked for is supposed to be.
bool IsTopologyPath(const char* path);

enum class Node { kNone, kKfd, kRender };
// Is this path a device node? `minor` is set for kRender.
Node DeviceNode(const char* path, unsigned* minor);

}  // namespace virtual_gpu::interposer
