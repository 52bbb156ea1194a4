// SPDX-License-Identifier: Apache-2.0
#include <horus/task/branch.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

void stop_branches(Waiter& waiter) noexcept { static_cast<Join&>(waiter).stop(); }

void visit_branches(const Waiter& waiter, void (*visit)(const Chain&, void*), void* context) {
  struct Visitor {
    void (*visit)(const Chain&, void*);
    void* context;
  } visitor{visit, context};
  // A dump only reads; for_each is shared with stop(), which writes.
  const_cast<Join&>(static_cast<const Join&>(waiter))
      .for_each(
          [](Chain& branch, void* self) {
            auto* to = static_cast<Visitor*>(self);
            to->visit(branch, to->context);
          },
          &visitor);
}

}  // namespace

const WaitKind Join::kKind{
    .name = "its branches", .cancel = &stop_branches, .describe = nullptr, .children = &visit_branches};

}  // namespace horus::HORUS_ABI::detail
