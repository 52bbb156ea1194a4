// SPDX-License-Identifier: Apache-2.0
// Doubly linked list whose links live in its elements: no allocation, O(1) unlink from anywhere. Not thread-safe.
// The list never owns: an element must be unlinked before it dies.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>

namespace horus::HORUS_ABI {

/// Link of one list. Derive from it (with a distinct Tag per list that an element can be on).
template <class Tag>
struct ListHook {
  ListHook* previous = nullptr;
  ListHook* next = nullptr;

  ListHook() = default;
  ListHook(const ListHook&) = delete;
  ListHook& operator=(const ListHook&) = delete;

  [[nodiscard]] bool linked() const noexcept { return next != nullptr; }
  void unlink() noexcept {
    if (next == nullptr) return;
    previous->next = next;
    next->previous = previous;
    previous = next = nullptr;
  }
};

/// First-in first-out list of T, linked through its ListHook<Tag> base.
template <class T, class Tag>
class IntrusiveList {
 public:
  using Hook = ListHook<Tag>;

  IntrusiveList() noexcept { root_.previous = root_.next = &root_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  ~IntrusiveList() {
    while (!empty()) root_.next->unlink();
    root_.previous = root_.next = nullptr;
  }

  [[nodiscard]] bool empty() const noexcept { return root_.next == &root_; }
  void push_back(T& element) noexcept { link(element, root_.previous, &root_); }
  void push_front(T& element) noexcept { link(element, &root_, root_.next); }
  T* front() const noexcept { return empty() ? nullptr : static_cast<T*>(root_.next); }
  /// The one behind `element`; null at the end, and behind one that is not linked.
  T* after(const T& element) const noexcept {
    Hook* const next = static_cast<const Hook&>(element).next;
    return next == &root_ || next == nullptr ? nullptr : static_cast<T*>(next);
  }
  T* pop_front() noexcept {
    T* first = front();
    if (first != nullptr) static_cast<Hook*>(first)->unlink();
    return first;
  }
  /// Visits front to back; the visited element may unlink itself.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (Hook* hook = root_.next; hook != &root_;) {
      Hook* following = hook->next;
      visit(*static_cast<T*>(hook));
      hook = following;
    }
  }
  /// Moves every element of `other` to this list's end.
  void splice(IntrusiveList& other) noexcept {
    while (T* element = other.pop_front()) push_back(*element);
  }

 private:
  static void link(T& element, Hook* before, Hook* after) noexcept {
    Hook* hook = static_cast<Hook*>(&element);
    hook->previous = before;
    hook->next = after;
    before->next = hook;
    after->previous = hook;
  }

  mutable Hook root_;
};

}  // namespace horus::HORUS_ABI
