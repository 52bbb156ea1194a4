// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/campaign.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <thread>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>

namespace horus::HORUS_ABI::sim {
namespace {

constexpr std::size_t kFailuresKept = 64;
constexpr std::size_t kShrunk = 3;  // failures that are made small
constexpr std::size_t kTextBytes = 2000;
constexpr int kMostJobs = 256;
constexpr int kBarWidth = 30;

struct Options {
  std::uint64_t first = 1;
  std::uint64_t seeds = 1000;
  unsigned jobs = 0;
  unsigned limit_s = 60;
  bool single = false;
  std::vector<unsigned> without;
  std::string timeline;
};

// What a run in a child process came to. Lives in memory that both share.
struct Outcome {
  bool ended = false;
  bool passed = false;
  std::uint32_t elements = 0;  // that swarm chose
  std::uint64_t hash = 0;
  std::int64_t virtual_ns = 0;
  char text[kTextBytes] = {};
};

struct Worker {
  std::atomic<std::uint64_t> seed{0};
  std::atomic<std::int64_t> since_ns{0};
  pid_t pid = 0;
};

struct Shared {
  std::atomic<std::uint64_t> next{0};
  std::atomic<std::uint64_t> done{0};
  std::atomic<std::uint64_t> failed{0};
  std::atomic<std::int64_t> virtual_ns{0};
  std::atomic<std::uint64_t> hash{0};
  std::atomic<std::uint64_t> failing[kFailuresKept] = {};
  Worker workers[kMostJobs];
  Outcome single;
};

class SharedMemory {
 public:
  SharedMemory() {
    void* place = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED) throw Error(errno, "mmap", "of a campaign's shared memory");
    shared_ = new (place) Shared;
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { ::munmap(shared_, sizeof(Shared)); }
  Shared* operator->() const noexcept { return shared_; }
  Shared& operator*() const noexcept { return *shared_; }

