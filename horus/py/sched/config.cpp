// SPDX-License-Identifier: Apache-2.0
// SchedulerConfig for Python: one property per setting, named as in docs/scheduler.toml. Ranges are checked by the Python
// class around it.
#include <optional>

#include <horus/py/base/bindings.hpp>

#include <pybind11/stl.h>

namespace horus::python {
namespace {

using Config = SchedulerConfig;

// A duration as a number of milliseconds.
template <class Member>
void milliseconds(py::class_<Config>& type, const char* name, Member member) {
  type.def_property(
      name, [member](Config& config) { return to_ms(member(config)); },
      [member](Config& config, double ms) { member(config) = from_ms(ms); });
}

std::string backend_name(io::BackendChoice choice) {
  switch (choice) {
    case io::BackendChoice::uring: return "uring";
    case io::BackendChoice::epoll: return "epoll";
    case io::BackendChoice::automatic: break;
  }
  return "automatic";
}

io::BackendChoice backend_of(const std::string& name) {
  if (name == "automatic") return io::BackendChoice::automatic;
  if (name == "uring") return io::BackendChoice::uring;
  if (name == "epoll") return io::BackendChoice::epoll;
  throw std::invalid_argument("backend is one of automatic, uring, epoll, not '" + name + "'");
}

}  // namespace

void bind_config(py::module_& module) {
  py::class_<Config> type(module, "Config");
  type.def_static("named", [](const std::string& preset) { return Config::named(preset).or_throw(); })
      .def_static("from_file", [](const std::string& path) { return Config::from_file(path).or_throw(); })
      .def("copy", [](const Config& config) { return config; })
      .def_readonly("preset", &Config::preset)
      .def_property(
          "tick_rate", [](const Config& config) { return config.tick_rate.hz; },
          [](Config& config, double hz) { config.tick_rate = Rate(hz); })
      .def_property(
          "policy", [](const Config& config) { return std::string(to_string(config.policy)); },
          [](Config& config, const std::string& word) { config.policy = parse("policy", word, Policy::edf); })
      .def_property(
          "backend", [](const Config& config) { return backend_name(config.reactor.backend); },
          [](Config& config, const std::string& word) { config.reactor.backend = backend_of(word); })
      .def_readwrite("circuit_breaker", &Config::circuit_breaker)
      .def_property(
          "max_failures", [](const Config& config) { return config.circuit.max_failures; },
          [](Config& config, std::uint32_t count) { config.circuit.max_failures = count; })
      .def_readwrite("auto_restart", &Config::auto_restart)
      .def_property(
          "max_restarts", [](const Config& config) { return config.restart.most; },
          [](Config& config, std::uint32_t count) { config.restart.most = count; })
      .def_readwrite("deadline_monitoring", &Config::deadline_monitoring)
      .def_readwrite("watchdog_enabled", &Config::watchdog_enabled)
      .def_property(
          "spin_us", [](const Config& config) { return static_cast<double>(config.spin.count()) / 1e3; },
          [](Config& config, double us) { config.spin = from_ms(us / 1e3); })
      .def_property(
          "timer_slack_ns",
          [](const Config& config) -> std::optional<std::int64_t> {
            if (!config.timer_slack) return std::nullopt;
            return config.timer_slack->count();
          },
          [](Config& config, std::optional<std::int64_t> ns) {
            config.timer_slack.reset();
            if (ns) config.timer_slack = Duration(*ns);
          })
      .def_readwrite("lock_memory", &Config::lock_memory)
      .def_readwrite("rt_priority", &Config::fifo_priority)
      .def_readwrite("cpu", &Config::cpu)
      .def_readwrite("inspect", &Config::inspect)
      .def_readwrite("inspect_control", &Config::inspect_control)
      .def_readwrite("seed", &Config::seed);
  milliseconds(type, "watchdog_timeout_ms",
               [](Config& config) -> Duration& { return config.watchdog_timeout; });
  milliseconds(type, "circuit_open_ms", [](Config& config) -> Duration& { return config.circuit.open_for; });
  milliseconds(type, "restart_delay_ms",
               [](Config& config) -> Duration& { return config.restart.first_delay; });
  milliseconds(type, "finish_limit_ms", [](Config& config) -> Duration& { return config.finish_limit; });
  milliseconds(type, "shutdown_limit_ms", [](Config& config) -> Duration& { return config.shutdown_limit; });
}

}  // namespace horus::python
