// SPDX-License-Identifier: Apache-2.0
#include <horus/io/replay/operations.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>

#include <sys/socket.h>

#include <fmt/format.h>

#include <horus/base/crc32c.hpp>
#include <horus/io/seam/entry.hpp>

namespace horus::HORUS_ABI::io::replay {
namespace {

constexpr std::uint64_t kTags = 7;  // low bits of user_data; without the others nobody waits

template <class T>
std::uint32_t sum_of(const T& value, std::uint32_t before) noexcept {
  return crc32c(std::as_bytes(std::span(&value, 1)), before);
}

msghdr* message_of(const io_uring_sqe& entry) noexcept {
  const Instruction* instruction = instruction_of(entry.opcode);
  if (instruction == nullptr || instruction->payload != Payload::message) return nullptr;
  return reinterpret_cast<msghdr*>(entry.addr);  // NOLINT(performance-no-int-to-ptr): the ABI
}

// Of a message that was received: what its header says now.
struct Header {
  std::uint32_t name_bytes;
  std::uint32_t flags;
  std::uint64_t control_bytes;
};

// `parts`, as far as `size` bytes go.
std::vector<iovec> first_of(const std::vector<iovec>& parts, std::size_t size) {
  std::vector<iovec> result;
  for (const iovec& part : parts) {
    if (size == 0) break;
    result.push_back({part.iov_base, std::min(part.iov_len, size)});
    size -= result.back().iov_len;
  }
  return result;
}

}  // namespace

std::string Wish::to_string() const {
  const Instruction* instruction = instruction_of(opcode);
  std::string text = instruction == nullptr ? fmt::format("operation {}", opcode) : instruction->name;
  if (fd >= 0) text += fmt::format(" on fd {}", fd);
  if (bytes > 0) text += fmt::format(", {} bytes", bytes);
  return text;
}

Wish Operations::wish(const io_uring_sqe& entry) const {
  Wish wish{.opcode = entry.opcode, .fd = entry.fd, .bytes = entry.len, .sum = 0};
  if ((entry.flags & IOSQE_FIXED_FILE) == 0) wish.fd = journal_.name_of(entry.fd);
  const Instruction* instruction = instruction_of(entry.opcode);
  std::uint32_t sum = sum_of(entry.flags, 0);
  sum = sum_of(entry.ioprio, sum);
  sum = sum_of(entry.rw_flags, sum);
  sum = sum_of(entry.buf_group, sum);
  if (entry.opcode == IORING_OP_ASYNC_CANCEL) {
    const Operation* target = find(entry.addr);
    sum = sum_of(target == nullptr ? std::uint64_t{0} : target->number, sum);
  }
  const bool has_offset = instruction != nullptr && instruction->payload != Payload::none &&
                          instruction->payload != Payload::message;
  if (has_offset) sum = sum_of(entry.off, sum);
  std::size_t out_bytes = 0;
  each_region(entry, [&](const Region& region) {
    if (region.written) return;
    if (const msghdr* message = message_of(entry); message == region.data) return;  // it holds addresses
    sum = crc32c(std::span(static_cast<const std::byte*>(region.data), region.size), sum);
    if (region.is_payload) out_bytes += region.size;
  });
  if (instruction != nullptr && instruction->payload != Payload::bytes && out_bytes > 0)
    wish.bytes = static_cast<std::uint32_t>(out_bytes);
  wish.sum = sum;
  return wish;
}

const Operation& Operations::add(const io_uring_sqe& entry) {
  const std::uint64_t number = ++last_number_;
  Operation& operation = all_[number];
  operation.number = number;
  operation.entry = entry;
  const Instruction* instruction = instruction_of(entry.opcode);
  if (instruction != nullptr && instruction->direction == Direction::in &&
      (entry.flags & IOSQE_BUFFER_SELECT) == 0) {
    each_region(entry, [&](const Region& region) {
      if (region.is_payload) operation.parts.push_back({region.data, region.size});
    });
  }
  if ((entry.user_data & ~kTags) == 0) return operation;
  std::vector<std::uint64_t>& numbers = numbers_[entry.user_data];
  if ((entry.flags & IOSQE_CQE_SKIP_SUCCESS) != 0) {  // it completes only when it fails
    for (const std::uint64_t earlier : numbers) all_.erase(earlier);
    numbers.clear();
  }
  numbers.push_back(number);
  return operation;
}

const Operation* Operations::find(std::uint64_t user_data) const noexcept {
  const auto found = numbers_.find(user_data);
  return found == numbers_.end() ? nullptr : numbered(found->second.front());
}

const Operation* Operations::numbered(std::uint64_t number) const noexcept {
  const auto found = all_.find(number);
  return found == all_.end() ? nullptr : &found->second;
}

void Operations::remove(const Operation& operation) noexcept {
  const std::uint64_t number = operation.number;
  if (const auto found = numbers_.find(operation.entry.user_data); found != numbers_.end()) {
    std::erase(found->second, number);
    if (found->second.empty()) numbers_.erase(found);
  }
  all_.erase(number);
}

// --- Buffers that the kernel chooses ----------------------------------------------------------------------------------

void Operations::register_group(io_uring_buf_ring* ring, std::uint32_t entries, std::uint16_t group) {
  groups_[group] = {ring, entries, 0, {}};
}

void Operations::unregister_group(std::uint16_t group) noexcept { groups_.erase(group); }

void Operations::look_at_groups() noexcept {
  for (auto& [number, group] : groups_) {
    const std::uint16_t tail = std::atomic_ref(group.ring->tail).load(std::memory_order_acquire);
    const auto* const slots = reinterpret_cast<const io_uring_buf*>(group.ring);
    for (; group.seen != tail; ++group.seen) {
      const io_uring_buf& slot = slots[group.seen & (group.entries - 1)];
      group.buffers[slot.bid] = {reinterpret_cast<void*>(slot.addr),  // NOLINT(performance-no-int-to-ptr)
                                 slot.len};
    }
  }
}

std::size_t Operations::buffers_known() const noexcept {
  std::size_t count = 0;
  for (const auto& [number, group] : groups_) count += group.buffers.size();
  return count;
}

// New ones, those in a message too, and those that are gone.
void Operations::note_descriptors(const Operation& operation, std::int32_t result) const noexcept {
  const io_uring_sqe& entry = operation.entry;
  if (result < 0) return;
  if (entry.opcode == IORING_OP_ACCEPT || entry.opcode == IORING_OP_OPENAT) journal_.learn(result);
  if (entry.opcode == IORING_OP_CLOSE) journal_.forget(entry.fd);
  msghdr* message = message_of(entry);
  if (message == nullptr || instruction_of(entry.opcode)->direction != Direction::in) return;
  for (cmsghdr* part = CMSG_FIRSTHDR(message); part != nullptr; part = CMSG_NXTHDR(message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= part->cmsg_len; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, reinterpret_cast<const std::byte*>(part) + at, sizeof fd);
      journal_.learn(fd);
    }
  }
}

