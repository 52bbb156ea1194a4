// SPDX-License-Identifier: Apache-2.0
#include <horus/task/shield.hpp>

namespace horus::HORUS_ABI::detail {

void stop_shielded(Chain& chain) noexcept {
  chain.request_stop();
  const Waiter* leaf = chain.leaf();
  if (leaf == nullptr || leaf->kind->children == nullptr) return;
  leaf->kind->children(
      *leaf, [](const Chain& child, void*) { stop_shielded(const_cast<Chain&>(child)); }, nullptr);
}

}  // namespace horus::HORUS_ABI::detail
