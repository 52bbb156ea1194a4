// SPDX-License-Identifier: Apache-2.0
// A running scheduler as the door of its process shows it. Called on the door's thread. Internal.
#pragma once

#include <string_view>
#include <vector>

#include <horus/msg/door/insight.hpp>
#include <horus/sched/scheduler.hpp>

namespace horus::HORUS_ABI::detail {

class RunInsight final : public msg::door::Insight {
 public:
  explicit RunInsight(Scheduler& scheduler) : scheduler_(scheduler) {}

  std::vector<inspect::Node> nodes() override;
  bool has_node(std::string_view node) override;
  Result<> act(inspect::Action action, std::string_view node) override;

 private:
  Scheduler& scheduler_;
};

}  // namespace horus::HORUS_ABI::detail
