// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/slot_pool.hpp>

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010  // Linux 5.1
#endif

namespace horus::msg {
namespace {

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

Result<std::shared_ptr<Mapping>> map(int file, std::size_t bytes, bool writable) {
  const int flags = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED | MAP_NORESERVE;
  void* data = ::mmap(nullptr, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, flags, file, 0);
  if (data == MAP_FAILED) {
    const int error = errno;
    if (file >= 0) ::close(file);
    return Error(error, "map message memory");
  }
  return std::make_shared<Mapping>(static_cast<std::byte*>(data), bytes, file);
}

}  // namespace

Result<std::shared_ptr<Mapping>> Mapping::create(std::size_t bytes, bool sharable, const char* name) {
  if (!sharable) return map(-1, bytes, true);
  const int file = ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return Error(errno, "memfd_create", name);
  if (::ftruncate(file, static_cast<off_t>(bytes)) != 0 || ::fcntl(file, F_ADD_SEALS, kSizeSeals) != 0) {
    const Error error(errno, "prepare message memory", name);
    ::close(file);
    return error;
  }
  return map(file, bytes, true);
}

Result<std::shared_ptr<Mapping>> Mapping::adopt(int file, std::size_t bytes, bool writable) {
  const int seals = ::fcntl(file, F_GET_SEALS);
  struct stat status{};
  if (seals < 0 || (seals & kSizeSeals) != kSizeSeals || ::fstat(file, &status) != 0 || status.st_size < 0 ||
      static_cast<std::uint64_t>(status.st_size) < bytes) {
    ::close(file);
    return Error(kBadInput, "map message memory",
                 "of a peer (not sealed against a change of its size, or too small)");
  }
  auto mapped = map(file, bytes, writable);
  if (mapped) (*mapped)->close_file();
  return mapped;
}

void Mapping::close_file() noexcept {
  if (file_ >= 0) ::close(std::exchange(file_, -1));
}

Mapping::~Mapping() {
  ::munmap(data_, size_);
  close_file();
}

Result<> Mapping::forbid_writers() {
  if (::fcntl(file_, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0)
    return Error(errno, "seal message memory");
  return {};
}

SlotPool::SlotPool(std::shared_ptr<Mapping> memory, std::uint32_t slots, std::uint32_t stride)
    : memory_(std::move(memory)), stride_(stride), users_(slots, 0) {
  free_.reserve(slots);
  for (std::uint32_t slot = slots; slot > 0; --slot) free_.push_back(slot - 1);
}

}  // namespace horus::msg
