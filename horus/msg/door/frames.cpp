// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/door/frames.hpp>

#include <type_traits>

#include <fmt/format.h>

namespace horus::HORUS_ABI::msg::door {
namespace {

constexpr std::size_t kKept = std::size_t{64} * 1024;  // of a buffer that was larger

template <class Number>
void append_number(std::vector<std::byte>& to, Number number) {
  auto rest = static_cast<std::make_unsigned_t<Number>>(number);
  for (std::size_t i = 0; i < sizeof rest; ++i, rest = static_cast<decltype(rest)>(std::uint64_t{rest} >> 8))
    to.push_back(static_cast<std::byte>(rest & 0xff));
}

template <class Number>
Number number_at(FrameBytes bytes, std::size_t at) {
  std::uint64_t number = 0;
  for (std::size_t i = sizeof(Number); i-- > 0;)
    number = number << 8 | std::to_integer<std::uint64_t>(bytes[at + i]);
  return static_cast<Number>(number);
}

void append_head(std::vector<std::byte>& to, std::size_t payload, FrameKind kind) {
  append_number(to, static_cast<std::uint32_t>(payload));
  to.push_back(static_cast<std::byte>(kind));
}

}  // namespace

void append_text(std::vector<std::byte>& to, std::string_view text) {
  append_head(to, text.size(), FrameKind::text);
  const FrameBytes bytes = std::as_bytes(std::span(text));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void append_data(std::vector<std::byte>& to, const DataHead& head, FrameBytes message) {
  append_head(to, kDataHead + message.size(), FrameKind::data);
  append_number(to, head.subscription);
  append_number(to, head.published_ns);
  append_number(to, head.sequence);
  to.insert(to.end(), message.begin(), message.end());
}

Result<Data> read_data(FrameBytes payload) {
  if (payload.size() < kDataHead) return Error(kBadInput, "read a tapped message");
  Data data;
  data.head.subscription = number_at<std::uint32_t>(payload, 0);
  data.head.published_ns = number_at<std::int64_t>(payload, 4);
  data.head.sequence = number_at<std::uint64_t>(payload, 12);
  data.message = payload.subspan(kDataHead);
  return data;
}

void FrameReader::append(FrameBytes bytes) {
  if (taken_ > 0) {
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(taken_));
    taken_ = 0;
    if (bytes_.empty() && bytes_.capacity() > kKept) bytes_.shrink_to_fit();
  }
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

Result<std::optional<Frame>> FrameReader::next() {
  while (true) {
    const FrameBytes left = FrameBytes(bytes_).subspan(taken_);
    if (left.size() < kFrameHead) return std::optional<Frame>();
    const std::size_t length = number_at<std::uint32_t>(left, 0);
    if (length > most_) {
      return Error(kBadInput, "read a frame",
                   fmt::format("its length is {} bytes, and at most {} are allowed", length, most_));
    }
    if (left.size() - kFrameHead < length) return std::optional<Frame>();
    taken_ += kFrameHead + length;
    ++frames_;
    const auto kind = static_cast<FrameKind>(left[4]);
    if (kind != FrameKind::text && kind != FrameKind::data) continue;  // of a later version
    return std::optional<Frame>(Frame{kind, left.subspan(kFrameHead, length)});
  }
}

}  // namespace horus::HORUS_ABI::msg::door
