// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/kernel/seam_checks.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/socket.h>

#include <fmt/format.h>

#include <horus/io/seam/entry.hpp>
#include <horus/sim/base/transcript.hpp>

namespace horus::HORUS_ABI::sim::detail {
namespace {

constexpr std::size_t kWatched = 1024;  // bytes at each end of a buffer
constexpr std::size_t kSpares = 16;     // copies of buffers whose memory is kept for the next

// The memory that the entry's bytes come from or go to.
std::vector<iovec> regions_of(const io_uring_sqe& entry) {
  std::vector<iovec> regions;
  io::each_region(entry, [&](const io::Region& region) {
    if (region.is_payload) regions.push_back({region.data, region.size});
  });
  return regions;
}

// What buffers are filled with while an operation has them: a part of this, another for each operation. It is copied and
// compared as a block, since every operation of every run pays for it.
constexpr std::size_t kSalts = 4096;
constexpr auto kNoise = [] {
  std::array<char, kSalts + 2 * kWatched> noise{};
  for (std::size_t i = 0; i < noise.size(); ++i)
    noise[i] = static_cast<char>(((std::uint64_t{i} + 1) * 0x9E3779B97F4A7C15U) >> 56);
  return noise;
}();

const char* noise_of(std::uint64_t salt) noexcept { return kNoise.data() + salt % kSalts; }

}  // namespace

// --- WatchedBuffer ----------------------------------------------------------------------------------------------------

// Calls `each(bytes, count, offset, place)` for the watched stretches, always in the same order: `offset` counts all bytes
// of the buffer, `place` the watched ones.
template <class Each>
void WatchedBuffer::each_watched(Each&& each) {
  const std::size_t head = std::min(size_, kWatched);
  const std::size_t tail = std::max(head, size_ - head);
  std::size_t start = 0;
  std::size_t place = 0;
  const auto stretch = [&](char* bytes, std::size_t from, std::size_t to) {
    if (from >= to) return;
    each(bytes + (from - start), to - from, from, place);
    place += to - from;
  };
  for (const iovec& region : regions_) {
    auto* bytes = static_cast<char*>(region.iov_base);
    const std::size_t end = start + region.iov_len;
    stretch(bytes, start, std::min(head, end));
    stretch(bytes, std::max(start, tail), end);
    start = end;
  }
}

WatchedBuffer::WatchedBuffer(Direction direction, std::vector<iovec> regions, std::uint64_t salt,
                             std::string spare)
    : direction_(direction), regions_(std::move(regions)), salt_(salt), before_(std::move(spare)) {
  before_.clear();
  for (const iovec& region : regions_) size_ += region.iov_len;
  before_.reserve(std::min(size_, 2 * kWatched));
  each_watched([&](char* bytes, std::size_t count, std::size_t, std::size_t place) {
    before_.append(bytes, count);
    if (direction_ == Direction::in) std::memcpy(bytes, noise_of(salt_) + place, count);
  });
}

bool WatchedBuffer::release(std::size_t moved) {
  const bool in = direction_ == Direction::in;
  const char* expected = in ? noise_of(salt_) : before_.data();
  bool intact = true;
  each_watched([&](const char* bytes, std::size_t count, std::size_t offset, std::size_t place) {
    const std::size_t received = in && moved > offset ? std::min(moved - offset, count) : 0;
    intact = intact && std::memcmp(bytes + received, expected + place + received, count - received) == 0;
  });
  if (!in || !intact) return intact;
  // What was not received is as it was.
  each_watched([&](char* bytes, std::size_t count, std::size_t offset, std::size_t place) {
    const std::size_t received = moved > offset ? std::min(moved - offset, count) : 0;
    std::memcpy(bytes + received, before_.data() + place + received, count - received);
  });
  return true;
}

std::string WatchedBuffer::text(std::size_t count) const {
  std::string bytes;
  for (const iovec& region : regions_) {
    const std::size_t piece = std::min(region.iov_len, count - bytes.size());
    if (piece > 0) bytes.append(static_cast<const char*>(region.iov_base), piece);
  }
  return bytes;
}

// --- Operations -------------------------------------------------------------------------------------------------------

std::string SeamChecks::spare() noexcept {
  if (spare_.empty()) return {};
  std::string memory = std::move(spare_.back());
  spare_.pop_back();
  return memory;
}

void SeamChecks::keep_memory(WatchedBuffer& ended) noexcept {
  if (ended.size() >= kWatched && spare_.size() < kSpares) spare_.push_back(ended.take_memory());
}

void SeamChecks::violated(const std::string& what) {
  engine_.violated(who_.empty() ? what : fmt::format("{}: {}", who_, what));
}

std::string SeamChecks::name_of(const Operation& operation) {
  const io::Instruction* instruction = io::instruction_of(operation.opcode);
  std::string name = instruction != nullptr ? instruction->name : "operation";
  if (operation.fd >= 0) name += fmt::format(" on descriptor {}", operation.fd);
  return name;
}

void SeamChecks::submitted(const io_uring_sqe& entry) {
  Operation operation;
  operation.number = ++last_number_;
  operation.opcode = entry.opcode;
  operation.fd = entry.fd;
  operation.length = entry.len;
  operation.immediate = (entry.flags & IOSQE_CQE_SKIP_SUCCESS) != 0;
  operation.receives = io::is_transfer(entry.opcode, io::Direction::in);
  if ((entry.flags & IOSQE_BUFFER_SELECT) != 0) operation.group = entry.buf_group;
  if (entry.opcode == IORING_OP_ASYNC_CANCEL && entry.cancel_flags == 0) operation.target = entry.addr;
  std::vector<iovec> regions = regions_of(entry);
  const bool message = entry.opcode == IORING_OP_RECV || entry.opcode == IORING_OP_RECVMSG;
  const bool peeks = message && (entry.msg_flags & MSG_PEEK) != 0;
  if (!regions.empty() || operation.group != 0) {
    if (Object* object = kernel_.find(entry.fd)) operation.object = object->shared_from_this();
    operation.streams = !peeks && operation.object && operation.object->is_byte_stream();
    const auto direction = operation.receives ? WatchedBuffer::Direction::in : WatchedBuffer::Direction::out;
    operation.buffer = WatchedBuffer(direction, std::move(regions), operation.number, spare());
  }
  if (operation.streams && operation.receives) {
    const auto rival = std::find_if(in_flight_.begin(), in_flight_.end(), [&](const auto& other) {
      return other.second.streams && other.second.receives && other.second.object == operation.object;
    });
    if (rival != in_flight_.end())
      violated(fmt::format("two receives are in flight on one stream: {}", name_of(operation)));
  }
  in_flight_.emplace(entry.user_data, std::move(operation));
}

bool SeamChecks::completed(std::uint64_t user_data, std::int32_t& result, std::uint32_t& flags) {
  const auto found = in_flight_.lower_bound(user_data);
  if (found == in_flight_.end() || found->first != user_data) {
    violated(fmt::format("a completion ({}) of an operation that is not in flight: was it delivered twice?",
                         result < 0 ? describe_code(-result) : std::to_string(result)));
    return false;
  }
  const bool last = (flags & IORING_CQE_F_MORE) == 0;
  if (!told(found->second, result, flags, last)) {
    result = -ECANCELED;
    flags &= IORING_CQE_F_MORE;
  }
  if (last) {
    keep_memory(found->second.buffer);
    in_flight_.erase(found);
  }
  return true;
}

// False: it may not be believed.
bool SeamChecks::told(Operation& operation, std::int32_t result, std::uint32_t flags, bool last) {
  if (operation.target != 0 && result == -ENOENT) not_found_.push_back({operation.target, operation.number});
  const std::size_t moved = result > 0 ? static_cast<std::size_t>(result) : 0;
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    const auto number = static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
    auto& provided = groups_[operation.group].provided;
    const auto buffer = provided.find(number);
    if (buffer == provided.end()) {
      violated(fmt::format("buffer {} of group {} was filled while nobody had given it back ({})", number,
                           operation.group, name_of(operation)));
      return false;
    }
    const std::size_t filled = std::min(moved, buffer->second.size());
    if (!buffer->second.release(filled))
      violated(fmt::format("buffer {} of group {} changed while it was given away", number, operation.group));
    if (operation.streams) follow(operation, buffer->second.text(filled));
    keep_memory(buffer->second);
    provided.erase(buffer);
    return true;
  }
  if (!last || operation.buffer.size() == 0) return true;
  const std::size_t touched = std::min(moved, operation.buffer.size());
  if (!operation.buffer.release(touched)) {
    violated(fmt::format("the buffer of {} ({} bytes) changed while it was in flight", name_of(operation),
                         operation.buffer.size()));
    return true;
  }
  if (operation.streams && touched > 0) follow(operation, operation.buffer.text(touched));
  return true;
}

