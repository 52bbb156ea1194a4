// SPDX-License-Identifier: Apache-2.0
// Polling node: asks somebody else's queue for orders, often while there are some and seldom while there are none.
#include <deque>

#include <horus/horus.hpp>

using namespace horus::literals;

std::deque<std::string> orders;  // stands for a service that must be asked

class Orders : public horus::PollingNode<std::string> {
 public:
  Orders() : PollingNode("orders") {}

 private:
  horus::Task<std::optional<std::string>> poll() override {
    if (orders.empty()) co_return std::nullopt;
    std::string order = std::move(orders.front());
    orders.pop_front();
    co_return order;
  }
  horus::Task<> on_item(std::string order) override {
    fmt::print("order: {}\n", order);
    co_return;
  }
  horus::Task<> shutdown() override {
    fmt::print("{} orders; fewer than 100 polls in a third of a second: {}\n", stats().items,
               stats().polls < 100);
    co_return;
  }
};

int main() {
  orders = {"forward", "left"};
  horus::Scheduler scheduler;
  scheduler.add<Orders>();  // no rate: it paces itself
  int ticks = 0;
  scheduler
      .add("operator",
           [&] {
             if (++ticks == 10) orders.emplace_back("stop");
           })
      .rate(100_hz);
  return scheduler.run_for(300ms);
}
