// SPDX-License-Identifier: Apache-2.0
// What the machine is, and what this process may do on it.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <horus/base/error.hpp>
#include <horus/cli/doctor.hpp>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010  // Linux 5.1
#endif

namespace horus::cli {
namespace {

constexpr rlim_t kEnoughFiles = 1024;
constexpr unsigned long kUsualSlack_ns = 50'000;

// What `attempt` gives, an errno or 0, in a child process that ends with it.
template <class Attempt>
int in_a_child(Attempt attempt) {
  const pid_t child = ::fork();
  if (child == 0) std::_Exit(attempt());
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return EAGAIN;
  return WEXITSTATUS(status);
}

std::string limit_text(rlim_t limit) {
  return limit == RLIM_INFINITY ? std::string("unlimited") : fmt::format("{}", limit);
}

rlimit limit_of(int resource) {
  rlimit limit{};
  ::getrlimit(static_cast<__rlimit_resource>(resource), &limit);
  return limit;
}

Check check_fifo() {
  const int refused = in_a_child([] {
    sched_param parameter{};
    parameter.sched_priority = 1;
    return ::sched_setscheduler(0, SCHED_FIFO, &parameter) == 0 ? 0 : errno;
  });
  const std::string limit = limit_text(limit_of(RLIMIT_RTPRIO).rlim_cur);
  if (refused == 0)
    return {"SCHED_FIFO", Verdict::ok,
            fmt::format("Real-time priorities are permitted{}.",
                        limit == "0" ? ", by a capability" : fmt::format(", up to {}", limit))};
  return {
      "SCHED_FIFO", Verdict::note,
      fmt::format("Real-time priorities are refused ({}; the limit is {}): SchedulerConfig::realtime() runs "
                  "without.",
                  describe_code(refused), limit),
      "setcap cap_sys_nice+ep PROGRAM"};
}

Check check_locked_memory() {
  const int refused =
      in_a_child([] { return ::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0 ? 0 : errno; });
  const rlim_t limit = limit_of(RLIMIT_MEMLOCK).rlim_cur;
  const std::string text =
      limit == RLIM_INFINITY ? "there is no limit" : fmt::format("the limit is {} KiB", limit / 1024);
  if (refused == 0)
    return {
        "locked memory", Verdict::ok,
        fmt::format("mlockall is permitted; {}. SchedulerConfig::realtime() locks what is touched.", text)};
  return {"locked memory", Verdict::note,
          fmt::format(
              "mlockall is refused ({}; {}): SchedulerConfig::realtime() locks 512 KiB of its stack alone.",
              describe_code(refused), text),
          "ulimit -l unlimited"};
}

Check check_open_files() {
  const rlimit limit = limit_of(RLIMIT_NOFILE);
  Check check{"open files", Verdict::ok, fmt::format("Up to {} at a time.", limit_text(limit.rlim_cur))};
  if (limit.rlim_cur < kEnoughFiles) {
    check.verdict = Verdict::note;
    check.sentence += " That is little for a hub with many peers.";
    const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, 65536);
    check.remedy = wanted > limit.rlim_cur
                       ? fmt::format("ulimit -n {}", wanted)
                       : "set LimitNOFILE=65536 in the unit, or docker run --ulimit nofile=65536 …";
  }
  return check;
}

Check check_shared_memory() {
  const auto failed = [](const char* what, int error) {
    return Check{"shared memory", Verdict::problem,
                 fmt::format("{}: {}; Hub::shm cannot work.", what, describe_code(error)),
                 "let the container's seccomp profile allow memfd_create and fcntl"};
  };
  const int file = ::memfd_create("horus-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return failed("memfd_create", errno);
  int error = 0;
  if (::ftruncate(file, 4096) != 0 ||
      ::fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE) != 0)
    error = errno;
  ::close(file);
  if (error != 0) return failed("sealing of shared memory", error);
  return {"shared memory", Verdict::ok, "Memory can be sealed and handed to other processes."};
}

struct Quota {
  double processors = 0;
  double period_ms = 0;
};

std::optional<Quota> quota_from(const std::string& text) {
  long long quota = 0;
  long long period = 0;
  if (std::sscanf(text.c_str(), "%lld %lld", &quota, &period) != 2 || quota <= 0 || period <= 0)
    return std::nullopt;
  return Quota{static_cast<double>(quota) / static_cast<double>(period), static_cast<double>(period) / 1e3};
}

// The tightest quota of this process' groups, from its own to the root.
std::optional<Quota> processor_quota() {
  std::optional<Quota> tightest;
  const auto consider = [&](std::optional<Quota> quota) {
    if (quota && (!tightest || quota->processors < tightest->processors)) tightest = quota;
  };
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t path_at = line.find('/');
    if (path_at == std::string::npos) continue;
    const bool second = line.starts_with("0::");
    if (!second && line.substr(0, path_at).find("cpu,") == std::string::npos &&
        line.substr(0, path_at).find(":cpu:") == std::string::npos)
      continue;
    const std::string root = second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
    for (std::filesystem::path path = line.substr(path_at);; path = path.parent_path()) {
      const std::string folder = root + (path == "/" ? "" : path.string());
      consider(quota_from(second ? first_line_of(folder + "/cpu.max")
                                 : first_line_of(folder + "/cpu.cfs_quota_us") + " " +
                                       first_line_of(folder + "/cpu.cfs_period_us")));
      if (path == path.parent_path()) break;
    }
  }
  return tightest;
}

