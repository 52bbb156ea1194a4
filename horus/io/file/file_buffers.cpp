// SPDX-License-Identifier: Apache-2.0
#include <horus/io/file_buffers.hpp>

#include <cerrno>

#include <sys/uio.h>

#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI::io {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 30;  // the kernel's limit for one registered buffer

}  // namespace

Result<FixedBuffers> FixedBuffers::create(std::size_t count, std::size_t size) {
  if (count == 0 || size == 0 || size > kMostBytes / count) {
    return Error(EINVAL, "register buffers", "(count and size from 1 byte to 1 GiB together)");
  }
  auto region = std::make_unique<detail::FixedRegion>();
  region->own = AlignedBuffer(count * size);
  region->memory = region->own.bytes();
  return add(std::move(region), count);
}

Result<FixedBuffers> FixedBuffers::over(std::span<std::byte> memory, std::size_t count) {
  if (count == 0 || memory.size() < count || memory.size() > kMostBytes) {
    return Error(EINVAL, "register buffers", "(count and size from 1 byte to 1 GiB together)");
  }
  auto region = std::make_unique<detail::FixedRegion>();
  region->memory = memory.first(memory.size() / count * count);
  return add(std::move(region), count);
}

// One registration for all: every buffer has index 0, and the kernel's table stays one line of cache.
Result<FixedBuffers> FixedBuffers::add(std::unique_ptr<detail::FixedRegion> region, std::size_t count) {
  region->reactor = Reactor::current();
  HORUS_ASSERT(region->reactor != nullptr, "FixedBuffers on a thread that runs no reactor");
  const iovec all{region->memory.data(), region->memory.size()};
  const int result = region->reactor->ring().register_buffers(&all, 1);
  if (result < 0) {
    return Error(-result, "register buffers",
                 result == -EBUSY ? "(this reactor has a FixedBuffers already)" : "");
  }
  return FixedBuffers(std::move(region), count);
}

void FixedBuffers::release() noexcept {
  if (region_ == nullptr) return;
  HORUS_ASSERT(region_->uses == 0, "fixed buffers were destroyed while a file operation still used them");
  if (region_->reactor == Reactor::current()) region_->reactor->ring().unregister_buffers();
  region_.reset();
}

}  // namespace horus::HORUS_ABI::io
