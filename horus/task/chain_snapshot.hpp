// SPDX-License-Identifier: Apache-2.0
// What the chains of this thread wait for, written down without memory, locks or the formatting of text: a signal handler
// may do it while the thread is blocked in somebody's code. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include <horus/task/chain.hpp>

namespace horus::HORUS_ABI::detail {

/// One chain. The pointers lead to constants of the program.
struct ChainSnapshot {
  static constexpr std::size_t kName = 48;
  static constexpr std::size_t kAwaits = 8;

  char name[kName] = {};            ///< cut off after 47 bytes
  const char* waits_for = nullptr;  ///< null: it runs or is ready to
  int descriptor = -1;
  int depth = 0;  ///< 1: a branch of the chain before it
  bool stop_requested = false;
  std::uint8_t awaits = 0;  ///< how many of `where` are set
  bool more_awaits = false;
  std::array<std::source_location, kAwaits> where;  ///< innermost first
};

struct ChainSnapshots {
  static constexpr std::size_t kChains = 128;

  std::array<ChainSnapshot, kChains> chains;
  std::size_t count = 0;
  std::size_t more = 0;  ///< chains that found no place
};

/// Of the thread that calls it. A handler that interrupts the thread while it links a chain sees the list up to there.
/// `descriptor_of` gives what a waiter works on, or -1.
void take_snapshots(ChainSnapshots& into, int (*descriptor_of)(const Waiter&) noexcept) noexcept;

/// The same text as dump_tasks() gives, for people. May allocate.
std::string describe(const ChainSnapshots& snapshots);

}  // namespace horus::HORUS_ABI::detail