void SeamChecks::follow(const Operation& operation, const std::string& bytes) {
  Transcript* transcript = operation.receives ? operation.object->incoming() : operation.object->outgoing();
  if (transcript == nullptr) return;
  if (operation.receives ? transcript->received(bytes) : transcript->sent(bytes)) return;
  violated(fmt::format("a stream gave other bytes than it took, behind byte {} ({}, {} bytes)",
                       transcript->agreed(), name_of(operation), bytes.size()));
}

std::vector<std::uint64_t> SeamChecks::lost() {
  std::vector<std::uint64_t> gone;
  for (const auto& [target, number] : std::exchange(not_found_, {})) {
    const auto found = in_flight_.lower_bound(target);
    if (found == in_flight_.end() || found->first != target || found->second.number > number) continue;
    violated(fmt::format("the completion of {} was lost", name_of(found->second)));
    static_cast<void>(found->second.buffer.release(found->second.buffer.size()));
    in_flight_.erase(found);
    gone.push_back(target);
  }
  return gone;
}

void SeamChecks::settle_immediates() {
  std::vector<Operations::iterator> settled;
  for (auto operation = in_flight_.begin(); operation != in_flight_.end(); ++operation) {
    if (operation->second.immediate) settled.push_back(operation);
  }
  for (const auto operation : settled) {
    static_cast<void>(told(operation->second, static_cast<std::int32_t>(operation->second.length), 0, true));
    in_flight_.erase(operation);
  }
}

