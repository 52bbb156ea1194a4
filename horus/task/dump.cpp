// SPDX-License-Identifier: Apache-2.0
// Async stack dumps: from a chain's leaf waiter up through the parents of each promise.
#include <string>

#include <fmt/format.h>

#include <horus/task/chain.hpp>

namespace horus {
namespace {

struct Dump {
  std::string text;
  int depth = 0;
};

std::string_view base_name(std::string_view path) {
  // Two parts of the path are enough to find the file, and short enough for one line.
  auto cut = path.rfind('/');
  if (cut != std::string_view::npos && cut > 0) cut = path.rfind('/', cut - 1);
  return cut == std::string_view::npos ? path : path.substr(cut + 1);
}

void dump_into(const Chain& chain, void* context) {
  auto& dump = *static_cast<Dump*>(context);
  const std::string indent(static_cast<std::size_t>(dump.depth) * 4, ' ');
  const Waiter* leaf = chain.leaf();
  fmt::format_to(std::back_inserter(dump.text), "{}{}{}: ", indent, chain.name(),
                 chain.stop_requested() ? " (asked to stop)" : "");
  if (leaf == nullptr) {
    dump.text += "running or ready to run\n";
    return;
  }
  fmt::format_to(std::back_inserter(dump.text), "waits for {}", leaf->kind->name);
  if (leaf->kind->describe != nullptr) leaf->kind->describe(*leaf, dump.text);
  dump.text += '\n';
  for (const PromiseBase* promise = leaf->promise; promise != nullptr; promise = promise->parent) {
    fmt::format_to(std::back_inserter(dump.text), "{}  at {} ({}:{})\n", indent,
                   promise->where.function_name(), base_name(promise->where.file_name()),
                   promise->where.line());
  }
  if (leaf->kind->children != nullptr) {
    ++dump.depth;
    leaf->kind->children(*leaf, &dump_into, &dump);
    --dump.depth;
  }
}

}  // namespace

std::string dump_chain(const Chain& chain) {
  Dump dump;
  dump_into(chain, &dump);
  return std::move(dump.text);
}

std::string dump_tasks() {
  Dump dump;
  if (const auto* roots = detail::thread_state.roots; roots != nullptr) {
    roots->for_each([&](const Chain& chain) { dump_into(chain, &dump); });
  }
  return std::move(dump.text);
}

}  // namespace horus
