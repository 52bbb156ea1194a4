// SPDX-License-Identifier: Apache-2.0
// The words of a time limit that was reached.
#include <horus/io/time.hpp>

#include <iterator>

#include <fmt/format.h>

namespace horus::HORUS_ABI::detail {
namespace {

// "1 s", "250 ms", "1.5 s": the largest unit that leaves a whole number, or two digits of the next smaller one.
std::string shown(Duration limit) {
  const auto ns = static_cast<double>(limit.count());
  if (limit >= std::chrono::seconds(1)) return fmt::format("{:.4g} s", ns * 1e-9);
  if (limit >= std::chrono::milliseconds(1)) return fmt::format("{:.4g} ms", ns * 1e-6);
  return fmt::format("{:.4g} us", ns * 1e-3);
}

// The innermost chain that waits for something that can be named.
void innermost(const Chain& chain, void* out) {
  const Waiter* leaf = chain.leaf();
  if (leaf == nullptr) return;
  auto& line = *static_cast<std::string*>(out);
  if (leaf->kind->children != nullptr) {
    leaf->kind->children(*leaf, &innermost, out);
    if (!line.empty()) return;
  }
  if (!line.empty()) return;  // the first branch
  line = leaf->kind->name;
  if (leaf->kind->describe != nullptr) leaf->kind->describe(*leaf, line);
}

}  // namespace

std::string awaited_by(const Chain& chain) {
  std::string line;
  innermost(chain, &line);
  return line;
}

Error timed_out(const Error& stopped, std::string_view awaited, Duration limit) {
  const bool anonymous = stopped.operation()[0] == '\0';
  std::string target(anonymous ? awaited : stopped.target());
  // An await that names nothing itself (a stream's next value) stands for one that does: "read (fd 7)".
  if (target.empty() && awaited.find_first_of("(\"") != std::string_view::npos)
    target = fmt::format("({})", awaited);
  const Error late(ETIMEDOUT, anonymous ? "wait for" : stopped.operation(), target);
  return late.with_detail("after " + shown(limit));
}

}  // namespace horus::HORUS_ABI::detail
