// SPDX-License-Identifier: Apache-2.0
// What the reactor of a simulated process talks to: the simulated kernel, checked at the seam, and with whatever the
// kernel leaves open (the order of completions, when a call returns, who goes first) decided by the seed.
// One thread, the world's. Owned by the reactor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include <horus/io/seam/forwarding.hpp>
#include <horus/sim/kernel/kernel.hpp>
#include <horus/sim/kernel/seam_checks.hpp>
#include <horus/sim/relay.hpp>

namespace horus::HORUS_ABI::sim::detail {

// Sees each entry and each completion.
class ProcessRing final : public RelayRing {
 public:
  /// `real` is, or stands in front of, the ring of `kernel`.
  ProcessRing(std::shared_ptr<io::Ring> real, Engine& engine, Context& context, SimProvider& kernel,
              std::string who);
  /// Checks what is left.
  ~ProcessRing() override;

  int enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept override;
  int register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                           std::uint16_t group) noexcept override;
  int unregister_buffer_ring(std::uint16_t group) noexcept override;
  [[nodiscard]] SeamChecks& checks() noexcept { return checks_; }

 protected:
  void submitting(io_uring_sqe& entry) noexcept override;
  void completing(std::vector<Completion>& batch) noexcept override;
  [[nodiscard]] std::int64_t next_due() const noexcept override;

 private:
  struct Late {
    Completion completion;
    std::int64_t due_ns;
  };
  void keep_some_back(std::vector<Completion>& batch) noexcept;
  void mix(std::vector<Completion>& batch) noexcept;

  Engine& engine_;
  Context& context_;
  SeamChecks checks_;
  const pid_t made_by_;
  std::vector<Late> late_;
  bool early_ = false;  // the last call returned early: the next one does not
};

// Sees that time never goes back, and decides who goes first.
class ProcessClock final : public io::ForwardingClock {
 public:
  ProcessClock(std::shared_ptr<io::Clock> real, Engine& engine, std::shared_ptr<ProcessRing> ring);
  [[nodiscard]] std::int64_t now_ns() noexcept override;
  [[nodiscard]] std::uint64_t choose(std::uint64_t count) noexcept override;

 private:
  Engine& engine_;
  const std::shared_ptr<ProcessRing> ring_;
};

/// `real` with both in front. Its ring is, or stands in front of, that of `kernel`.
io::Backend process_backend(io::Backend real, Engine& engine, Context& context, SimProvider& kernel,
                            std::string who);

}  // namespace horus::HORUS_ABI::sim::detail
