// SPDX-License-Identifier: Apache-2.0
#include <horus/base/above_standard.hpp>

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

int horus::detail::move_above_standard(int fd) noexcept {
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int problem = errno;
  ::close(fd);
  if (moved < 0) errno = problem;
  return moved;
}
