// SPDX-License-Identifier: Apache-2.0
// Sample<T> is a received message, Loan<T> a message that is being written. Both belong to the thread of their port.
// They return their slot, if they have one, when they are destroyed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <horus/base/clock.hpp>
#include <horus/msg/layout.hpp>
#include <horus/msg/link/inlet.hpp>
#include <horus/msg/link/outbox.hpp>

namespace horus::HORUS_ABI {

namespace detail {

template <Message T>
inline constexpr bool kHasHead = !std::is_void_v<typename MessageShape<T>::Head>;
template <Message T>
inline constexpr bool kHasTail = !std::is_void_v<typename MessageShape<T>::Element>;

template <Message T>
constexpr std::size_t tail_offset() {
  constexpr std::size_t kElement = kAlignment<typename MessageShape<T>::Element>;
  return (kSize<typename MessageShape<T>::Head> + kElement - 1) / kElement * kElement;
}
/// True for a type of small, fixed size: it travels in the link's entries, and each receiver has a copy.
template <Message T>
inline constexpr bool kTravelsInline =
    !kHasTail<T> && kSize<typename MessageShape<T>::Head> <= msg::kMostInline;
// Room for the words of such a message; none for others.
template <class Head, bool travels_inline>
struct RoomFor {};
template <class Head>
struct RoomFor<Head, true> {
  alignas(std::max<std::size_t>(alignof(Head), 8)) std::byte bytes[(sizeof(Head) + 7) / 8 * 8];
};
template <Message T>
using MessageRoom = RoomFor<typename MessageShape<T>::Head, kTravelsInline<T>>;

// An element's type also where there is no tail, so that signatures can name it.
template <Message T>
using TailElement = std::conditional_t<kHasTail<T>, typename MessageShape<T>::Element, std::byte>;

}  // namespace detail

/// A received message. A small message (of a fixed size of up to 240 bytes) is a copy of its own; any other is read
/// in the memory where its publisher wrote it.
///
/// Semantics: `*sample` and `sample->` are the message (a std::string_view for text, a std::span for a vector),
/// `tail()` the elements behind it. A subscriber may hold at most `max_held` samples of a publisher that are not
/// copies, so copy data that you keep.
/// Thread safety: the subscriber's thread.
template <Message T>
class Sample {
 public:
  using Head = typename MessageShape<T>::Head;
  using Element = detail::TailElement<T>;

  Sample() noexcept = default;
  /// Of an arrival whose bytes are where it says.
  explicit Sample(const msg::Arrival& arrival) noexcept : arrival_(arrival) {
    if constexpr (detail::kTravelsInline<T>) {
      std::memcpy(own_.bytes, arrival.data, sizeof own_.bytes);
    }
  }
  Sample(Sample&& other) noexcept : own_(other.own_), arrival_(std::exchange(other.arrival_, {})) {}
  Sample& operator=(Sample&& other) noexcept {
    std::swap(own_, other.own_);
    std::swap(arrival_, other.arrival_);
    return *this;
  }
  ~Sample() {
    if constexpr (!detail::kTravelsInline<T>) reset();  // a copy has nothing to give back
  }

  [[nodiscard]] decltype(auto) operator*() const noexcept {
    if constexpr (detail::kHasHead<T>) {
      return *head();
    } else if constexpr (std::is_same_v<T, std::string>) {
      return std::string_view(tail().data(), tail().size());
    } else {
      return tail();
    }
  }
  [[nodiscard]] auto operator->() const noexcept
    requires detail::kHasHead<T>
  {
    return head();
  }
  /// The elements behind the message.
  [[nodiscard]] std::span<const Element> tail() const noexcept
    requires detail::kHasTail<T>
  {
    return {reinterpret_cast<const Element*>(arrival_.data + detail::tail_offset<T>()),
            arrival_.tail_bytes / sizeof(Element)};
  }
  /// The message's number on its link, from 0; a gap means a loss.
  [[nodiscard]] std::uint64_t sequence() const noexcept { return arrival_.number; }
  /// The time since the message was published, accurate to about one turn of its publisher's loop. For a message from
  /// another machine, whose clock differs, the time since it arrived. Never below 0. The loop's thread.
  [[nodiscard]] Duration age() const noexcept { return msg::age_of(arrival_.stamp_ns); }
  explicit operator bool() const noexcept { return arrival_.inlet != nullptr; }
  /// Returns the slot now.
  void reset() noexcept {
    if (arrival_.inlet != nullptr) std::exchange(arrival_, {}).give_back();
  }

 private:
  [[nodiscard]] auto* head() const noexcept {
    if constexpr (detail::kTravelsInline<T>) {
      return reinterpret_cast<const Head*>(own_.bytes);
    } else {
      return reinterpret_cast<const Head*>(arrival_.data);
    }
  }

  [[no_unique_address]] detail::MessageRoom<T> own_;
  msg::Arrival arrival_;
};

/// A message that is being written in the memory where its subscribers will read it.
///
/// Semantics: fill `*loan` and `tail()`, then call `publisher.publish(std::move(loan))`. A loan that is destroyed
/// unpublished returns its memory. The head is value-initialised; the tail contains whatever the slot's last user
/// left there.
/// Thread safety: the publisher's thread.
template <Message T>
class Loan {
 public:
  using Head = typename MessageShape<T>::Head;
  using Element = detail::TailElement<T>;

  Loan() noexcept = default;
  Loan(msg::Outbox& outbox, std::uint32_t slot, std::size_t elements) noexcept
      : outbox_(&outbox), slot_(slot), elements_(elements) {
    if constexpr (detail::kHasHead<T>) std::construct_at(head());
  }
  Loan(Loan&& other) noexcept
      : outbox_(std::exchange(other.outbox_, nullptr)), slot_(other.slot_), elements_(other.elements_) {}
  Loan& operator=(Loan&& other) noexcept {
    std::swap(outbox_, other.outbox_);
    std::swap(slot_, other.slot_);
    std::swap(elements_, other.elements_);
    return *this;
  }
  ~Loan() {
    if (outbox_ != nullptr) outbox_->give_back(slot_);
  }

  [[nodiscard]] auto& operator*() const noexcept
    requires detail::kHasHead<T>
  {
    return *head();
  }
  [[nodiscard]] auto* operator->() const noexcept
    requires detail::kHasHead<T>
  {
    return head();
  }
  [[nodiscard]] std::span<Element> tail() const noexcept
    requires detail::kHasTail<T>
  {
    return {reinterpret_cast<Element*>(outbox_->data(slot_) + detail::tail_offset<T>()), elements_};
  }
  /// Makes the tail shorter, for a length that is known only after writing.
  void shrink(std::size_t elements) noexcept
    requires detail::kHasTail<T>
  {
    if (elements < elements_) elements_ = elements;
  }
  explicit operator bool() const noexcept { return outbox_ != nullptr; }

 private:
  template <Message U>
  friend class Publisher;
  [[nodiscard]] auto* head() const noexcept { return reinterpret_cast<Head*>(outbox_->data(slot_)); }

  msg::Outbox* outbox_ = nullptr;  // which lives as long as its loans
  std::uint32_t slot_ = 0;
  std::size_t elements_ = 0;
};

}  // namespace horus::HORUS_ABI
