// SPDX-License-Identifier: Apache-2.0
// Which limit it was that refused memory, in words for a person. The kernel's number alone does not tell: ENOMEM stands for
// five different limits. Any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>
#include <string>
#include <string_view>

#include <horus/base/error.hpp>

namespace horus::HORUS_ABI::detail {

/// What was asked for.
enum class MemoryCall : std::uint8_t {
  map_private,  ///< addresses of this process alone: mmap(MAP_PRIVATE)
  map_shared,   ///< addresses for a file: mmap(MAP_SHARED)
  make_file,    ///< a descriptor: memfd_create
  resize_file,  ///< a longer file: ftruncate
  fill_file,    ///< pages of a file: fallocate
};

/// The limits of this process and machine, and how much of each is used. Bytes, where nothing else is said.
struct MemoryFacts {
  static constexpr std::uint64_t kUnlimited = UINT64_MAX;

  std::uint64_t address_limit = kUnlimited;     ///< RLIMIT_AS
  std::uint64_t data_limit = kUnlimited;        ///< RLIMIT_DATA
  std::uint64_t file_size_limit = kUnlimited;   ///< RLIMIT_FSIZE
  std::uint64_t lock_limit = kUnlimited;        ///< RLIMIT_MEMLOCK
  std::uint64_t descriptor_limit = kUnlimited;  ///< RLIMIT_NOFILE: descriptors
  std::uint64_t addresses = 0;                  ///< mapped: VmSize
  std::uint64_t data = 0;                       ///< private and writable: VmData
  std::uint64_t mappings = 0;                   ///< their number
  std::uint64_t mapping_limit = kUnlimited;     ///< vm.max_map_count: mappings
  std::uint64_t overcommit = 0;                 ///< vm.overcommit_memory: 0 to 2
  std::uint64_t commit_limit = kUnlimited;      ///< CommitLimit, of the machine
  std::uint64_t committed = 0;                  ///< Committed_AS, of the machine
  std::uint64_t available = kUnlimited;         ///< MemAvailable, of the machine

  /// As they are now. What cannot be read stays as above.
  static MemoryFacts read();
};

/// What refused `bytes`, and what would help: "(address space: RLIMIT_AS is 1048576 KiB, ...)". Empty when `error` is no
/// limit of memory or descriptors.
std::string memory_limit(int error, MemoryCall call, std::uint64_t bytes, const MemoryFacts& facts);

/// The failure of a call for memory, with the name of the limit. ENOMEM where the kernel says EAGAIN, which is what it says
/// when too much would be locked.
Error memory_error(int error, MemoryCall call, std::uint64_t bytes, const char* operation,
                   std::string_view target);

}  // namespace horus::HORUS_ABI::detail
