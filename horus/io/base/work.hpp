// SPDX-License-Identifier: Apache-2.0
// A small move-only callable without arguments: what is posted to a reactor or handed to a thread pool.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace horus::HORUS_ABI::io {

/// Holds closures of up to 48 bytes without allocating.
class Work {
 public:
  Work() noexcept = default;
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, Work> && std::is_invocable_v<std::decay_t<F>&>)
  Work(F&& function) {
    using Function = std::decay_t<F>;
    if constexpr (sizeof(Function) <= kInline && alignof(Function) <= alignof(std::max_align_t) &&
                  std::is_nothrow_move_constructible_v<Function>) {
      ::new (storage_) Function(std::forward<F>(function));
      table_ = &kInlineTable<Function>;
    } else {
      ::new (storage_) Function*(new Function(std::forward<F>(function)));
      table_ = &kHeapTable<Function>;
    }
  }
  Work(Work&& other) noexcept : table_(std::exchange(other.table_, nullptr)) {
    if (table_ != nullptr) table_->move(other.storage_, storage_);
  }
  Work& operator=(Work&& other) noexcept {
    if (this != &other) {
      if (table_ != nullptr) table_->destroy(storage_);
      table_ = std::exchange(other.table_, nullptr);
      if (table_ != nullptr) table_->move(other.storage_, storage_);
    }
    return *this;
  }
  ~Work() {
    if (table_ != nullptr) table_->destroy(storage_);
  }
  explicit operator bool() const noexcept { return table_ != nullptr; }
  void operator()() { table_->call(storage_); }

 private:
  static constexpr std::size_t kInline = 48;  // bytes
  struct Table {
    void (*call)(void*);
    void (*move)(void* from, void* to) noexcept;  // leaves nothing in `from`
    void (*destroy)(void*) noexcept;
  };
  template <class F>
  static constexpr Table kInlineTable{[](void* self) { (*static_cast<F*>(self))(); },
                                      [](void* from, void* to) noexcept {
                                        ::new (to) F(std::move(*static_cast<F*>(from)));
                                        std::destroy_at(static_cast<F*>(from));
                                      },
                                      [](void* self) noexcept { std::destroy_at(static_cast<F*>(self)); }};
  template <class F>
  static constexpr Table kHeapTable{
      [](void* self) { (**static_cast<F**>(self))(); },
      [](void* from, void* to) noexcept { ::new (to) F*(*static_cast<F**>(from)); },
      [](void* self) noexcept { delete *static_cast<F**>(self); }};

  alignas(std::max_align_t) std::byte storage_[kInline];
  const Table* table_ = nullptr;
};

}  // namespace horus::HORUS_ABI::io
