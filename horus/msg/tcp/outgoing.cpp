// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tcp/outgoing.hpp>

#include <algorithm>
#include <cstring>

namespace horus::HORUS_ABI::msg {

void Outgoing::append(std::uint32_t channel, const wire::DataPrefix& prefix, wire::Bytes message) {
  const std::size_t begin = frames_.size();
  frames_.resize(begin + wire::kDataHeadBytes + message.size());
  std::byte* const to = frames_.data() + begin;
  std::memcpy(to + wire::kDataHeadBytes, message.data(), message.size());
  wire::write_data_head(to, channel, prefix, {to + wire::kDataHeadBytes, message.size()});
  copied_bytes_ += wire::kDataHeadBytes + message.size();
}

void Outgoing::append_slot(std::uint32_t channel, const wire::DataPrefix& prefix, wire::Bytes message,
                           const Arrival& slot) {
  const std::size_t begin = frames_.size();
  slots_.reserve(slots_.size() + 1);  // from here on nothing fails
  frames_.resize(begin + wire::kDataHeadBytes);
  wire::write_data_head(frames_.data() + begin, channel, prefix, message);
  copied_bytes_ += wire::kDataHeadBytes;
  slots_.push_back({frames_.size(), io::Bytes(message.data(), message.size()), slot});
  slot_bytes_ += message.size();
}

std::size_t Outgoing::next(std::span<io::Bytes> parts, std::size_t most) noexcept {
  std::size_t used = 0;
  while (used < parts.size() && most > 0) {
    const bool in_slot = slots_given_ < slots_.size() && slots_[slots_given_].at == frames_given_;
    const std::size_t until = slots_given_ < slots_.size() ? slots_[slots_given_].at : frames_.size();
    const io::Bytes rest = in_slot ? slots_[slots_given_].message.skip(inside_)
                                   : io::Bytes(frames_.data() + frames_given_, until - frames_given_);
    if (rest.empty() && !in_slot) break;  // that was all
    const std::size_t size = std::min(rest.size(), most);
    if (size > 0) parts[used++] = io::Bytes(rest.data(), size);
    most -= size;
    if (!in_slot) {
      frames_given_ += size;
    } else if (inside_ += size; size == rest.size()) {
      ++slots_given_;
      inside_ = 0;
    }
  }
  return used;
}

bool Outgoing::sent() noexcept {
  const bool some = returned_ < slots_given_;
  for (; returned_ < slots_given_; ++returned_) slots_[returned_].slot.give_back();
  return some;
}

void Outgoing::clear() noexcept {
  for (; returned_ < slots_.size(); ++returned_) slots_[returned_].slot.give_back();
  frames_.clear();
  slots_.clear();
  copied_bytes_ = slot_bytes_ = 0;
  frames_given_ = slots_given_ = inside_ = returned_ = 0;
}

void Outgoing::swap(Outgoing& other) noexcept {
  frames_.swap(other.frames_);
  slots_.swap(other.slots_);
  std::swap(copied_bytes_, other.copied_bytes_);
  std::swap(slot_bytes_, other.slot_bytes_);
  std::swap(frames_given_, other.frames_given_);
  std::swap(slots_given_, other.slots_given_);
  std::swap(inside_, other.inside_);
  std::swap(returned_, other.returned_);
}

}  // namespace horus::HORUS_ABI::msg
