// SPDX-License-Identifier: Apache-2.0
// A ring between a reactor and a real ring. It sees each entry and each completion, and may change, delay or swallow
// them. One thread, the reactor's.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/io/seam/forwarding.hpp>

namespace horus::HORUS_ABI::sim {

/// The base of fault injectors and checkers.
///
/// Semantics: without overrides it behaves like the real ring. Completions that find the reactor's ring full stay
/// where they are.
class HORUS_API RelayRing : public io::ForwardingRing {
 public:
  explicit RelayRing(std::shared_ptr<io::Ring> real);

  int enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept override;

 protected:
  // io_uring_cqe without its flexible array.
  struct Completion {
    std::uint64_t user_data;
    std::int32_t result;
    std::uint32_t flags;
  };
  static_assert(sizeof(Completion) == sizeof(io_uring_cqe));

  /// Called once for each entry on its way down; it may change the entry.
  virtual void submitting(io_uring_sqe& entry) noexcept;
  /// Called for the completions that one look at the real ring has found. Those that it leaves in `batch` go to the
  /// reactor.
  virtual void completing(std::vector<Completion>& batch) noexcept;
  /// When a delayed entry or completion is due (the clock's now_ns(); kNever: none). The reactor is told that
  /// completions wait outside its ring.
  [[nodiscard]] virtual std::int64_t next_due() const noexcept;
  /// True while completions wait outside the real ring, so that some ended operations have not been reported yet.
  [[nodiscard]] bool behind() const noexcept { return behind_; }
  /// Gives the real ring an entry of the relay's own; false when the ring is full.
  bool submit_own(const io_uring_sqe& entry) noexcept;

 private:
  void stage(std::uint32_t to_submit) noexcept;
  std::uint32_t count_taken() noexcept;
  void take_over() noexcept;
  [[nodiscard]] std::uint32_t room() const noexcept { return rings_.cq_entries - (cq_tail_ - cq_head_); }

  std::unique_ptr<io_uring_sqe[]> sqes_;
  std::unique_ptr<Completion[]> cqes_;
  std::uint32_t sq_head_ = 0, sq_tail_ = 0, cq_head_ = 0, cq_tail_ = 0;
  std::uint32_t sq_flags_ = 0;
  bool behind_ = false;
  std::uint32_t staged_ = 0;       // entries of the reactor in the real ring, not yet taken
  std::uint32_t own_ = 0;          // entries of our own behind them
  std::vector<Completion> batch_;  // that one look at the real ring found
  std::vector<Completion> seen_;   // on their way to the reactor
  std::vector<Completion> kept_;   // that found the reactor's ring full
};

}  // namespace horus::HORUS_ABI::sim
