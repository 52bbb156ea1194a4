// SPDX-License-Identifier: Apache-2.0
// What a real-time run locks: the memory that it uses, not what is merely reserved.
#include <horus/sched/run/memory_lock.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <thread>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/task/frame_pool.hpp>

using namespace horus::literals;

namespace {

[[maybe_unused]] constexpr std::uint64_t kMiB = 1 << 20;

// "VmRSS" and its like, in bytes.
[[maybe_unused]] std::uint64_t memory(const std::string& what) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(what + ":", 0) == 0) return std::stoull(line.substr(what.size() + 1)) * 1024;
  }
  return 0;
}

template <std::size_t kBytes>
struct Cloud {
  std::array<std::uint8_t, kBytes> points;
};

// Publishes one large message in its life, and could have many on the way.
template <std::size_t kBytes>
class Scanner : public horus::PlainNode {
 public:
  explicit Scanner(const std::string& topic)
      : PlainNode(topic), out_(advertise<Cloud<kBytes>>(topic)), in_(subscribe<Cloud<kBytes>>(topic)) {}
  void tick() override {
    if (ticks_++ != 0) return;
    auto cloud = out_.loan();
    if (!cloud) return;
    (*cloud)->points[0] = 1;
    static_cast<void>(out_.publish(std::move(*cloud)));
  }

 private:
  horus::Publisher<Cloud<kBytes>> out_;
  horus::Subscriber<Cloud<kBytes>> in_;
  int ticks_ = 0;
};

struct Sizes {
  std::uint64_t reserved = 0, resident = 0, locked = 0;
  int code = -1;
};

// In a process of its own: what is locked stays so. Without a limit of its own it is this process's.
template <std::size_t kBytes>
[[maybe_unused]] Sizes sizes_of_a_run(bool lock, std::uint64_t limit = RLIM_INFINITY) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(30);
    horus::set_log_sink([](horus::LogLevel, std::string_view) {});
    Sizes sizes;
    if (limit != RLIM_INFINITY) {
      rlimit least{};
      ::getrlimit(RLIMIT_MEMLOCK, &least);
      least.rlim_cur = limit;
      if (::setrlimit(RLIMIT_MEMLOCK, &least) != 0) ::_exit(1);
      if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(1);  // who may lock everything has no limit
    }
    {
      horus::SchedulerConfig config;
      config.lock_memory = lock;
      horus::Scheduler scheduler(config);
      for (const char* topic : {"front", "left", "right", "rear"})
        scheduler.add<Scanner<kBytes>>(topic).rate(100_hz);
      scheduler
          .add("looks",
               [&, ticks = 0]() mutable {
                 if (++ticks != 10) return;
                 sizes.reserved = memory("VmSize");
                 sizes.resident = memory("VmRSS");
                 sizes.locked = memory("VmLck");
                 scheduler.stop();
               })
          .rate(100_hz);
      sizes.code = scheduler.run_for(20s);
    }
    static_cast<void>(::write(ends[1], &sizes, sizeof sizes));
    ::_exit(0);
  }
  Sizes sizes;
  ::close(ends[1]);
  CHECK(::read(ends[0], &sizes, sizeof sizes) == sizeof sizes);
  ::close(ends[0]);
  int status = 0;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  return sizes;
}

[[gnu::noinline, maybe_unused]] void use_stack(std::size_t left) noexcept {
  volatile unsigned char page[4096];
  page[0] = 1;
  if (left > sizeof page) use_stack(left - sizeof page);
  page[1] = page[0];
}

[[maybe_unused]] long faults_of(void (*work)()) {
  long faults = 0;
  std::thread([&] {
    rusage before{}, after{};
    ::getrusage(RUSAGE_THREAD, &before);
    work();
    ::getrusage(RUSAGE_THREAD, &after);
    faults = after.ru_minflt - before.ru_minflt;
  }).join();
  return faults;
}

}  // namespace

#if HORUS_FRAME_POOL  // a sanitizer's own memory is many times this
TEST_CASE("lock_memory locks what is used: publishers of large messages do not become resident") {
  const Sizes without = sizes_of_a_run<16 * kMiB>(false), with = sizes_of_a_run<16 * kMiB>(true);
  CHECK(without.code == 0);
  CHECK(with.code == 0);
  // There is something to become resident: four publishers with room for sixteen messages of 16 MiB.
  CHECK(without.reserved > 1024 * kMiB);
  CHECK(with.resident < without.resident + 64 * kMiB);
  CHECK(with.resident < 256 * kMiB);
  CHECK(without.locked == 0);
  const bool permitted = ::geteuid() == 0;
  if (permitted) CHECK(with.locked > 1024 * kMiB);  // mappings as a whole; only what is touched takes memory
  if (!permitted) MESSAGE("mlockall may be refused to this user: only residence was looked at");
}

TEST_CASE(
    "where the memory that may be locked is limited, what is used is locked, and nothing fails for it") {
  rlimit most{};
  REQUIRE(::getrlimit(RLIMIT_MEMLOCK, &most) == 0);
  if (most.rlim_max < 6 * kMiB) {
    MESSAGE("left out: this user may lock less than 6 MiB");
    return;
  }
  // All that was written: four messages, a stack, frames.
  const Sizes enough = sizes_of_a_run<kMiB>(true, 6 * kMiB);
  CHECK(enough.code == 0);
  CHECK(enough.reserved > 116 * kMiB);
  CHECK(enough.locked > 4 * kMiB);
  CHECK(enough.locked <= 6 * kMiB);
  // Two of them.
  const Sizes little = sizes_of_a_run<kMiB>(true, 3 * kMiB);
  CHECK(little.code == 0);
  CHECK(little.locked > 2 * kMiB);
  CHECK(little.locked <= 3 * kMiB);
}

TEST_CASE("a thread's stack is touched beforehand, half a megabyte of it") {
  const long late = faults_of([] { use_stack(std::size_t{400} * 1024); });
  CHECK(late > 80);
  static long faults;
  std::thread([] {
    horus::detail::prefault();
    rusage before{}, after{};
    ::getrusage(RUSAGE_THREAD, &before);
    use_stack(std::size_t{400} * 1024);
    ::getrusage(RUSAGE_THREAD, &after);
    faults = after.ru_minflt - before.ru_minflt;
  }).join();
  CHECK(faults < 8);
}
#endif
