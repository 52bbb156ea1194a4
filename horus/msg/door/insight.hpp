// SPDX-License-Identifier: Apache-2.0
// What a door tells of the schedulers that run in its process. These are of a layer above, so they offer themselves. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <string_view>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/inspect.hpp>

namespace horus::HORUS_ABI::msg::door {

/// A running scheduler, asked on the door's thread. No answer may wait for a loop longer than 50 ms.
class Insight {
 public:
  virtual std::vector<inspect::Node> nodes() = 0;
  [[nodiscard]] virtual bool has_node(std::string_view node) = 0;
  /// Of its node, or of itself. Errors in words for the visitor.
  virtual Result<> act(inspect::Action action, std::string_view node) = 0;

 protected:
  ~Insight() = default;
};

/// Visitors are told of it while this lives. Its end waits until no visitor is being answered.
class HORUS_API Offer {
 public:
  explicit Offer(Insight& insight);
  Offer(const Offer&) = delete;
  Offer& operator=(const Offer&) = delete;
  ~Offer();

 private:
  Insight& insight_;
};

/// What they all tell, in the order of their offers.
std::vector<inspect::Node> all_nodes();
/// Does it to the one node of that name, or to all schedulers. Gives for how many. Errors: EPERM, and EINVAL with what there is.
Result<std::size_t> act(inspect::Action action, const std::string& node);

/// What a configuration says: visitors may change something. Any thread.
HORUS_API void permit_control(bool permitted) noexcept;

/// Around a fork.
void lock_offers() noexcept;
void unlock_offers() noexcept;

}  // namespace horus::HORUS_ABI::msg::door
