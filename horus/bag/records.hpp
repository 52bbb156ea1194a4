// SPDX-License-Identifier: Apache-2.0
// What a recording is made of: schemas, channels, messages, attachments, metadata, and the index of all of it. Plain
// values; any thread. All times are nanoseconds, as the recorder's clock gave them (usually since 1970).
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace horus::HORUS_ABI::bag {

using Properties = std::map<std::string, std::string>;

/// How the bytes of a chunk are packed.
enum class Compression : std::uint8_t {
  none,
  zstd,
  lz4,  ///< read only
};

inline constexpr std::size_t kChunkBytes = std::size_t{768} << 10;  ///< a chunk is closed when it has so many
inline constexpr std::size_t kMostMessage = std::size_t{256} << 20;  ///< bytes
inline constexpr std::size_t kMostRecord = std::size_t{512} << 20;   ///< bytes of a chunk or attachment
inline constexpr std::size_t kMostChunks = 1048576;                  ///< of one file
inline constexpr std::size_t kMostChannels = 65535;                  ///< of one file
inline constexpr std::size_t kMostTexts = std::size_t{64}
                                          << 20;  ///< bytes of all schemas and channels of a file
inline constexpr std::size_t kMostAttachments = std::size_t{1}
                                                << 16;  ///< of one file; the same for metadata records

/// Who wrote a file, and for which middleware.
struct Header {
  std::string profile;  ///< "ros2": topics and types are named as ROS 2 does
  std::string library;
};

/// The description of a channel's messages.
struct Schema {
  std::uint16_t id = 0;  ///< in its file, 1 to 65535; 0 stands for none
  std::string name;      ///< "sensor_msgs/msg/Imu"
  std::string encoding;  ///< "ros2msg", "jsonschema", …; empty for none
  std::string data;      ///< text, or bytes, as `encoding` says
};

/// A topic, and how its messages are encoded.
struct Channel {
  std::uint16_t id = 0;      ///< in its file
  std::uint16_t schema = 0;  ///< 0: none
  std::string topic;
  std::string encoding;  ///< of the messages: "cdr", "json", …
  Properties metadata = {};
};

/// One message. The bytes belong to somebody else, who says how long they live.
struct Message {
  std::uint16_t channel = 0;
  std::uint32_t sequence = 0;
  std::uint64_t log_ns = 0;      ///< when it was recorded
  std::uint64_t publish_ns = 0;  ///< when it was published
  std::span<const std::byte> data = {};
};

/// A file within the file.
struct Attachment {
  std::uint64_t log_ns = 0;
  std::uint64_t created_ns = 0;  ///< 0: not known
  std::string name;
  std::string media_type;  ///< "text/plain", …
  std::string data;
};

/// Named texts that belong to the recording as a whole.
struct Metadata {
  std::string name;
  Properties values;
};

/// Where a chunk is, and what is in it.
struct ChunkIndex {
  std::uint64_t first_ns = 0;  ///< least log time; 0 in a chunk without messages
  std::uint64_t last_ns = 0;   ///< largest log time
  std::uint64_t offset = 0;    ///< of the chunk's record in the file
  std::uint64_t length = 0;    ///< of that record, bytes
  /// Where the index of one channel's messages in the chunk is.
  struct Place {
    std::uint16_t channel = 0;
    std::uint64_t offset = 0;  ///< of its record in the file
    friend bool operator==(const Place&, const Place&) = default;
  };
  std::vector<Place> message_indexes = {};
  std::uint64_t message_index_length = 0;  ///< of all index records, bytes
  std::string compression = {};            ///< "zstd", "lz4", "" for none
  std::uint64_t compressed_bytes = 0;
  std::uint64_t bytes = 0;  ///< unpacked
  /// Records that lie in the file outside of any chunk, as if they were one; only a scan finds such.
  bool bare = false;
};

struct AttachmentIndex {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint64_t log_ns = 0;
  std::uint64_t created_ns = 0;
  std::uint64_t data_bytes = 0;
  std::string name = {};
  std::string media_type = {};
};

struct MetadataIndex {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::string name = {};
};

struct Statistics {
  std::uint64_t messages = 0;
  std::uint32_t schemas = 0;
  std::uint32_t channels = 0;
  std::uint32_t attachments = 0;
  std::uint32_t metadata = 0;
  std::uint32_t chunks = 0;
  std::uint64_t first_ns = 0;  ///< 0 without messages
  std::uint64_t last_ns = 0;
  std::map<std::uint16_t, std::uint64_t> by_channel = {};  ///< number of messages
};

}  // namespace horus::HORUS_ABI::bag
