// SPDX-License-Identifier: Apache-2.0
// Schedulers from configuration files: `[scheduler]`, `[executor.NAME]`, `[node.NAME]`, `[inspect]`.
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <horus/config/document.hpp>
#include <horus/config/reader.hpp>
#include <horus/sched/scheduler_config.hpp>

namespace horus::HORUS_ABI {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

// What a configuration may hold; the others' owners look into theirs.
constexpr std::array<std::string_view, 6> kKnownSections{"scheduler", "executor", "node",
                                                         "hub",       "record",   "inspect"};
constexpr Duration kLongest = hours(24);
constexpr std::size_t kMostPatterns = 1024;
constexpr std::uint64_t kMostProcessors = 4095;

bool has(const config::Reader& section, std::string_view key) {
  return config::find(section.contents(), key) != nullptr;
}

// An optional setting takes a value where its key is there. The key is asked for in any case: it belongs to those that a
// misspelt one is compared with.
template <class T, class Read>
void take(const config::Reader& section, std::string_view key, std::optional<T>& into, T start, Read&& read) {
  read(start);
  if (has(section, key)) into = std::move(start);
}
void take_flag(config::Reader& section, std::string_view key, std::optional<bool>& into) {
  take(section, key, into, false, [&](bool& value) { section.flag(key, value); });
}
void take_ms(config::Reader& section, std::string_view key, std::optional<Duration>& into, Duration least,
             Duration most) {
  take(section, key, into, least, [&](Duration& value) { section.milliseconds(key, value, least, most); });
}

void take_rate(config::Reader& section, std::string_view key, Rate& into) {
  section.number(key, into.hz, 1e-3, NodeSettings::kMaxRate_hz);
}
void take_us(config::Reader& section, std::string_view key, Duration& into, std::uint64_t most) {
  std::uint64_t us = static_cast<std::uint64_t>(into.count() / 1000);
  section.integer(key, us, 0, most);
  if (has(section, key)) into = microseconds(us);
}
void take_processor(config::Reader& section, std::optional<int>& into) {
  take(section, "cpu", into, 0, [&](int& value) { section.integer("cpu", value, 0, kMostProcessors); });
}

void take_reaction(config::Reader& section, std::string_view key, std::optional<Miss>& into, bool budget) {
  Miss miss = Miss::warn;
  if (budget) {
    section.choice(key, miss,
                   {{"warn", Miss::warn},
                    {"skip", Miss::skip},
                    {"degrade", Miss::degrade},
                    {"safe_mode", Miss::safe_mode},
                    {"stop", Miss::stop}});
  } else {
    section.choice(key, miss,
                   {{"warn", Miss::warn},
                    {"skip", Miss::skip},
                    {"degrade", Miss::degrade},
                    {"cancel", Miss::cancel},
                    {"safe_mode", Miss::safe_mode},
                    {"stop", Miss::stop}});
  }
  if (has(section, key)) into = miss;
}

void read_scheduler(config::Reader& section, SchedulerConfig& config) {
  take_rate(section, "tick_rate", config.tick_rate);
  section.choice(
      "policy", config.policy,
      {{"priority", Policy::priority}, {"rate_monotonic", Policy::rate_monotonic}, {"edf", Policy::edf}});
  section.choice("admission", config.admission,
                 {{"off", Admission::off}, {"warn", Admission::warn}, {"refuse", Admission::refuse}});

  section.flag("circuit_breaker", config.circuit_breaker);
  section.integer("max_failures", config.circuit.max_failures, 1, 1000);
  section.integer("circuit_window", config.circuit.window, 0, 1000);
  section.number("circuit_window_share", config.circuit.window_share, 0.01, 1);
  section.integer("circuit_window_least", config.circuit.window_least, 1, 1000);
  section.milliseconds("circuit_open_ms", config.circuit.open_for, milliseconds(1), kLongest);
  section.milliseconds("circuit_longest_open_ms", config.circuit.longest_open, milliseconds(1), kLongest);
  section.integer("circuit_close_after", config.circuit.close_after, 1, 1000);

  section.flag("auto_restart", config.auto_restart);
  section.milliseconds("restart_delay_ms", config.restart.first_delay, milliseconds(0), kLongest);
  section.milliseconds("restart_longest_delay_ms", config.restart.longest_delay, milliseconds(0), kLongest);
  section.number("restart_jitter", config.restart.jitter, 0, 0.5);
  section.milliseconds("restart_healthy_after_ms", config.restart.healthy_after, milliseconds(0), kLongest);
  section.integer("max_restarts", config.restart.most, 0, 1'000'000);
  section.milliseconds("restart_within_ms", config.restart.within, milliseconds(0), kLongest);
  section.flag("restart_for_ever", config.restart.for_ever);

  section.flag("deadline_monitoring", config.deadline_monitoring);
  section.flag("watchdog_enabled", config.watchdog_enabled);
  section.milliseconds("watchdog_timeout_ms", config.watchdog_timeout, NodeSettings::kLeastWatchdog,
                       NodeSettings::kMostWatchdog);
  section.flag("exit_when_blocked", config.exit_when_blocked);

  take_us(section, "spin_us", config.spin, 10'000);
  take_us(section, "busy_poll_us", config.reactor.busy_poll, 1'000'000);
  std::uint64_t slack_ns = 0;
  section.integer("timer_slack_ns", slack_ns, 1, 1'000'000'000);
  if (has(section, "timer_slack_ns")) config.timer_slack = Duration(slack_ns);
  section.flag("lock_memory", config.lock_memory);
  section.integer("rt_priority", config.fifo_priority, 0, 99);
  take_processor(section, config.cpu);
  section.choice("backend", config.reactor.backend,
                 {{"automatic", io::BackendChoice::automatic},
                  {"uring", io::BackendChoice::uring},
                  {"epoll", io::BackendChoice::epoll}});

  section.flag("safe_states_on_crash", config.safe_states_on_crash);
  section.milliseconds("finish_limit_ms", config.finish_limit, milliseconds(0), seconds(60));
  section.milliseconds("shutdown_limit_ms", config.shutdown_limit, milliseconds(0), seconds(60));
  section.milliseconds("init_limit_ms", config.init_limit, milliseconds(0), seconds(3600));
  section.integer("timeline_events", config.timeline_events, 0, 100'000'000);
  section.integer("seed", config.seed, 0, INT64_MAX);
}

void read_executor(config::Reader& section, ExecutorConfig& executor) {
  enum class Scheduling : std::uint8_t { other, fifo };
  take_processor(section, executor.cpu);
  Scheduling scheduling = Scheduling::other;
  section.choice("scheduling", scheduling, {{"other", Scheduling::other}, {"fifo", Scheduling::fifo}});
  section.integer("rt_priority", executor.rt_priority, 1, 99);
  take_us(section, "spin_us", executor.spin, 10'000);
  if (scheduling == Scheduling::fifo && executor.rt_priority == 0) executor.rt_priority = 50;
  if (scheduling == Scheduling::other && executor.rt_priority != 0)
    section.complain("rt_priority", "needs scheduling = \"fifo\"");
}

void read_node(config::Reader& section, NodeOverrides& node) {
  take(section, "rate_hz", node.rate, Rate(100), [&](Rate& rate) { take_rate(section, "rate_hz", rate); });
  take(section, "priority", node.priority, NodeSettings::kDefaultPriority,
       [&](int& value) { section.integer("priority", value, 0, NodeSettings::kMaxPriority); });
  take_ms(section, "deadline_ms", node.deadline, Duration::zero(), NodeSettings::kMaxDeadline);
  take_ms(section, "budget_ms", node.budget, Duration::zero(), NodeSettings::kMaxDeadline);
  take_reaction(section, "on_miss", node.on_miss, false);
  take_reaction(section, "on_budget", node.on_budget, true);
  take(section, "overrun", node.overrun, Overrun::skip, [&](Overrun& value) {
    section.choice("overrun", value,
                   {{"skip", Overrun::skip}, {"queue", Overrun::queue}, {"cancel", Overrun::cancel}});
  });
  take_ms(section, "watchdog_ms", node.watchdog, NodeSettings::kLeastWatchdog, NodeSettings::kMostWatchdog);
  if (node.watchdog) node.watchdog_enabled = true;
  take_flag(section, "watchdog_enabled", node.watchdog_enabled);
  take_flag(section, "critical", node.critical);
  take_flag(section, "keep_in_emergency", node.keep_in_emergency);
  take_flag(section, "miss_is_failure", node.miss_is_failure);
  take_flag(section, "circuit_breaker", node.circuit_breaker);
  take_flag(section, "auto_restart", node.auto_restart);
  take_flag(section, "restart_for_ever", node.restart_for_ever);
  take_ms(section, "restart_delay_ms", node.restart_delay, Duration::zero(), kLongest);
  take_ms(section, "restart_longest_delay_ms", node.restart_longest_delay, Duration::zero(), kLongest);
  take_ms(section, "restart_within_ms", node.restart_within, Duration::zero(), kLongest);
  take(section, "max_restarts", node.max_restarts, std::uint32_t{0},
       [&](std::uint32_t& value) { section.integer("max_restarts", value, 0, 1'000'000); });
  take_flag(section, "logging_enabled", node.logging_enabled);
  take(section, "executor", node.executor, std::string(),
       [&](std::string& value) { section.text("executor", value); });
}

Result<> read_record(config::Reader& section, SchedulerConfig& config) {
  RecordSettings record;
  section.text("path", record.path);
  section.texts("topics", record.options.topics, kMostPatterns);
  section.texts("left_out", record.options.left_out, kMostPatterns);
  section.flag("compressed", record.options.compressed);
  section.integer("max_waiting_bytes", record.options.max_waiting_bytes, std::size_t{1} << 20,
                  std::size_t{1} << 34);
  section.integer("max_file_bytes", record.options.max_file_bytes, 0, INT64_MAX);
  section.milliseconds("max_file_ms", record.options.max_file_time, milliseconds(0), hours(24 * 365));
  section.milliseconds("snapshot_ms", record.options.snapshot, milliseconds(0), kLongest);
  if (!section.contents().empty() && record.path.empty())
    section.complain("path", "names the file to record into");
  if (auto sound = section.finish(); !sound) return sound;
  if (!record.path.empty()) config.records.push_back(std::move(record));
  return {};
}

}  // namespace

Result<SchedulerConfig> SchedulerConfig::from_file(const std::string& path) {
  auto document = config::Document::load(path);
  if (!document) return document.error();
  auto config = from_document(*document);
  if (config) config->file = path;
  return config;
}

Result<SchedulerConfig> SchedulerConfig::from_document(const config::Document& document) {
  if (auto known = document.check_sections(kKnownSections); !known) return known.error();

  auto section = document.section("scheduler");
  if (!section) return section.error();
  std::string preset = "standard";
  section->choice("preset", preset,
                  {{"standard", std::string("standard")},
                   {"high_performance", std::string("high_performance")},
                   {"low_latency", std::string("low_latency")},
                   {"power_saving", std::string("power_saving")},
                   {"realtime", std::string("realtime")}});
  auto config = named(preset);
  if (!config) return config;
  read_scheduler(*section, *config);
  if (auto sound = section->finish(); !sound) return sound.error();

  auto record = document.section("record");
  if (!record) return record.error();
  if (auto sound = read_record(*record, *config); !sound) return sound.error();
  auto inspect = document.section("inspect");
  if (!inspect) return inspect.error();
  inspect->flag("enabled", config->inspect);
  inspect->flag("control", config->inspect_control);
  if (auto sound = inspect->finish(); !sound) return sound.error();

  for (const std::string& name : document.names("executor")) {
    auto part = document.section("executor", name);
    if (!part) return part.error();
    read_executor(*part, config->executors[name]);
    if (auto sound = part->finish(); !sound) return sound.error();
  }
  for (const std::string& name : document.names("node")) {
    auto part = document.section("node", name);
    if (!part) return part.error();
    NodeOverrides& node = config->nodes[name];
    read_node(*part, node);
    node.source = fmt::format("{}:{}", document.name(), part->line());
    if (node.executor && !config->executors.contains(*node.executor))
      part->complain("executor",
                     "\"" + *node.executor + "\" has no section [executor." + *node.executor + "]");
    if (auto sound = part->finish(); !sound) return sound.error();
  }
  return config;
}

}  // namespace horus::HORUS_ABI
