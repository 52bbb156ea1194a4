// SPDX-License-Identifier: Apache-2.0
// The operations of a ring as an exact recording names them: by number, because addresses differ from run to run. What an
// entry asks, and which memory its completion has written, is told by the rows of entry.hpp. Internal; one thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <linux/io_uring.h>
#include <sys/uio.h>

#include <horus/io/replay/format.hpp>
#include <horus/io/replay/journal.hpp>

namespace horus::HORUS_ABI::io::replay {

/// What an entry asks, without an address.
struct Wish {
  std::uint8_t opcode = 0;
  std::int64_t fd = 0;  ///< as Journal::name_of
  std::uint32_t bytes = 0;
  std::uint32_t sum = 0;  ///< of everything else that has to be equal, and of the bytes that go out

  friend bool operator==(const Wish&, const Wish&) = default;
  /// "send on fd 7, 64 bytes".
  [[nodiscard]] std::string to_string() const;
};

/// Shows an operation that the kernel, or the log, works for.
struct Operation {
  std::uint64_t number = 0;
  io_uring_sqe entry{};
  std::vector<iovec> parts;  ///< of vectors and messages, as they were when they were submitted
};

class Operations {
 public:
  explicit Operations(Journal& journal) noexcept : journal_(journal) {}
  /// Takes an entry that is about to be submitted.
  const Operation& add(const io_uring_sqe& entry);
  [[nodiscard]] Wish wish(const io_uring_sqe& entry) const;
  /// By an entry's user_data; null: nobody waits for it.
  [[nodiscard]] const Operation* find(std::uint64_t user_data) const noexcept;
  [[nodiscard]] const Operation* numbered(std::uint64_t number) const noexcept;
  /// Its last completion has come.
  void remove(const Operation& operation) noexcept;

  void register_group(io_uring_buf_ring* ring, std::uint32_t entries, std::uint16_t group);
  void unregister_group(std::uint16_t group) noexcept;
  /// Sees which buffers the program has given to its groups since the last call. Before each enter.
  void look_at_groups() noexcept;

  /// Appends what a completion has written into memory.
  void save(Event& event, const Operation& operation, std::int32_t result, std::uint32_t flags);
  /// Writes that into the memory of this run. False: it is not what such a completion writes.
  [[nodiscard]] bool restore(Cursor& cursor, const Operation& operation, std::int32_t result,
                             std::uint32_t flags);

 private:
  struct Group {
    io_uring_buf_ring* ring = nullptr;
    std::uint32_t entries = 0;
    std::uint16_t seen = 0;
    std::unordered_map<std::uint16_t, iovec> buffers;
  };
  [[nodiscard]] std::vector<iovec> written(const Operation& operation, std::int32_t result,
                                           std::uint32_t flags);
  [[nodiscard]] std::size_t buffers_known() const noexcept;

  void note_descriptors(const Operation& operation, std::int32_t result) const noexcept;

  Journal& journal_;
  std::uint64_t last_number_ = 0;
  // By user_data, the oldest first: a handler may have several operations.
  std::unordered_map<std::uint64_t, std::vector<std::uint64_t>> numbers_;
  std::unordered_map<std::uint64_t, Operation> all_;  // by number
  std::unordered_map<std::uint16_t, Group> groups_;
};

}  // namespace horus::HORUS_ABI::io::replay
