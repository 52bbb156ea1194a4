// SPDX-License-Identifier: Apache-2.0
#include <horus/py/hub/format.hpp>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include <horus/msg/json.hpp>
#include <horus/msg/messages.hpp>
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

// A ready message's, which has what its Python class does not know: units, constants, ROS' names.
const Description* find_ready(std::uint64_t layout_hash) {
  using namespace messages;
  static const auto* ready = [] {
    auto* all = new std::map<std::uint64_t, const Description*>();
    for (const Description* one :
         {&describe<Header>(), &describe<Point>(), &describe<Vector3>(), &describe<Quaternion>(),
          &describe<Pose>(), &describe<Twist>(), &describe<PoseWithCovariance>(),
          &describe<TwistWithCovariance>(), &describe<Odometry>(), &describe<Imu>(), &describe<JointState>(),
          &describe<LaserScan>(), &describe<BatteryState>(), &describe<NavSatFix>(), &describe<Image>(),
          &describe<PointCloud>()})
      all->emplace(one->layout().hash, one);
    return all;
  }();
  const auto found = ready->find(layout_hash);
  return found == ready->end() ? nullptr : found->second;
}

}  // namespace

void Format::learn(std::span<const std::byte> description_bytes) {
  static std::mutex mutex;
  static auto* all = new std::map<std::string, Description>();  // kept for good, as layouts are
  if (description != nullptr) return;
  auto decoded = Description::decode(description_bytes);
  if (!decoded || decoded->layout().hash != layout->hash) return;
  std::string key(reinterpret_cast<const char*>(description_bytes.data()), description_bytes.size());
  const std::lock_guard lock(mutex);
  description = &all->try_emplace(std::move(key), std::move(*decoded)).first->second;
}

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
  const Layout& kept = intern(std::move(layout));
  return {&kept, Codec::raw, find_ready(kept.hash)};
}

}  // namespace horus::python
