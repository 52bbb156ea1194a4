// SPDX-License-Identifier: Apache-2.0
// Writes a recording into a file, for tools: each call waits for the disk. What records while a robot drives is
// horus/bag/recorder.hpp. One reactor's thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include <horus/bag/records.hpp>
#include <horus/bag/writer.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/file.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::bag {

/// A Writer and its file.
///
/// Semantics: an error of the disk leaves a file without an index; `discard()` removes it. One call at a time.
/// Errors: those of open(2) and write(2), with the path; those of Writer.
/// Thread safety: the thread of the reactor on which it was made.
class HORUS_API FileWriter {
 public:
  /// EEXIST when the file exists, unless it may be overwritten.
  [[nodiscard]] static Task<Result<FileWriter>> create(std::string path, WriterOptions options,
                                                       bool overwrite = false);

  /// The same with a Writer that has not begun.
  [[nodiscard]] static Task<Result<FileWriter>> create(std::string path, Writer writer,
                                                       bool overwrite = false);

  /// For schemas and channels.
  [[nodiscard]] Writer& writer() noexcept { return writer_; }
  /// Adds a message, and writes the chunk when it is due.
  [[nodiscard]] Task<Result<>> add(const Message& message);
  [[nodiscard]] Task<Result<>> add(const Attachment& attachment);
  [[nodiscard]] Task<Result<>> add(const Metadata& metadata);
  /// A chunk that is sealed already.
  [[nodiscard]] Task<Result<>> add(const Chunk& chunk);
  /// Index and end.
  [[nodiscard]] Task<Result<>> finish();
  /// Closes and removes the file.
  [[nodiscard]] Task<> discard();

 private:
  FileWriter(io::File file, Writer writer) : file_(std::move(file)), writer_(std::move(writer)) {}
  Task<Result<>> write(std::span<const std::byte> bytes, std::uint64_t offset);
  Task<Result<>> write_open();

  io::File file_;
  Writer writer_;
  Chunk spare_;
};

}  // namespace horus::HORUS_ABI::bag
