// SPDX-License-Identifier: Apache-2.0
// Async stack dumps: from a chain's leaf waiter up through the parents of each promise.
#include <string>

#include <fmt/format.h>

#include <horus/base/symbols.hpp>
#include <horus/task/chain.hpp>
#include <horus/task/dump_text.hpp>

namespace horus::HORUS_ABI {
namespace {

struct Dump {
  std::string text;
  int depth = 0;
};

std::string_view short_path(std::string_view path) {
  // Two parts of the path are enough to find the file, and short enough for one line.
  auto cut = path.rfind('/');
  if (cut != std::string_view::npos && cut > 0) cut = path.rfind('/', cut - 1);
  return cut == std::string_view::npos ? path : path.substr(cut + 1);
}

void indent(std::string& text, int depth) { text.append(static_cast<std::size_t>(depth) * 4, ' '); }

void dump_into(const Chain& chain, void* context) {
  auto& dump = *static_cast<Dump*>(context);
  const Waiter* leaf = chain.leaf();
  detail::append_chain(dump.text, dump.depth, chain.name(), chain.stop_requested(),
                       leaf == nullptr ? nullptr : leaf->kind->name);
  if (leaf != nullptr && leaf->kind->describe != nullptr) leaf->kind->describe(*leaf, dump.text);
  dump.text += '\n';
  if (leaf == nullptr) return;
  for (const PromiseBase* promise = leaf->promise; promise != nullptr; promise = promise->parent)
    detail::append_await(dump.text, dump.depth, promise->where);
  if (leaf->kind->children != nullptr) {
    ++dump.depth;
    leaf->kind->children(*leaf, &dump_into, &dump);
    --dump.depth;
  }
}

}  // namespace

namespace detail {

void append_chain(std::string& text, int depth, std::string_view name, bool stop_requested,
                  const char* waits_for) {
  indent(text, depth);
  fmt::format_to(std::back_inserter(text), "{}{}: ", name, stop_requested ? " (asked to stop)" : "");
  if (waits_for == nullptr) {
    text += "running or ready to run";
  } else {
    fmt::format_to(std::back_inserter(text), "waits for {}", waits_for);
  }
}

void append_await(std::string& text, int depth, const std::source_location& where) {
  indent(text, depth);
  fmt::format_to(std::back_inserter(text), "  at {} ({}:{})\n",
                 without_version(readable(where.function_name())), short_path(where.file_name()),
                 where.line());
}

void append_more_awaits(std::string& text, int depth) {
  indent(text, depth);
  text += "  ...\n";
}

}  // namespace detail

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

}  // namespace horus::HORUS_ABI
