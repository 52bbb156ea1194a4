// SPDX-License-Identifier: Apache-2.0
//
// The main function of every test program. A program that was asked to run on io_uring (HORUS_IO=uring) where
// the machine forbids it, as Docker's default seccomp profile does, is skipped instead of failed: exit
// code 77. HORUS_IO=sim gives every reactor a simulated world; HORUS_FAULT=recv:3:ECONNRESET makes one
// operation go wrong.
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/sim/alone.hpp>
#include <horus/sim/faulty.hpp>

namespace {

constexpr int skipped = 77;

// 0 when a ring with the flags of the uring backend can be had, else the errno of the attempt.
int io_uring_refusal() {
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  const long fd = ::syscall(SYS_io_uring_setup, 4, &params);
  if (fd < 0) return errno;
  ::close(static_cast<int>(fd));
  return 0;
}

// The process that main() runs in; 0 before.
pid_t main_process = 0;

horus::sim::Injection injection;
horus::sim::InjectionRecord injected;

horus::Result<horus::io::Backend> make_faulty(const horus::io::ReactorConfig& config) {
  auto real = horus::io::make_usual_backend(config);
  if (!real) return real.error();
  return horus::sim::make_faulty_backend(*std::move(real), injection, injected);
}

}  // namespace

// LeakSanitizer asks here. A child that a test forked has lost the threads that held its parent's memory, and may end
// while a thread of its own is stuck: it is not looked at.
extern "C" int __lsan_is_turned_off() { return ::getpid() != main_process ? 1 : 0; }

int main(int argc, char** argv) {
  main_process = ::getpid();
  ::setenv("HORUS_INSPECT", "0", 0);  // as tests/meson.build does
  const char* backend = std::getenv("HORUS_IO");
  if (backend != nullptr && std::string_view(backend) == "uring") {
    const int refusal = io_uring_refusal();
    if (refusal == EPERM || refusal == ENOSYS || refusal == EINVAL) {
      std::fprintf(stderr, "skipped: io_uring_setup: %s\n", std::strerror(refusal));
      return skipped;
    }
  }
  if (backend != nullptr && std::string_view(backend) == "sim")
    horus::io::set_backend_maker(&horus::sim::make_backend_alone);
  if (const char* fault = std::getenv("HORUS_FAULT")) {
    auto wanted = horus::sim::Injection::parse(fault);
    if (!wanted) {
      std::fprintf(stderr, "HORUS_FAULT: %s\n", wanted.error().message().c_str());
      return 2;
    }
    injection = *wanted;
    horus::io::set_backend_maker(&make_faulty);
  }
  doctest::Context context(argc, argv);
  return context.run();
}
