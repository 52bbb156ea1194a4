// SPDX-License-Identifier: Apache-2.0
#include <horus/io/seam/buffer_watch.hpp>

#ifdef HORUS_ASAN

#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include <horus/base/assert.hpp>
#include <horus/io/seam/entry.hpp>

#include <sanitizer/asan_interface.h>

namespace horus::HORUS_ABI::io::detail {
namespace {

struct Watched {
  std::uint8_t opcode;
  std::vector<Region> regions;
};

std::unordered_map<std::uint64_t, Watched>& watched() {
  static thread_local std::unordered_map<std::uint64_t, Watched> map;
  return map;
}

// None for those whose success is not told.
std::vector<Region> regions_of(const io_uring_sqe& entry) {
  std::vector<Region> regions;
  if ((entry.flags & IOSQE_CQE_SKIP_SUCCESS) != 0) return regions;
  each_region(entry, [&](const Region& region) { regions.push_back(region); });
  return regions;
}

void check(std::uint8_t opcode, const std::vector<Region>& regions, const char* when) {
  for (const Region& region : regions) {
    if (region.size == 0) continue;
    const void* gone = ::__asan_region_is_poisoned(region.data, region.size);
    if (gone == nullptr) continue;
    const std::string what =
        fmt::format("{}: the memory of a {} ({} bytes at {}) was freed at {}", when,
                    instruction_of(opcode)->name, region.size, fmt::ptr(region.data), fmt::ptr(gone));
    ::__asan_describe_address(const_cast<void*>(gone));
    HORUS_ASSERT(false, what.c_str());
  }
}

}  // namespace

void watch_buffers_of(const io_uring_sqe& entry) {
  std::vector<Region> regions = regions_of(entry);
  if (regions.empty()) return;
  check(entry.opcode, regions, "submitted too late");
  watched()[entry.user_data] = {entry.opcode, std::move(regions)};
}

void check_buffers_of(const io_uring_cqe& completion) {
  const auto found = watched().find(completion.user_data);
  if (found == watched().end()) return;
  check(found->second.opcode, found->second.regions, "freed while the kernel worked on it");
  watched().erase(found);
}

}  // namespace horus::HORUS_ABI::io::detail

#endif  // HORUS_ASAN