// --- What a completion has written ------------------------------------------------------------------------------------

std::vector<iovec> Operations::written(const Operation& operation, std::int32_t result, std::uint32_t flags) {
  const auto size = static_cast<std::size_t>(std::max(result, 0));
  const io_uring_sqe& entry = operation.entry;
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    const auto group = groups_.find(entry.buf_group);
    if (group == groups_.end()) return {};
    const auto buffer =
        group->second.buffers.find(static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT));
    if (buffer == group->second.buffers.end()) return {};
    const iovec memory = buffer->second;
    group->second.buffers.erase(buffer);  // the program's, until it gives it again
    return first_of({memory}, size);
  }
  if (result < 0) return {};
  std::vector<iovec> parts = first_of(operation.parts, size);
  const bool is_message = message_of(entry) != nullptr;
  each_region(entry, [&](const Region& region) {
    if (region.written && !region.is_payload && !is_message) parts.push_back({region.data, region.size});
  });
  return parts;
}

void Operations::save(Event& event, const Operation& operation, std::int32_t result, std::uint32_t flags) {
  const msghdr* message = message_of(operation.entry);
  if (message != nullptr && result >= 0 &&
      instruction_of(operation.entry.opcode)->direction == Direction::in) {
    const Header header{message->msg_namelen, static_cast<std::uint32_t>(message->msg_flags),
                        message->msg_controllen};
    event.block(&header, sizeof header);
    event.block(message->msg_name, message->msg_name == nullptr ? 0 : header.name_bytes);
    event.block(message->msg_control, message->msg_control == nullptr ? 0 : header.control_bytes);
  }
  note_descriptors(operation, result);
  const std::vector<iovec> parts = written(operation, result, flags);
  std::size_t size = 0;
  for (const iovec& part : parts) size += part.iov_len;
  event.number(size);
  for (const iovec& part : parts) event.raw(part.iov_base, part.iov_len);
}

bool Operations::restore(Cursor& cursor, const Operation& operation, std::int32_t result,
                         std::uint32_t flags) {
  const std::size_t buffers = buffers_known();
  msghdr* message = message_of(operation.entry);
  if (message != nullptr && result >= 0 &&
      instruction_of(operation.entry.opcode)->direction == Direction::in) {
    Header header{};
    const auto saved = cursor.block();
    const auto name = cursor.block();
    const auto control = cursor.block();
    const std::size_t name_room = message->msg_name == nullptr ? 0 : message->msg_namelen;
    const std::size_t control_room = message->msg_control == nullptr ? 0 : message->msg_controllen;
    if (saved.size() != sizeof header || name.size() > name_room || control.size() > control_room)
      return false;
    std::memcpy(&header, saved.data(), sizeof header);
    if (!name.empty()) std::memcpy(message->msg_name, name.data(), name.size());
    if (!control.empty()) std::memcpy(message->msg_control, control.data(), control.size());
    message->msg_namelen = header.name_bytes;
    message->msg_controllen = header.control_bytes;
    message->msg_flags = static_cast<int>(header.flags);
  }
  note_descriptors(operation, result);
  const std::vector<iovec> parts = written(operation, result, flags);
  if ((flags & IORING_CQE_F_BUFFER) != 0 && buffers_known() == buffers)
    return false;  // it is not the kernel's
  std::size_t size = 0;
  for (const iovec& part : parts) size += part.iov_len;
  if (cursor.number() != size) return false;
  for (const iovec& part : parts) {
    const auto bytes = cursor.raw(part.iov_len);
    if (bytes.size() != part.iov_len) return false;
    if (!bytes.empty()) std::memcpy(part.iov_base, bytes.data(), bytes.size());
  }
  return true;
}

}  // namespace horus::HORUS_ABI::io::replay