void SeamChecks::look_at_time(std::int64_t now_ns) {
  if (now_ns < last_time_ns_)
    violated(fmt::format("virtual time went back by {} ns", last_time_ns_ - now_ns));
  last_time_ns_ = now_ns;
}

// --- Provided buffers -------------------------------------------------------------------------------------------------

void SeamChecks::registered(const io_uring_buf_ring* ring, std::uint32_t entries, std::uint16_t group) {
  groups_[group] = {ring, static_cast<std::uint16_t>(entries - 1), 0, {}};
}

void SeamChecks::unregistered(std::uint16_t group) { groups_.erase(group); }

void SeamChecks::look_at_groups() {
  for (auto& [number, group] : groups_) {
    const auto* slots = reinterpret_cast<const io_uring_buf*>(group.ring);
    const std::uint16_t tail =
        std::atomic_ref(const_cast<io_uring_buf_ring*>(group.ring)->tail).load(std::memory_order_acquire);
    for (; group.seen != tail; ++group.seen) {
      const io_uring_buf& slot = slots[group.seen & group.mask];
      if (group.provided.contains(slot.bid)) {
        violated(fmt::format("buffer {} of group {} was given back twice", slot.bid, number));
        continue;
      }
      auto* const address = reinterpret_cast<void*>(slot.addr);  // NOLINT(performance-no-int-to-ptr): the ABI
      group.provided[slot.bid] =
          WatchedBuffer(WatchedBuffer::Direction::in, {{address, slot.len}}, ++last_number_, spare());
    }
  }
}

void SeamChecks::ended() {
  const Operation* oldest = nullptr;
  for (const auto& [user_data, operation] : in_flight_) {
    if (oldest == nullptr || operation.number < oldest->number) oldest = &operation;
  }
  if (oldest != nullptr)
    violated(
        fmt::format("{} operations never ended, the first of them: {}", in_flight_.size(), name_of(*oldest)));
  for (const auto& [number, group] : groups_)
    violated(fmt::format("buffer group {} was never unregistered", number));
}

}  // namespace horus::HORUS_ABI::sim::detail
