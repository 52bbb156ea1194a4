// SPDX-License-Identifier: Apache-2.0
// Random messages of any described type. What does not count is zero (padding, values behind a Sequence's last, bytes behind
// text), so equal messages have equal bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <type_traits>
#include <vector>

#include <horus/msg/description.hpp>
#include <horus/msg/messages.hpp>

namespace horus::test {

struct RandomMessage {
  std::vector<std::byte> head, tail;
  bool operator==(const RandomMessage&) const = default;
};

class MessageMaker {
 public:
  explicit MessageMaker(std::uint64_t seed) : random_(seed) {}

  RandomMessage make(const Description& description) {
    all_ = &description;
    RandomMessage made;
    made.head.resize(description.root().size);
    if (description.root().kind == Description::Kind::structure) fill(description.root(), made.head.data());
    if (description.root().kind == Description::Kind::opaque) raw(made.head.data(), made.head.size());
    if (description.tail.has_value()) {
      const Description::Member& element = description.tail->element;
      const std::uint32_t elements = below(9);
      made.tail.resize(std::size_t{elements} * description.tail_bytes());
      const std::uint32_t size = description.size_of(element);
      for (std::size_t at = 0; at < made.tail.size(); at += size) value(element, &made.tail[at]);
    }
    keep_rules(description, made);
    return made;
  }
  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random_() % limit); }

 private:
  template <class N>
  void put(std::byte* to, N number) {
    std::memcpy(to, &number, sizeof number);
  }
  template <class N>
  void integer(std::byte* to) {
    static constexpr N kOften[]{0, 1, static_cast<N>(-1), std::numeric_limits<N>::min(),
                                std::numeric_limits<N>::max()};
    put(to, below(2) == 0 ? static_cast<N>(random_()) : kOften[below(5)]);
  }
  template <class N>
  void real(std::byte* to) {
    put(to, static_cast<N>(static_cast<double>(static_cast<std::int32_t>(random_())) / 1024));
  }
  void raw(std::byte* to, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) to[i] = static_cast<std::byte>(random_());
  }

  void fill(const Description::Type& type, std::byte* base) {
    for (const Description::Member& member : type.members) {
      if (member.hidden) continue;
      std::uint64_t count = member.count();
      if (member.shape == Description::Shape::sequence) {
        count = below(member.extents.front() + 1);
        put(base + member.count_offset, static_cast<std::uint32_t>(count));
      }
      for (std::uint64_t i = 0; i < count; ++i)
        value(member, base + member.offset + i * all_->size_of(member));
    }
  }
  void value(const Description::Member& member, std::byte* to) {
    using Code = Description::Code;
    if (member.type != Description::kNoType && member.code != Code::structure &&
        member.code != Code::opaque) {
      const auto& constants = all_->types[member.type].constants;
      if (!constants.empty()) {
        const std::int64_t chosen = constants[below(static_cast<std::uint32_t>(constants.size()))].value;
        std::memcpy(to, &chosen, all_->size_of(member));
        return;
      }
    }
    switch (member.code) {
      case Code::boolean: put(to, static_cast<std::uint8_t>(below(2))); break;
      case Code::character: put(to, static_cast<char>('a' + below(26))); break;
      case Code::byte:
      case Code::u8: integer<std::uint8_t>(to); break;
      case Code::i8: integer<std::int8_t>(to); break;
      case Code::i16: integer<std::int16_t>(to); break;
      case Code::i32: integer<std::int32_t>(to); break;
      case Code::i64: integer<std::int64_t>(to); break;
      case Code::u16: integer<std::uint16_t>(to); break;
      case Code::u32: integer<std::uint32_t>(to); break;
      case Code::u64: integer<std::uint64_t>(to); break;
      case Code::f32: real<float>(to); break;
      case Code::f64: real<double>(to); break;
      case Code::f128: raw(to, 10); break;
      case Code::stamp:
        put(to, std::int64_t{static_cast<std::int32_t>(random_())} * 1'000'000'000 + below(1'000'000'000));
        break;
      case Code::text: {
        const std::uint32_t size = below(member.text_bytes + 1);
        for (std::uint32_t i = 0; i < size; ++i) put(to + i, static_cast<char>('!' + below(94)));
        break;
      }
      case Code::structure: fill(all_->types[member.type], to); break;
      case Code::opaque: raw(to, all_->size_of(member)); break;
    }
  }

  template <class T>
  static T* is(const Description& description, RandomMessage& made) {
    return description.root().name == describe<T>().root().name ? reinterpret_cast<T*>(made.head.data())
                                                                : nullptr;
  }
  // Numbers that depend on each other.
  static void keep_rules(const Description& description, RandomMessage& made) {
    if (auto* scan = is<messages::LaserScan>(description, made))
      scan->beams = static_cast<std::uint32_t>(made.tail.size() / sizeof(float) / 2);
    if (auto* image = is<messages::Image>(description, made)) image->is_bigendian &= 1;
    if (auto* cloud = is<messages::PointCloud>(description, made)) {
      cloud->height = 1;
      cloud->width = static_cast<std::uint32_t>(made.tail.size() / sizeof(messages::CloudPoint));
      cloud->point_step = sizeof(messages::CloudPoint);
      cloud->is_dense &= 1;
    }
  }

  std::mt19937_64 random_;
  const Description* all_ = nullptr;
};

}  // namespace horus::test
