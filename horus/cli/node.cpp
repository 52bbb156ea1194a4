// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/node.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <horus/cli/bag_command.hpp>
#include <horus/cli/json.hpp>
#include <horus/cli/table.hpp>
#include <horus/cli/visits.hpp>
#include <horus/config/tree.hpp>

#include <CLI/CLI.hpp>

namespace horus::cli {
namespace {

using inspect::Action;
using inspect::Node;
using inspect::Process;
using inspect::Timing;

struct NodeArguments {
  VisitArguments visit;
  std::vector<std::string> nodes;
  bool reset = false;
};

struct Seen {
  Process process;
  Node node;
};

std::string ms_text(std::int64_t ns) {
  const double ms = static_cast<double>(ns) / 1e6;
  return ms < 10 ? fmt::format("{:.3f}", ms) : fmt::format("{:.1f}", ms);
}

std::string state_text(const Node& node) {
  std::string text = node.state;
  if (node.circuit != "closed") text += fmt::format(", circuit {}", node.circuit);
  if (node.watchdog_expired) text += ", watchdog expired";
  if (node.age_ms > 0) text += fmt::format(", loop blocked (figures {:.0f} ms old)", node.age_ms);
  return text;
}

std::string rate_text(const Node& node) {
  if (node.rate_hz == 0) return "on input";
  std::string text = fmt::format("{:g} Hz", node.rate_hz);
  if (node.tick_rate_hz != node.rate_hz) text += fmt::format(", slowed to {:g}", node.tick_rate_hz);
  return text;
}

std::string json_text(const Timing& timing) {
  return fmt::format(R"({{"p50_ns": {}, "p99_ns": {}, "max_ns": {}}})", timing.p50_ns, timing.p99_ns,
                     timing.max_ns);
}

std::string json_text(const Seen& seen) {
  const Node& node = seen.node;
  std::string awaits;
  for (const inspect::Await& await : node.awaits) {
    awaits +=
        fmt::format(R"({}{{"operation": {}, "place": {}, "count": {}, "total_ns": {}, "worst_ns": {}}})",
                    awaits.empty() ? "" : ", ", json_string(await.operation), json_string(await.place),
                    await.count, await.total_ns, await.worst_ns);
  }
  return fmt::format(
      R"({{"node": {}, "process": {}, "pid": {}, "executor": {}, "state": {}, "circuit": {}, "priority": {}, )"
      R"("rate_hz": {}, "tick_rate_hz": {}, "age_ms": {}, "kept": {}, "ticks": {}, "failed": {}, "cancelled": {}, )"
      R"("skipped": {}, "deadline_misses": {}, "restarts": {}, "watchdog_ms": {}, "watchdog_expired": {}, )"
      R"("since_success_ms": {}, "sent": {}, "received": {}, "queued": {}, "lateness": {}, "execution": {}, )"
      R"("response": {}, "last_error": {}, "awaits": [{}]}})",
      json_string(node.name), json_string(seen.process.name), seen.process.pid, json_string(node.executor),
      json_string(node.state), json_string(node.circuit), node.priority, node.rate_hz, node.tick_rate_hz,
      node.age_ms, node.kept, node.ticks, node.failed, node.cancelled, node.skipped, node.deadline_misses,
      node.restarts, node.watchdog_ms, node.watchdog_expired, node.since_success_ms, node.sent, node.received,
      node.queued, json_text(node.lateness), json_text(node.execution), json_text(node.response),
      json_string(node.last_error), awaits);
}

// What all visits tell now. A program that has ended meanwhile is left out.
Result<std::vector<Seen>> nodes_of(std::vector<Visit>& visits) {
  std::vector<Seen> all;
  for (Visit& visit : visits) {
    auto nodes = visit.client.nodes();
    if (!nodes && has_ended(nodes.error())) continue;
    if (!nodes) return nodes.error();
    for (Node& node : *nodes) all.push_back({visit.process, std::move(node)});
  }
  return all;
}

bool complain_of_missing(const NodeArguments& arguments, const std::vector<Seen>& all) {
  std::vector<std::string> names;
  names.reserve(all.size());
  for (const Seen& seen : all) names.push_back(seen.node.name);
  bool missing = false;
  for (const std::string& node : arguments.nodes) {
    if (std::find(names.begin(), names.end(), node) != names.end()) continue;
    missing = true;
    std::string hint = names.empty() ? "no scheduler runs" : listed(names);
    if (const std::string near = config::nearest(node, names); !near.empty())
      hint = "did you mean " + near + "?";
    fmt::print(stderr, "horus: there is no node {} ({})\n", printable(node), printable(hint));
  }
  return missing;
}

bool is_meant(const NodeArguments& arguments, const Seen& seen) {
  return arguments.nodes.empty() ||
         std::find(arguments.nodes.begin(), arguments.nodes.end(), seen.node.name) != arguments.nodes.end();
}

std::string row_text(const std::vector<Seen>& all) {
  Rows rows{{"node", "program", "state", "rate", "ticks", "kept", "failed", "late p99 ms", "runs p99 ms",
             "sent", "received"}};
  for (const auto& [process, node] : all) {
    rows.push_back({printable(node.name), name_of(process), printable(state_text(node)), rate_text(node),
                    std::to_string(node.ticks), fmt::format("{:.1f} %", 100 * node.kept),
                    std::to_string(node.failed), ms_text(node.lateness.p99_ns),
                    ms_text(node.execution.p99_ns), std::to_string(node.sent),
                    std::to_string(node.received)});
  }
  return table(rows);
}

std::string details_of(const Seen& seen) {
  const auto& [process, node] = seen;
  const auto timing = [](const Timing& one) {
    return fmt::format("p50 {}  p99 {}  max {} ms", ms_text(one.p50_ns), ms_text(one.p99_ns),
                       ms_text(one.max_ns));
  };
  Rows rows{
      {"node", printable(node.name)},
      {"program", name_of(process)},
      {"executor", node.executor.empty() ? "the scheduler's own" : printable(node.executor)},
      {"state", printable(state_text(node))},
      {"rate", fmt::format("{}, priority {}", rate_text(node), node.priority)},
      {"ticks", fmt::format("{}, {} failed, {} cancelled, {} skipped; {:.2f} % in time", node.ticks,
                            node.failed, node.cancelled, node.skipped, 100 * node.kept)},
      {"misses", fmt::format("{} deadlines; {} restarts", node.deadline_misses, node.restarts)},
      {"watchdog", node.watchdog_ms == 0 ? "none"
                                         : fmt::format("{:g} ms; last success {:.0f} ms ago",
                                                       node.watchdog_ms, node.since_success_ms)},
      {"messages", fmt::format("{} sent, {} received, {} queued", node.sent, node.received, node.queued)},
      {"lateness", timing(node.lateness)},
      {"execution", timing(node.execution)},
      {"response", timing(node.response)}};
  if (!node.last_error.empty()) rows.push_back({"last error", printable(node.last_error)});
  for (const inspect::Await& await : node.awaits) {
    rows.push_back({"waits", fmt::format("{} at {}: {} times, {} ms in all, worst {} ms",
                                         printable(await.operation), printable(await.place), await.count,
                                         ms_text(await.total_ns), ms_text(await.worst_ns))});
  }
  return table(rows);
}

int show(const NodeArguments& arguments, bool in_full) {
  auto visits = visit(arguments.visit);
  if (!visits) return complain(visits.error());
  auto all = nodes_of(*visits);
  if (!all) return complain(all.error());
  const bool missing = complain_of_missing(arguments, *all);
  std::erase_if(*all, [&](const Seen& seen) { return !is_meant(arguments, seen); });
  if (all->empty() && !missing)
    fmt::print(stderr, "horus: {}\n",
               visits->empty() ? "no program of this user has a door open (docs/inspecting.md)"
                               : "no scheduler runs in any program");
  std::string text;
  if (arguments.visit.json) {
    for (const Seen& seen : *all) text += json_text(seen) + '\n';
  } else if (in_full) {
    for (const Seen& seen : *all) text += (text.empty() ? "" : "\n") + details_of(seen);
  } else if (!all->empty()) {
    text = row_text(*all);
  }
  return put(text) && !missing ? 0 : 1;
}

// To the one program that has this node: which of several is meant must be said.
int act(const NodeArguments& arguments, Action action) {
  auto visits = visit(arguments.visit);
  if (!visits) return complain(visits.error());
  auto all = nodes_of(*visits);
  if (!all) return complain(all.error());
  if (complain_of_missing(arguments, *all)) return 1;
  int code = 0;
  for (const std::string& node : arguments.nodes) {
    std::vector<Visit*> with_it;
    for (Visit& visit : *visits) {
      if (std::any_of(all->begin(), all->end(), [&](const Seen& seen) {
            return seen.node.name == node && seen.process.socket == visit.process.socket;
          }))
        with_it.push_back(&visit);
    }
    if (with_it.size() > 1) {
      std::string list;
      for (const Visit* visit : with_it) list += (list.empty() ? "" : ", ") + name_of(visit->process);
      fmt::print(stderr, "horus: several programs have a node {} ({}): say which one with -p\n",
                 printable(node), list);
      code = 1;
    } else if (auto done = with_it.front()->client.act(action, node); !done) {
      code = complain(done.error());
    }
  }
  return code;
}

int dump(const NodeArguments& arguments) {
  auto visits = visit(arguments.visit);
  if (!visits) return complain(visits.error());
  if (visits->empty()) {
    fmt::print(stderr, "horus: no program of this user has a door open (docs/inspecting.md)\n");
    return 1;
  }
  int code = 0;
  for (Visit& visit : *visits) {
    auto tasks = visit.client.tasks();
    if (!tasks) {
      code = complain(tasks.error());
    } else if (arguments.visit.json) {
      if (!put(fmt::format("{{\"process\": {}, \"pid\": {}, \"tasks\": {}}}\n",
                           json_string(visit.process.name), visit.process.pid, json_string(*tasks))))
        return 1;
    } else {
      const bool first = &visit == &visits->front();
      if (!put(fmt::format("{}{}\n{}", first ? "" : "\n", name_of(visit.process), *tasks))) return 1;
    }
  }
  return code;
}

// One that nobody hears must not look like one that worked: every program is named, and none is a failure.
int emergency_stop(const NodeArguments& arguments) {
  const Action action = arguments.reset ? Action::reset_emergency_stop : Action::emergency_stop;
  auto visits = visit(arguments.visit);
  if (!visits) return complain(visits.error());
  int code = 0;
  std::size_t reached = 0;
  for (Visit& visit : *visits) {
    auto done = visit.client.act(action);
    if (done) {
      ++reached;
      if (!put(fmt::format("{}: {}\n", name_of(visit.process),
                           arguments.reset ? "the emergency stop is over" : "emergency stop")))
        code = 1;
    } else if (!arguments.visit.process.empty() || done.code() != EINVAL || arguments.reset) {
      code = complain(done.error());
    }
  }
  if (reached > 0) return code;
  fmt::print(stderr, "horus: nothing was {}: no scheduler runs in {}\n",
             arguments.reset ? "reset" : "stopped",
             arguments.visit.process.empty() ? "any program of this user that has a door"
                                             : printable(arguments.visit.process));
  return 1;
}

}  // namespace

void add_node(CLI::App& app, std::function<int()>& action) {
  const auto does = [&action](CLI::App& verb, const std::shared_ptr<NodeArguments>& arguments,
                              std::function<int(const NodeArguments&)> run) {
    add_visit_options(verb, arguments->visit);
    verb.callback([&action, arguments, run = std::move(run)] {
      action = [arguments, run] { return run(*arguments); };
    });
  };
  CLI::App* node =
      app.add_subcommand("node", "The nodes of running schedulers: list, info, pause, resume, restart");
  node->require_subcommand(1);
  node->footer(
      "Programs are seen through their doors (docs/inspecting.md), also while their loops are blocked.\n"
      "pause, resume and restart need `control = true` in the program's [inspect].\n"
      "Exit code: 0; 1 when it failed or there is no such node; 2 for wrong arguments.");
  const auto add = [&](const char* name, const char* purpose, bool required,
                       std::function<int(const NodeArguments&)> run) {
    auto arguments = std::make_shared<NodeArguments>();
    CLI::App* verb = node->add_subcommand(name, purpose);
    auto* nodes = verb->add_option("NODES", arguments->nodes, required ? "The nodes" : "Only these nodes");
    if (required) nodes->required();
    does(*verb, arguments, std::move(run));
  };
  add("list", "Every node, a line each", false,
      [](const NodeArguments& given) { return show(given, false); });
  add("info", "All that is known of nodes, and what their ticks waited for", false,
      [](const NodeArguments& given) { return show(given, true); });
  add("pause", "Release a node no longer; a tick in flight ends normally", true,
      [](const NodeArguments& given) { return act(given, Action::pause); });
  add("resume", "Release it again", true,
      [](const NodeArguments& given) { return act(given, Action::resume); });
  add("restart", "Cancel a node's tick, then call its shutdown() and init()", true,
      [](const NodeArguments& given) { return act(given, Action::restart); });

  auto looks = std::make_shared<NodeArguments>();
  CLI::App* tasks =
      app.add_subcommand("tasks", "What every coroutine of a running program waits for, and where");
  tasks->footer("A loop that is blocked is shown with its stack.");
  does(*tasks, looks, dump);

  auto stops = std::make_shared<NodeArguments>();
  CLI::App* estop = app.add_subcommand("estop", "Stop all action in every running program, or in one (-p)");
  estop->footer(
      "It is kept until it is reset. Exit code: 0 when a scheduler was reached, and every program could be "
      "asked.");
  estop->add_flag("--reset", stops->reset, "End it; needs `control = true` in the program's [inspect]");
  does(*estop, stops, emergency_stop);
}

}  // namespace horus::cli
