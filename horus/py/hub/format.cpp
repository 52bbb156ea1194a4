// SPDX-License-Identifier: Apache-2.0
#include <horus/py/hub/format.hpp>

#include <algorithm>
#include <map>
#include <mutex>

#include <horus/msg/json.hpp>
#include <horus/py/base/bindings.hpp>

namespace horus::python {
namespace {

// Kept for good: ports point to them. As many as a program has types.
const Layout& intern(Layout layout) {
  static std::mutex mutex;
  static auto* all = new std::map<std::uint64_t, Layout>();
  layout.settle();
  const std::lock_guard lock(mutex);
  return all->try_emplace(layout.hash, std::move(layout)).first->second;
}

}  // namespace

const Layout& layout_of_data() {
  static const Layout& layout = []() -> const Layout& {
    Layout made;
    made.name = kDataLayout;
    made.element_bytes = 1;
    return intern(std::move(made));
  }();
  return layout;
}

Format make_format(const std::string& name, const std::string& fields, std::uint32_t head_bytes,
                   std::uint32_t alignment, std::uint32_t element_bytes, std::uint32_t element_alignment) {
  Layout layout;
  layout.name = name;
  layout.fields = fields;
  layout.head_bytes = head_bytes;
  layout.alignment = std::max(alignment, element_alignment);
  layout.element_bytes = element_bytes;
  layout.tail_offset = (head_bytes + element_alignment - 1) / element_alignment * element_alignment;
  if (layout.alignment > 64) throw py::type_error(name + " is aligned to more than 64 bytes");
  return {&intern(std::move(layout)), Codec::raw};
}

}  // namespace horus::python
