// SPDX-License-Identifier: Apache-2.0
// The scheduler's part of a configuration file of any bytes, as TOML and as YAML: one line that says what is wrong, with
// file and line, or settings under which a scheduler runs in virtual time, or says why it does not.
#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <horus/base/log.hpp>
#include <horus/config/document.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/sim/alone.hpp>

namespace {

using namespace std::chrono_literals;

void must(bool holds) {
  if (!holds) std::abort();
}

void must_be_one_line(std::string_view message) {
  must(!message.empty());
  for (const char c : message) must(c != '\n');
}

// `x.toml:7: what is wrong`; a file that is no such format at all, or too large a part of it, has no line.
void must_name_the_place(const horus::Error& error, std::string_view name) {
  const std::string message = error.message();
  must_be_one_line(message);
  must(error.code() == horus::kBadConfiguration && message.starts_with(name) && message.size() > name.size());
}

void must_name_the_line(const horus::Error& error, std::string_view name) {
  must_name_the_place(error, name);
  const std::string message = error.message();
  must(message.size() > name.size() + 2 && message[name.size()] == ':' &&
       std::isdigit(static_cast<unsigned char>(message[name.size() + 1])) != 0);
}

// A node that fails now and then: circuits open, restarts begin, safe states are entered.
class Gps : public horus::Node {
 public:
  Gps() : Node("gps") {}
  horus::Task<> tick() override {
    co_await horus::sleep(300us);
    if (++ticks_ % 3 == 0) throw horus::Error(EIO, "read", "/dev/gps");
  }

 private:
  unsigned ticks_ = 0;
};

void run_under(horus::SchedulerConfig config) {
  config.reactor.backend = horus::io::BackendChoice::automatic;  // a simulated one
  config.timeline_events = std::min<std::size_t>(config.timeline_events, 1000);
  config.tick_rate.hz = std::min(config.tick_rate.hz, 1000.0);
  for (auto& [name, node] : config.nodes) {
    if (node.rate) node.rate->hz = std::min(node.rate->hz, 1000.0);
  }
  const horus::io::ReactorConfig reactor_config;
  horus::io::Reactor reactor(*horus::sim::make_backend_alone(reactor_config), reactor_config);
  try {
    horus::Scheduler scheduler(std::move(config));
    scheduler.add<Gps>().rate(horus::Rate(200));
    scheduler.add("control", [] {}).rate(horus::Rate(1000)).watchdog(100ms).priority(0);
    scheduler.add("camera", []() -> horus::Task<> { co_await horus::sleep(2ms); });
    const int code = reactor.run(scheduler.run_main(20ms, false));
    must(code == 0 || code == 1 || code == 75);
    if (code == 1) must_be_one_line(scheduler.start_problem());
    for (const horus::NodeStatistics& node : scheduler.statistics()) {
      std::uint64_t sum = 0;
      for (const std::uint64_t count : node.outcomes) sum += count;
      must(sum == node.grid_points);
      must(node.successful_ticks + node.failed_ticks + node.cancelled_ticks == node.total_ticks);
    }
  } catch (const horus::Error& error) {
    must_be_one_line(error.message());
  }
}

void read(std::string_view text, const std::string& name, horus::config::Format format) {
  const auto document = horus::config::Document::parse(text, name, format);
  if (!document) return must_name_the_place(document.error(), name);
  auto config = horus::SchedulerConfig::from_document(*document);
  if (!config) return must_name_the_line(config.error(), name);
  run_under(*std::move(config));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = [] {
    horus::set_log_sink([](horus::LogLevel, std::string_view) {});
    return true;
  }();
  static_cast<void>(quiet);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read(text, "x.toml", horus::config::Format::toml);
  if (horus::config::reads_yaml()) read(text, "x.yaml", horus::config::Format::yaml);
  return 0;
}
