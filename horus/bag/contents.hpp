// SPDX-License-Identifier: Apache-2.0
// The table of contents of a recording, from its own index or from a scan of the whole file. Plain values; any thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <horus/bag/records.hpp>

namespace horus::HORUS_ABI::bag {

/// What does not follow the format, and where.
struct Damage {
  std::uint64_t offset = 0;  ///< in the file, bytes
  std::string reason;
};

inline constexpr std::size_t kMostDamages = 64;  ///< that are told; the rest is counted

struct Contents {
  Header header;
  std::map<std::uint16_t, Schema> schemas;
  std::map<std::uint16_t, Channel> channels;
  std::vector<ChunkIndex> chunks;  ///< in the order of the file
  std::vector<AttachmentIndex> attachments;
  std::vector<MetadataIndex> metadata;
  Statistics statistics;
  std::uint64_t file_bytes = 0;
  bool indexed = false;  ///< read from the file's own index; false: found by a scan
  /// Where the scan found nothing whole any more, which is the end of the data in an undamaged file. 0 without a scan.
  std::uint64_t whole_end = 0;
  /// The file has its end mark (DataEnd). Without a scan always true.
  bool ended = false;
  std::vector<Damage> damages;
  std::uint64_t more_damages = 0;
  std::size_t texts = 0;  ///< bytes of schemas and channels

  void note(std::uint64_t offset, std::string reason) {
    if (damages.size() < kMostDamages) {
      damages.push_back(Damage{offset, std::move(reason)});
    } else {
      ++more_damages;
    }
  }
};

}  // namespace horus::HORUS_ABI::bag
