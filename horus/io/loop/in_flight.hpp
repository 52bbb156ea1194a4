// SPDX-License-Identifier: Apache-2.0
// Which operations in flight name which descriptor number: what a close has to end, and what it must leave alone.
// One thread, the reactor's. The lists run through the operations themselves; a number costs two pointers.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::io {

class Operation;
struct CompletionHandler;

/// Link of an operation (T) with the others that name the same descriptor number.
template <class T>
struct OnDescriptor {
  T* next_on_descriptor = nullptr;
  T** place_on_descriptor = nullptr;  ///< what points to it; null: it is in no list
};

/// The operations in flight, by the number that they name.
class HORUS_API InFlightTable {
 public:
  InFlightTable() noexcept = default;
  InFlightTable(const InFlightTable&) = delete;
  InFlightTable& operator=(const InFlightTable&) = delete;

  /// Numbers below this have a place.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Makes a place for `fd`, a descriptor that exists: the table is bounded by RLIMIT_NOFILE.
  void grow(int fd);

  /// `fd` has a place and `one` is in no list.
  template <class T>
  void link(T& one, int fd) noexcept {
    T*& first = first_of<T>(slots_[static_cast<std::size_t>(fd)]);
    one.next_on_descriptor = first;
    one.place_on_descriptor = &first;
    if (first != nullptr) first->place_on_descriptor = &one.next_on_descriptor;
    first = &one;
  }
  template <class T>
  static void unlink(T& one) noexcept {
    if (one.place_on_descriptor == nullptr) return;
    *one.place_on_descriptor = one.next_on_descriptor;
    if (one.next_on_descriptor != nullptr)
      one.next_on_descriptor->place_on_descriptor = one.place_on_descriptor;
    one.place_on_descriptor = nullptr;
  }
  /// The newest operation (or handler) that names `fd`, or null.
  template <class T>
  [[nodiscard]] T* first(int fd) const noexcept {
    const auto number = static_cast<std::size_t>(fd);
    return number < size_ ? first_of<T>(slots_[number]) : nullptr;
  }

 private:
  struct Slot {
    Operation* operations = nullptr;
    CompletionHandler* handlers = nullptr;
  };
  template <class T>
  static T*& first_of(Slot& slot) noexcept {
    if constexpr (std::is_same_v<T, Operation>) {
      return slot.operations;
    } else {
      return slot.handlers;
    }
  }

  std::unique_ptr<Slot[]> slots_;
  std::size_t size_ = 0;
};

}  // namespace horus::HORUS_ABI::io
