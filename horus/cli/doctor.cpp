// SPDX-License-Identifier: Apache-2.0
// The examination, and what it finds out about io_uring by trying.
#include <horus/cli/doctor.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <utility>

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/base/histogram.hpp>
#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/reactor_config.hpp>
#include <horus/io/seam/backend.hpp>
#include <horus/io/seam/entry.hpp>
#include <horus/io/seam/uring_abi.hpp>
#include <horus/io/time.hpp>

namespace horus::cli {
namespace {

constexpr int kSleeps = 50;
constexpr Duration kSleep = std::chrono::milliseconds(1);
constexpr double kLateMedian_us = 300;  // later than that is more than timer slack and a wake-up
constexpr double kLateMost_us = 5000;

// A small ring as the uring backend makes it, without its memory mapped: enough to ask the kernel questions.
class Ring {
 public:
  Ring() {
    io_uring_params parameters{};
    parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    fd_ = static_cast<int>(::syscall(__NR_io_uring_setup, 4, &parameters));
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring() {
    if (fd_ >= 0) ::close(fd_);
  }

  /// Names of operations that this kernel does not know.
  [[nodiscard]] std::string lacking() const {
    constexpr unsigned kRoom = 256;
    std::vector<std::byte> memory(sizeof(io_uring_probe) + kRoom * sizeof(io_uring_probe_op));
    auto* probe = reinterpret_cast<io_uring_probe*>(memory.data());
    if (io::abi::register_op(fd_, IORING_REGISTER_PROBE, probe, kRoom) < 0) return "(cannot be asked)";
    std::string names;
    for (const io::Instruction& instruction : io::kInstructions) {
      const bool known = instruction.opcode <= probe->last_op &&
                         (probe->ops[instruction.opcode].flags & IO_URING_OP_SUPPORTED) != 0;
      if (!known) names += fmt::format("{}{}", names.empty() ? "" : ", ", instruction.name);
    }
    return names;
  }
  /// Waits may end at a point in time rather than after a while: exact, with one system call less.
  [[nodiscard]] bool has_absolute_timer() const {
    const __kernel_timespec past{0, 1};
    io_uring_getevents_arg argument{};
    argument.sigmask_sz = _NSIG / 8;
    argument.ts = reinterpret_cast<std::uintptr_t>(&past);
    const int result = io::abi::enter(
        fd_, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG | io::abi::kEnterAbsoluteTimer, &argument,
        sizeof argument);
    return result >= 0 || errno != EINVAL;
  }

 private:
  int fd_;
};

#ifdef HORUS_WITH_URING
std::string remedy_for_uring(int error) {
  switch (error) {
    case EPERM: {
      const std::string disabled = first_line_of("/proc/sys/kernel/io_uring_disabled");
      if (disabled == "1" || disabled == "2") return "sysctl -w kernel.io_uring_disabled=0";
      return "docker run --security-opt seccomp=unconfined …";
    }
    case ENOMEM: return "ulimit -l unlimited";
    case EMFILE:
    case ENFILE: return "ulimit -n 65536";
    default: return "use Linux 6.1 or newer";
  }
}

std::vector<Check> check_uring() {
  auto backend = io::make_uring_backend(io::ReactorConfig());
  if (!backend) {
    const std::string why = io::explain_uring_failure(backend.code());
    return {{"io_uring", Verdict::note,
             fmt::format("The kernel does not grant it: {}.", why.substr(0, why.find(';'))),
             remedy_for_uring(backend.code())}};
  }
  std::vector<Check> checks{
      {"io_uring", Verdict::ok, "It is permitted, and has the features that Horus needs."}};
  const Ring ring;
  if (!ring.has_absolute_timer())
    checks[0].sentence += " Waits take one more reading of the clock than on Linux 6.12.";
  const std::string lacking = ring.lacking();
  if (lacking.empty()) {
    checks.push_back({"operations", Verdict::ok,
                      fmt::format("All {} that Horus uses are there.", io::kInstructions.size())});
  } else {
    checks.push_back({"operations", Verdict::problem,
                      fmt::format("The kernel lacks {}: what needs them fails.", lacking),
                      "export HORUS_IO=epoll"});
  }
  return checks;
}
#else
std::vector<Check> check_uring() {
  return {{"io_uring", Verdict::note, "This build of Horus has no io_uring backend.",
           "meson setup --reconfigure -During=enabled build"}};
}
#endif

Task<Histogram> measure_sleeps() {
  Histogram lateness;
  for (int i = 0; i < kSleeps; ++i) {
    const std::int64_t until = now_ns() + kSleep.count();
    co_await sleep_until(TimePoint(Duration(until)));
    lateness.record(static_cast<std::uint64_t>(std::max<std::int64_t>(now_ns() - until, 0)));
  }
  co_return lateness;
}

Check judge_sleeps(const Histogram& lateness) {
  const double median = static_cast<double>(lateness.percentile(50)) / 1e3;
  const double most = static_cast<double>(lateness.max()) / 1e3;
  Check check{"sleep", Verdict::ok,
              fmt::format("{} sleeps of 1 ms ended {:.0f} µs late in the middle, {:.0f} µs at most.", kSleeps,
                          median, most)};
  if (median > kLateMedian_us || most > kLateMost_us) {
    check.verdict = Verdict::note;
    check.sentence += " The machine is busy, or saves power.";
    check.remedy = "use SchedulerConfig::realtime(), and look again on an idle machine";
  }
  return check;
}

}  // namespace

std::vector<Check> check_io(std::string& backend) {
  std::vector<Check> checks = check_uring();
  // The line that tells why it is epoll is told below.
  auto sink = set_log_sink([](LogLevel, std::string_view) {});
  try {
    io::Reactor reactor;
    backend = reactor.backend_name();
    const char* wish = std::getenv("HORUS_IO");
    const bool wished = wish != nullptr && backend == wish;
    const bool uring_refused = checks[0].verdict != Verdict::ok;
    Check check{
        "backend", Verdict::ok,
        fmt::format("Horus uses {}: {}.", backend,
                    wished          ? fmt::format("HORUS_IO={} asks for it", wish)
                    : uring_refused ? "io_uring cannot be had; everything works, with more system calls"
                                    : "it is there, and the fastest")};
    if (wished && backend == "epoll" && !uring_refused) {
      check.verdict = Verdict::note;
      check.remedy = "unset HORUS_IO";
    }
    checks.push_back(std::move(check));
    checks.push_back(judge_sleeps(reactor.run(measure_sleeps())));
  } catch (const std::exception& error) {
    checks.push_back({"backend", Verdict::problem, fmt::format("There is none: {}.", error.what()),
                      std::getenv("HORUS_IO") != nullptr ? "unset HORUS_IO" : ""});
    backend.clear();
  }
  set_log_sink(std::move(sink));
  return checks;
}

Diagnosis examine() {
  Diagnosis diagnosis;
  const auto add = [&](std::vector<Check> checks) {
    for (Check& check : checks) diagnosis.checks.push_back(std::move(check));
  };
  std::vector<Check> rights = check_rights();  // forks: before there is a reactor
  add({check_kernel(), check_container()});
  add(check_io(diagnosis.backend));
  add(check_time());
  add(check_processors());
  add(std::move(rights));
  if (!diagnosis.backend.empty()) add({check_hubs()});
  return diagnosis;
}

}  // namespace horus::cli