 private:
  Shared* shared_;
};

const char* kUsage =
    "usage: {} [--seeds N] [--first N] [--jobs N] [--limit SECONDS]\n"
    "       {} --seed N [--without 1,4] [--timeline FILE]\n";

std::uint64_t number_of(std::string_view option, std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error(EINVAL, "read the arguments", fmt::format("\"{}\" after {} is not a number", text, option));
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  if (const char* seeds = std::getenv("HORUS_SIM_SEEDS"))
    options.seeds = number_of("HORUS_SIM_SEEDS=", seeds);
  for (int i = 1; i < argc; ++i) {
    std::string_view option = argv[i];
    std::string_view value;
    if (const auto equals = option.find('='); equals != std::string_view::npos) {
      value = option.substr(equals + 1);
      option = option.substr(0, equals);
    } else if (i + 1 < argc) {
      value = argv[++i];
    }
    if (option == "--seeds") {
      options.seeds = number_of(option, value);
    } else if (option == "--first") {
      options.first = number_of(option, value);
    } else if (option == "--jobs") {
      options.jobs = static_cast<unsigned>(std::min<std::uint64_t>(number_of(option, value), kMostJobs));
    } else if (option == "--limit") {
      options.limit_s = static_cast<unsigned>(std::min<std::uint64_t>(number_of(option, value), 86'400));
    } else if (option == "--seed") {
      options.first = number_of(option, value);
      options.single = true;
    } else if (option == "--timeline") {
      options.timeline = value;
    } else if (option == "--without") {
      while (!value.empty()) {
        const std::size_t comma = std::min(value.find(','), value.size());
        options.without.push_back(static_cast<unsigned>(number_of(option, value.substr(0, comma))));
        value.remove_prefix(std::min(comma + 1, value.size()));
      }
    } else {
      throw Error(EINVAL, "read the arguments", fmt::format("\"{}\" is no option", option));
    }
  }
  if (options.seeds == 0) throw Error(EINVAL, "read the arguments", "--seeds 0 simulates nothing");
  if (options.jobs == 0) options.jobs = std::clamp(std::thread::hardware_concurrency(), 1U, 256U);
  return options;
}

std::string without_of(const std::vector<unsigned>& without) {
  std::string list;
  for (const unsigned number : without) list += fmt::format("{}{}", list.empty() ? "" : ",", number);
  return list;
}

// Runs one world in this process.
void run_world(const Scenario& scenario, World& world, Outcome& outcome) {
  scenario(world);
  const Report& report = world.report();
  outcome.passed = report.passed && report.turns > 0;
  outcome.elements = static_cast<std::uint32_t>(report.swarm.size());
  outcome.hash = report.trace_hash;
  outcome.virtual_ns = report.virtual_time.count();
  const std::string text =
      report.turns > 0 ? report.failure : "the scenario never called run_for, or nothing ran";
  const std::size_t size = std::min(text.size(), kTextBytes - 1);
  std::memcpy(outcome.text, text.data(), size);
  outcome.text[size] = '\0';
  outcome.ended = true;
}

// Runs one world in a child process, which may crash or hang.
bool fails(Shared& shared, const Scenario& scenario, std::uint64_t seed, const std::vector<unsigned>& without,
           unsigned limit_s, std::string& why) {
  shared.single = Outcome();
  const pid_t child = ::fork();
  if (child < 0) throw Error(errno, "fork");
  if (child == 0) {
    set_log_level(LogLevel::error);
    ::alarm(limit_s);
    World world(seed, without);
    run_world(scenario, world, shared.single);
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    const int number = WTERMSIG(status);
    why = number == SIGALRM ? fmt::format("did not end within {} s of real time", limit_s)
                            : fmt::format("crashed: {}", ::strsignal(number));
    return true;
  }
  why = shared.single.text;
  return !shared.single.ended || !shared.single.passed;
}

// Leaves out one fault after the other as long as the run still fails.
std::vector<unsigned> shrink(Shared& shared, const Scenario& scenario, std::uint64_t seed, unsigned limit_s,
                             std::string& why) {
  std::vector<unsigned> without;
  static_cast<void>(fails(shared, scenario, seed, without, limit_s, why));
  const std::uint32_t elements = shared.single.ended ? shared.single.elements : 32;
  for (std::uint32_t number = 0; number < elements; ++number) {
    auto fewer = without;
    fewer.push_back(number);
    std::string reason;
    if (!fails(shared, scenario, seed, fewer, limit_s, reason)) continue;
    without = fewer;
    why = reason;
  }
  return without;
}

void draw_progress(const Shared& shared, const Options& options, std::int64_t began, bool last) {
  const std::uint64_t done = shared.done.load();
  const double part = static_cast<double>(done) / static_cast<double>(options.seeds);
  const double real_s = static_cast<double>(monotonic_ns() - began) / 1e9;
  const double speed = static_cast<double>(shared.virtual_ns.load()) / 1e9 / std::max(real_s, 1e-9);
  std::string bar;
  for (int i = 0; i < kBarWidth; ++i) bar += i < part * kBarWidth ? "━" : "─";
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  if (!terminal && !last) return;
  fmt::print(stderr, "{}  {} {} of {} seeds, {} failed, {:.0f} times real time{}", terminal ? "\r" : "", bar,
             done, options.seeds, shared.failed.load(), speed, last ? "\n" : "   ");
  std::fflush(stderr);
}

void serve(Shared& shared, Worker& self, const Scenario& scenario, const Options& options) {
  set_log_level(LogLevel::error);
  static LogSink silent = set_log_sink([](LogLevel, std::string_view) {});
  while (true) {
    const std::uint64_t place = shared.next.fetch_add(1);
    if (place >= options.seeds) break;
    const std::uint64_t seed = options.first + place;
    self.since_ns.store(monotonic_ns());
    self.seed.store(seed);
    ::alarm(options.limit_s);
    Outcome outcome;
    {
      World world(seed);
      run_world(scenario, world, outcome);
    }
    ::alarm(0);
    shared.virtual_ns.fetch_add(outcome.virtual_ns);
    shared.hash.fetch_xor(outcome.hash * (2 * seed + 1));
    if (!outcome.passed) {
      const std::uint64_t number = shared.failed.fetch_add(1);
      if (number < kFailuresKept) shared.failing[number].store(seed);
    }
    self.seed.store(0);
    shared.done.fetch_add(1);
  }
  ::_exit(0);
}

void start_worker(Shared& shared, Worker& worker, const Scenario& scenario, const Options& options) {
  worker.seed.store(0);
  const pid_t child = ::fork();
  if (child < 0) throw Error(errno, "fork", "a worker of the campaign");
  if (child == 0) serve(shared, worker, scenario, options);
  worker.pid = child;
}

// A worker that ended before its time took a seed with it.
void run_workers(Shared& shared, const Scenario& scenario, const Options& options) {
  const std::int64_t began = monotonic_ns();
  std::fflush(nullptr);
  for (unsigned i = 0; i < options.jobs; ++i) start_worker(shared, shared.workers[i], scenario, options);
  unsigned running = options.jobs;
  while (running > 0) {
    int status = 0;
    const pid_t ended = ::waitpid(-1, &status, WNOHANG);
    if (ended <= 0) {
      draw_progress(shared, options, began, false);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      continue;
    }
    for (unsigned i = 0; i < options.jobs; ++i) {
      Worker& worker = shared.workers[i];
      if (worker.pid != ended) continue;
      const std::uint64_t seed = worker.seed.load();
      if (seed == 0) {
        --running;
        break;
      }
      const std::uint64_t number = shared.failed.fetch_add(1);
      if (number < kFailuresKept) shared.failing[number].store(seed);
      shared.done.fetch_add(1);
      start_worker(shared, worker, scenario, options);
    }
  }
  draw_progress(shared, options, began, true);
}

int run_single(const std::string& name, const Scenario& scenario, const Options& options) {
  World world(options.first, options.without);
  if (!options.timeline.empty()) world.record_timeline();
  Outcome outcome;
  run_world(scenario, world, outcome);
  fmt::print("{}, {}\n", name, world.report().to_string());
  for (std::size_t i = 0; i < world.report().swarm.size(); ++i) {
    const bool left_out =
        std::find(options.without.begin(), options.without.end(), i) != options.without.end();
    fmt::print("  swarm {}{}: {}\n", i, left_out ? ", left out" : "", world.report().swarm[i]);
  }
  if (!options.timeline.empty()) {
    if (!world.write_timeline(options.timeline)) throw Error(errno, "write the timeline", options.timeline);
    fmt::print("  timeline: {}\n", options.timeline);
  }
  return outcome.passed ? 0 : 1;
}

int run_all(const std::string& program, const std::string& name, const Scenario& scenario,
            const Options& options) {
  const SharedMemory shared;
  fmt::print("{}: seeds {} to {} on {} CPUs\n", name, options.first, options.first + options.seeds - 1,
             options.jobs);
  run_workers(*shared, scenario, options);
  const std::uint64_t failed = shared->failed.load();
  fmt::print("{}: {} passed, {} failed, {:.0f} s of virtual time, trace {:016x}\n", name,
             options.seeds - failed, failed, static_cast<double>(shared->virtual_ns.load()) / 1e9,
             shared->hash.load());
  std::vector<std::uint64_t> seeds;
  seeds.reserve(kFailuresKept);
  for (std::size_t i = 0; i < std::min<std::size_t>(failed, kFailuresKept); ++i)
    seeds.push_back(shared->failing[i].load());
  std::sort(seeds.begin(), seeds.end());
  for (std::size_t i = 0; i < std::min(seeds.size(), kShrunk); ++i) {
    std::string why;
    const auto without = shrink(*shared, scenario, seeds[i], options.limit_s, why);
    const std::string picture = fmt::format("{}-{}.svg", name, seeds[i]);
    fmt::print("\nseed {}: {}\n  {} --seed {}{}{} --timeline {}\n", seeds[i], why, program, seeds[i],
               without.empty() ? "" : " --without ", without_of(without), picture);
  }
  if (seeds.size() > kShrunk) {
    std::string rest;
    for (std::size_t i = kShrunk; i < seeds.size(); ++i) rest += fmt::format(" {}", seeds[i]);
    fmt::print("\nfailed as well:{}{}\n", rest, failed > kFailuresKept ? " …" : "");
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace

int run_campaign(int argc, char** argv, const std::string& name, const Scenario& scenario) {
  const std::string program = argc > 0 ? argv[0] : name;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) != "--help") continue;
    fmt::print(fmt::runtime(kUsage), program, program);
    return 0;
  }
  try {
    const Options options = parse(argc, argv);
    return options.single ? run_single(name, scenario, options) : run_all(program, name, scenario, options);
  } catch (const Error& error) {
    fmt::print(stderr, "{}: {}\n", program, error.what());
    fmt::print(stderr, fmt::runtime(kUsage), program, program);
    return 2;
  }
}

}  // namespace horus::HORUS_ABI::sim
