// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/door/insight.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <string>

#include <fmt/format.h>

#include <horus/config/tree.hpp>

namespace horus::HORUS_ABI::inspect {

const char* to_string(Action action) noexcept {
  switch (action) {
    case Action::emergency_stop: return "emergency_stop";
    case Action::reset_emergency_stop: return "reset_emergency_stop";
    case Action::pause: return "pause";
    case Action::resume: return "resume";
    case Action::restart: return "restart";
  }
  return "";
}

}  // namespace horus::HORUS_ABI::inspect

namespace horus::HORUS_ABI::msg::door {
namespace {

constexpr std::size_t kNodesShown = 8;

struct Offers {
  std::mutex mutex;
  std::vector<Insight*> all;
};

Offers& offers() {
  static auto* only = new Offers();  // never destroyed: a visitor may be answered at the end
  return *only;
}

std::atomic<bool> controlled{false};

std::string no_such_node(const std::string& node, const std::vector<Insight*>& all) {
  std::vector<std::string> names;
  for (Insight* insight : all) {
    for (inspect::Node& known : insight->nodes()) names.push_back(std::move(known.name));
  }
  const std::string near = config::nearest(node, names);
  if (!near.empty()) return fmt::format("there is no node {}: did you mean {}?", node, near);
  const bool more = names.size() > kNodesShown;
  if (more) names.resize(kNodesShown);
  return fmt::format("there is no node {} (there are: {}{})", node, fmt::join(names, ", "),
                     more ? ", ..." : "");
}

}  // namespace

Offer::Offer(Insight& insight) : insight_(insight) {
  const std::lock_guard lock(offers().mutex);
  offers().all.push_back(&insight);
}

Offer::~Offer() {
  const std::lock_guard lock(offers().mutex);
  std::erase(offers().all, &insight_);
}

std::vector<inspect::Node> all_nodes() {
  const std::lock_guard lock(offers().mutex);
  std::vector<inspect::Node> nodes;
  for (Insight* insight : offers().all) {
    for (inspect::Node& node : insight->nodes()) nodes.push_back(std::move(node));
  }
  return nodes;
}

Result<std::size_t> act(inspect::Action action, const std::string& node) {
  const auto refuse = [&](int code, std::string why) {
    return Error(code, to_string(action), std::move(why));
  };
  if (action != inspect::Action::emergency_stop && !controlled.load(std::memory_order_relaxed))
    return refuse(EPERM,
                  "this program lets visitors look only (control = true in its [inspect] permits more)");
  const std::lock_guard lock(offers().mutex);
  const std::vector<Insight*>& all = offers().all;
  if (all.empty()) return refuse(EINVAL, "no scheduler runs in this program: nothing was done");
  const bool of_all =
      action == inspect::Action::emergency_stop || action == inspect::Action::reset_emergency_stop;
  if (of_all && !node.empty()) return refuse(EINVAL, "it is for all nodes: name none");
  if (!of_all && node.empty()) return refuse(EINVAL, "name a node");
  std::size_t done = 0;
  for (Insight* insight : all) {
    if (!of_all && !insight->has_node(node)) continue;
    if (auto acted = insight->act(action, node); !acted) return acted.error();
    ++done;
  }
  if (done == 0) return refuse(EINVAL, no_such_node(node, all));
  return done;
}

void permit_control(bool permitted) noexcept { controlled.store(permitted, std::memory_order_relaxed); }

void lock_offers() noexcept { offers().mutex.lock(); }
void unlock_offers() noexcept { offers().mutex.unlock(); }

}  // namespace horus::HORUS_ABI::msg::door
