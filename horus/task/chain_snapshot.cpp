// SPDX-License-Identifier: Apache-2.0
#include <horus/task/chain_snapshot.hpp>

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include <horus/task/dump_text.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr std::size_t kMostRoots = 100'000;  // a list that is being changed must not keep a handler for ever
constexpr int kMostParents = 1000;

struct SnapshotVisit {
  ChainSnapshots* into;
  int (*descriptor_of)(const Waiter&) noexcept;
  int depth;
};

void take_one(const Chain& chain, void* context) {
  auto& visit = *static_cast<SnapshotVisit*>(context);
  ChainSnapshots& into = *visit.into;
  if (into.count == ChainSnapshots::kChains) {
    ++into.more;
    return;
  }
  ChainSnapshot& one = into.chains[into.count++];
  one = ChainSnapshot{};
  const std::string_view label = chain.label();
  std::copy_n(label.begin(), std::min(label.size(), ChainSnapshot::kName - 1), one.name);
  one.depth = visit.depth;
  one.stop_requested = chain.stop_requested();
  const Waiter* leaf = chain.leaf();
  if (leaf == nullptr || leaf->kind == nullptr) return;
  one.waits_for = leaf->kind->name;
  one.descriptor = visit.descriptor_of != nullptr ? visit.descriptor_of(*leaf) : -1;
  int parents = 0;
  for (const PromiseBase* promise = leaf->promise; promise != nullptr && parents < kMostParents;
       promise = promise->parent, ++parents) {
    if (one.awaits == ChainSnapshot::kAwaits) {
      one.more_awaits = true;
      break;
    }
    one.where[one.awaits++] = promise->where;
  }
  if (leaf->kind->children != nullptr && visit.depth < kMostParents) {
    ++visit.depth;
    leaf->kind->children(*leaf, &take_one, &visit);
    --visit.depth;
  }
}

}  // namespace

void take_snapshots(ChainSnapshots& into, int (*descriptor_of)(const Waiter&) noexcept) noexcept {
  into.count = into.more = 0;
  const auto* roots = thread_state.roots;
  if (roots == nullptr) return;
  SnapshotVisit visit{&into, descriptor_of, 0};
  std::size_t seen = 0;
  for (const Chain* chain = roots->front(); chain != nullptr && seen < kMostRoots; ++seen) {
    take_one(*chain, &visit);
    chain = roots->after(*chain);
  }
}

std::string describe(const ChainSnapshots& snapshots) {
  std::string text;
  for (std::size_t i = 0; i < snapshots.count; ++i) {
    const ChainSnapshot& one = snapshots.chains[i];
    append_chain(text, one.depth, one.name, one.stop_requested, one.waits_for);
    if (one.descriptor >= 0) fmt::format_to(std::back_inserter(text), " (fd {})", one.descriptor);
    text += '\n';
    for (std::size_t k = 0; k < one.awaits; ++k) append_await(text, one.depth, one.where[k]);
    if (one.more_awaits) append_more_awaits(text, one.depth);
  }
  if (snapshots.more > 0) fmt::format_to(std::back_inserter(text), "... and {} more tasks\n", snapshots.more);
  return text;
}

}  // namespace horus::HORUS_ABI::detail
