// SPDX-License-Identifier: Apache-2.0
// without_io_uring EPERM|ENOSYS PROGRAM [ARGUMENTS]: runs a program where io_uring is forbidden, and lets it choose its
// backend. The whole suite that way:
// ./dev test --suite epoll "--wrapper=$PWD/build/tests/without_io_uring EPERM"
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <unistd.h>

#include "forbid_io_uring.hpp"

int main(int argc, char** argv) {
  const std::string_view error = argc > 2 ? argv[1] : "";
  if (error != "EPERM" && error != "ENOSYS") {
    std::fprintf(stderr, "usage: without_io_uring EPERM|ENOSYS PROGRAM [ARGUMENTS]\n");
    return 2;
  }
  if (!forbid_io_uring(error == "EPERM" ? EPERM : ENOSYS)) {
    std::perror("seccomp");
    return 2;
  }
  ::unsetenv("HORUS_IO");
  ::execvp(argv[2], argv + 2);
  std::perror(argv[2]);
  return 127;
}
