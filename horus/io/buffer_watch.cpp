// SPDX-License-Identifier: Apache-2.0
#include <horus/io/buffer_watch.hpp>

#ifdef HORUS_ASAN

#include <unordered_map>
#include <vector>

#include <sys/socket.h>
#include <sys/uio.h>

#include <fmt/format.h>

#include <horus/base/assert.hpp>

#include <sanitizer/asan_interface.h>

namespace horus::io::detail {
namespace {

struct Watched {
  int opcode;
  std::vector<iovec> regions;
};

std::unordered_map<std::uint64_t, Watched>& watched() {
  static thread_local std::unordered_map<std::uint64_t, Watched> map;
  return map;
}

void append(std::vector<iovec>& regions, const void* vectors, std::size_t count) {
  const auto* first = static_cast<const iovec*>(vectors);
  regions.insert(regions.end(), first, first + count);
}

// The buffers that the kernel reads or writes for this entry; none for those that bring their own.
std::vector<iovec> buffers_of(const io_uring_sqe& entry) {
  std::vector<iovec> regions;
  auto* address = reinterpret_cast<void*>(entry.addr);  // NOLINT(performance-no-int-to-ptr): the ABI
  if ((entry.flags & (IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS)) != 0) return regions;
  switch (entry.opcode) {
    case IORING_OP_READ:
    case IORING_OP_WRITE:
    case IORING_OP_READ_FIXED:
    case IORING_OP_WRITE_FIXED:
    case IORING_OP_RECV:
    case IORING_OP_SEND: regions.push_back({address, entry.len}); break;
    case IORING_OP_READV:
    case IORING_OP_WRITEV: append(regions, address, entry.len); break;
    case IORING_OP_RECVMSG:
    case IORING_OP_SENDMSG: {
      const auto& message = *static_cast<const msghdr*>(address);
      append(regions, message.msg_iov, message.msg_iovlen);
      break;
    }
    default: break;
  }
  return regions;
}

void check(int opcode, const std::vector<iovec>& regions, const char* when) {
  for (const iovec& region : regions) {
    if (region.iov_len == 0) continue;
    const void* gone = ::__asan_region_is_poisoned(region.iov_base, region.iov_len);
    if (gone == nullptr) continue;
    const std::string what =
        fmt::format("{}: the buffer of operation {} ({} bytes at {}) was freed at {}", when, opcode,
                    region.iov_len, fmt::ptr(region.iov_base), fmt::ptr(gone));
    ::__asan_describe_address(const_cast<void*>(gone));
    HORUS_ASSERT(false, what.c_str());
  }
}

}  // namespace

void watch_buffers_of(const io_uring_sqe& entry) {
  std::vector<iovec> regions = buffers_of(entry);
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

}  // namespace horus::io::detail

#endif  // HORUS_ASAN
