// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/timeline.hpp>

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include <horus/base/above_standard.hpp>

namespace horus::HORUS_ABI {
namespace {

constexpr const char* kWriteTimeline = "write the timeline";

Result<> write_timeline_file(const std::string& path, const std::string& text) {
  const int descriptor = above_standard(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (descriptor < 0) return Error(errno, kWriteTimeline, path);
  int failure = 0;
  for (std::size_t written = 0; written < text.size() && failure == 0;) {
    const ssize_t count = ::write(descriptor, text.data() + written, text.size() - written);
    if (count > 0) {
      written += static_cast<std::size_t>(count);
    } else if (count == 0 || errno != EINTR) {
      failure = count == 0 ? EIO : errno;
    }
  }
  // A full disk is often told only here.
  if (::close(descriptor) != 0 && failure == 0 && errno != EINTR) failure = errno;
  if (failure != 0) return Error(failure, kWriteTimeline, path);
  return {};
}

}  // namespace

Result<> Timeline::write_chrome_trace(const std::string& path) const {
  return write_timeline_file(path, chrome_trace());
}

Result<> Timeline::write_html(const std::string& path) const { return write_timeline_file(path, html()); }

}  // namespace horus::HORUS_ABI