Check check_quota() {
  const auto quota = processor_quota();
  if (!quota) return {"CPU quota", Verdict::ok, "No control group limits the time on processors."};
  return {"CPU quota", Verdict::note,
          fmt::format(
              "A control group grants {:.2f} CPUs: a program that has used its share stands still for up to "
              "{:.0f} ms.",
              quota->processors, quota->period_ms),
          "docker run without --cpus   (or systemctl set-property UNIT CPUQuota=)"};
}

Check check_frequency() {
  std::set<std::string> governors;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/devices/system/cpu/cpufreq", ignored)) {
    const std::string governor = first_line_of(entry.path().string() + "/scaling_governor");
    if (!governor.empty()) governors.insert(governor);
  }
  if (governors.empty())
    return {"CPU frequency", Verdict::ok,
            "It is not governed from here (a virtual machine, or a fixed frequency)."};
  if (governors == std::set<std::string>{"performance"})
    return {"CPU frequency", Verdict::ok, "The governor is performance."};
  return {
      "CPU frequency", Verdict::note,
      fmt::format("The governor is {}: a processor that was idle starts slowly.", fmt::join(governors, ", ")),
      "cpupower frequency-set --governor performance"};
}

}  // namespace

std::string first_line_of(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

Check check_kernel() {
  utsname name{};
  ::uname(&name);
  int major = 0;
  int minor = 0;
  static_cast<void>(std::sscanf(name.release, "%d.%d", &major, &minor));
  const bool real_time = first_line_of("/sys/kernel/realtime") == "1";
  Check check{"kernel", Verdict::ok,
              fmt::format("Linux {}, {}{}.", name.release, name.machine, real_time ? ", PREEMPT_RT" : "")};
  if (std::pair(major, minor) < std::pair(6, 1)) {
    check.verdict = Verdict::note;
    check.sentence += " Horus uses io_uring from Linux 6.1 on.";
    check.remedy = "install Linux 6.1 or newer (Debian 12, Ubuntu 24.04)";
  }
  return check;
}

Check check_container() {
  const char* variable = std::getenv("container");
  std::string kind = variable == nullptr ? "" : variable;
  if (kind.empty()) kind = first_line_of("/run/systemd/container");
  if (kind.empty() && ::access("/.dockerenv", F_OK) == 0) kind = "docker";
  if (kind.empty() && ::access("/run/.containerenv", F_OK) == 0) kind = "podman";
  if (kind.empty() && std::getenv("KUBERNETES_SERVICE_HOST") != nullptr) kind = "kubernetes";
  if (kind.empty()) return {"container", Verdict::ok, "This is no container, as far as can be seen."};
  return {"container", Verdict::ok,
          fmt::format("This is a container ({}): its profile decides what is permitted.", kind)};
}

std::vector<Check> check_time() {
  const std::string folder = "/sys/devices/system/clocksource/clocksource0/";
  const std::string source = first_line_of(folder + "current_clocksource");
  timespec resolution{};
  ::clock_getres(CLOCK_MONOTONIC, &resolution);
  const bool coarse = resolution.tv_sec > 0 || resolution.tv_nsec > 1000;
  Check clock{"clock", Verdict::ok,
              fmt::format("The source is {}, the resolution {} ns.", source.empty() ? "unknown" : source,
                          resolution.tv_nsec + resolution.tv_sec * 1'000'000'000)};
  if (coarse) {
    clock.verdict = Verdict::problem;
    clock.sentence += " Timers cannot be exact with it.";
    clock.remedy = "boot without highres=off and nohz=off";
  } else if (source == "hpet" || source == "acpi_pm" || source == "jiffies") {
    clock.verdict = Verdict::note;
    clock.sentence += " Each reading of this one takes a microsecond or more.";
    clock.remedy = first_line_of(folder + "available_clocksource").find("tsc") == std::string::npos
                       ? "boot with tsc=reliable, if the processor's counter is"
                       : fmt::format("echo tsc > {}current_clocksource", folder);
  }
  const int slack = ::prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
  Check timer{
      "timer slack", Verdict::ok,
      fmt::format("{} µs; io_uring's waits have none, and the low_latency preset sets 1 ns.", slack / 1000)};
  if (slack > static_cast<int>(kUsualSlack_ns)) {
    timer.verdict = Verdict::note;
    timer.sentence =
        fmt::format("{} µs: the kernel may wake programs as late as that. 50 are usual.", slack / 1000);
    timer.remedy = "set ReactorConfig::timer_slack_ns, or TimerSlackNSec=50us in the unit";
  }
  return {clock, timer};
}

std::vector<Check> check_processors() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
  const long usable = ::sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : online;
  const std::string isolated = first_line_of("/sys/devices/system/cpu/isolated");
  std::string text = fmt::format("{} online", online);
  if (usable != online) text += fmt::format(", {} of them for this process", usable);
  text += isolated.empty() ? "; none is isolated." : fmt::format("; isolated: {}.", isolated);
  return {{"CPUs", Verdict::ok, text}, check_frequency(), check_quota()};
}

std::vector<Check> check_rights() {
  return {check_fifo(), check_locked_memory(), check_open_files(), check_shared_memory()};
}

}  // namespace horus::cli
