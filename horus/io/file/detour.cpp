// SPDX-License-Identifier: Apache-2.0
#include <horus/io/file/detour.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include <sys/stat.h>
#include <sys/uio.h>

#include <horus/io/file_buffers.hpp>
#include <horus/io/seam/entry.hpp>

namespace horus::HORUS_ABI::io::detail {
namespace {

// One operation under way. It outlives the task that waits for it, and frees itself when the call has returned.
struct Detour : CompletionHandler {
  Operation* waiting = nullptr;  // null: has left
  Reactor* reactor = nullptr;
  std::uint64_t file_system = 0;
  io_uring_sqe entry{};
  int own_fd = -1;       // of an operation that had to queue: its file may be closed meanwhile
  AlignedBuffer memory;  // what the call reads or writes
  std::string paths[2];
  std::vector<iovec> parts;  // the caller's memory, for a read
  struct ::statx* status = nullptr;
};

// Those of one thread.
struct Room {
  std::vector<Detour*> under_way;
  std::deque<Detour*> queue;
  std::unordered_map<std::uint64_t, std::size_t> each;
};

Room& room() {
  static thread_local Room instance;
  return instance;
}

// The caller's memory may be gone before the call has returned: it gets none of it.
void use_own_memory(Detour& detour) {
  io_uring_sqe& entry = detour.entry;
  const Instruction& instruction = *instruction_of(entry.opcode);
  const auto own_path = [](std::string& copy, auto& address) {
    copy = reinterpret_cast<const char*>(address);
    address = reinterpret_cast<std::uintptr_t>(copy.c_str());
  };
  if (instruction.payload != Payload::none) {
    const bool reads = instruction.direction == Direction::in;
    std::size_t size = 0;
    each_region(entry, [&](const Region& region) {
      const std::size_t part = std::min(region.size, kMostDetourBytes - size);
      detour.parts.push_back({region.data, part});
      size += part;
    });
    detour.memory = AlignedBuffer(std::max<std::size_t>(size, 1));
    if (!reads) {
      std::byte* to = detour.memory.data();
      for (const iovec& part : detour.parts) {
        if (part.iov_len > 0) std::memcpy(to, part.iov_base, part.iov_len);
        to += part.iov_len;
      }
      detour.parts.clear();
    }
    const int fd = entry.fd;
    const std::uint64_t offset = entry.off;
    const std::uint8_t flags = entry.flags;
    entry = {};
    if (reads) {
      fill::read(entry, fd, detour.memory.data(), static_cast<std::uint32_t>(size), offset);
    } else {
      fill::write(entry, fd, detour.memory.data(), static_cast<std::uint32_t>(size), offset);
    }
    entry.flags = flags;
    return;
  }
  if (entry.opcode == IORING_OP_STATX) {
    detour.status = reinterpret_cast<struct ::statx*>(entry.off);
    detour.memory = AlignedBuffer(sizeof(struct ::statx), alignof(std::max_align_t));
    entry.off = reinterpret_cast<std::uintptr_t>(detour.memory.data());
  }
  const bool two = instruction.subject == Subject::two_paths;
  if (two || instruction.subject == Subject::path) own_path(detour.paths[0], entry.addr);
  if (two) own_path(detour.paths[1], entry.addr2);
}

void hand_result(Detour& detour, std::int32_t result) noexcept {
  if (result > 0 && !detour.parts.empty()) {
    const std::byte* from = detour.memory.data();
    auto left = static_cast<std::size_t>(result);
    for (const iovec& part : detour.parts) {
      const std::size_t size = std::min(left, part.iov_len);
      if (size > 0) std::memcpy(part.iov_base, from, size);
      from += size;
      left -= size;
    }
  }
  if (result >= 0 && detour.status != nullptr)
    std::memcpy(detour.status, detour.memory.data(), sizeof(struct ::statx));
  detour.waiting->refuse(result);
}

bool has_room(const Room& rooms, std::uint64_t file_system) noexcept {
  const auto found = rooms.each.find(file_system);
  return rooms.under_way.size() < kMostDetours &&
         (found == rooms.each.end() || found->second < kMostDetoursEach);
}

void start(Room& rooms, Detour& detour) noexcept {
  rooms.under_way.push_back(&detour);
  ++rooms.each[detour.file_system];
  detour.reactor->submit_handler(detour, [&](io_uring_sqe& entry) {
    entry = detour.entry;
    entry.flags |= IOSQE_ASYNC;
  });
}

void start_next(Room& rooms) noexcept {
  for (std::size_t i = 0; i < rooms.queue.size();) {
    Detour* next = rooms.queue[i];
    if (next->reactor != Reactor::current() || !has_room(rooms, next->file_system)) {
      ++i;
      continue;
    }
    rooms.queue.erase(rooms.queue.begin() + static_cast<std::ptrdiff_t>(i));
    start(rooms, *next);
  }
}

void ended(CompletionHandler& handler, std::int32_t result, std::uint32_t) noexcept {
  auto& detour = static_cast<Detour&>(handler);
  Reactor& reactor = *detour.reactor;
  Room& rooms = room();
  std::erase(rooms.under_way, &detour);
  if (--rooms.each[detour.file_system] == 0) rooms.each.erase(detour.file_system);
  if (detour.waiting != nullptr) {
    hand_result(detour, result);
  } else if (detour.entry.opcode == IORING_OP_OPENAT && result >= 0) {
    reactor.close_later(result);  // nobody wants it any more
  }
  if (detour.own_fd >= 0) reactor.close_later(detour.own_fd);
  delete &detour;
  start_next(rooms);
}

}  // namespace

void take_detour(Operation& operation, std::uint64_t file_system) noexcept {
  Reactor* reactor = Reactor::current();
  auto* detour = new Detour;
  detour->complete = &ended;
  detour->waiting = &operation;
  detour->reactor = reactor;
  detour->file_system = file_system;
  operation.state = Operation::State::in_flight;
  static_cast<const OperationKind*>(operation.kind)->prepare(operation, detour->entry);
  use_own_memory(*detour);
  Room& rooms = room();
  if (has_room(rooms, file_system)) return start(rooms, *detour);
  const bool names_file = operation.fd >= 0;
  if (names_file) {
    detour->own_fd = reactor->system().duplicate(operation.fd);
    if (detour->own_fd < 0) {
      operation.refuse(detour->own_fd);
      delete detour;
      return;
    }
    detour->entry.fd = detour->own_fd;
  }
  rooms.queue.push_back(detour);
}

void cancel_detour(Waiter& waiter) noexcept {
  auto& operation = static_cast<Operation&>(waiter);
  Room& rooms = room();
  const auto its = [&](const Detour* detour) { return detour->waiting == &operation; };
  const auto queued = std::find_if(rooms.queue.begin(), rooms.queue.end(), its);
  if (queued != rooms.queue.end()) {
    Detour* detour = *queued;
    rooms.queue.erase(queued);
    if (detour->own_fd >= 0) detour->reactor->close_later(detour->own_fd);
    delete detour;
    return operation.refuse(-ECANCELED);
  }
  const auto found = std::find_if(rooms.under_way.begin(), rooms.under_way.end(), its);
  if (found == rooms.under_way.end()) return;  // it has its result already
  Detour& detour = **found;
  detour.waiting = nullptr;
  detour.reactor->cancel_handler(detour);  // helps where it has not begun yet
  operation.refuse(-ECANCELED);
}

}  // namespace horus::HORUS_ABI::io::detail
