// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/file_writer.hpp>

#include <cerrno>
#include <utility>

#include <horus/io/fs.hpp>

namespace horus::HORUS_ABI::bag {

Task<Result<FileWriter>> FileWriter::create(std::string path, WriterOptions options, bool overwrite) {
  return create(std::move(path), Writer(std::move(options)), overwrite);
}

Task<Result<FileWriter>> FileWriter::create(std::string path, Writer made, bool overwrite) {
  io::OpenOptions how;
  how.write().read();
  if (overwrite) {
    how.create().truncate();
  } else {
    how.create_new();
  }
  auto file = co_await io::File::open(std::move(path), how);
  if (!file) {
    if (file.code() == EEXIST)
      co_return file.error().with_detail("(another name, or the option to overwrite it)");
    co_return file.error();
  }
  FileWriter writer(std::move(*file), std::move(made));
  const auto begin = writer.writer_.begin();
  const auto written = co_await writer.write(begin, 0);
  if (!written) co_return written.error();
  co_return writer;
}

Task<Result<>> FileWriter::write(std::span<const std::byte> bytes, std::uint64_t offset) {
  co_return co_await file_.write_all_at(bytes, offset);
}

Task<Result<>> FileWriter::write_open() {
  Chunk chunk = writer_.take(std::move(spare_));
  const WriterOptions& options = writer_.options();
  chunk.seal(options.compression, options.level, options.least_saving);
  const auto written = co_await add(chunk);
  spare_ = std::move(chunk);
  co_return written;
}

Task<Result<>> FileWriter::add(const Message& message) {
  const auto added = writer_.add(message);
  if (!added) co_return added.error();
  if (writer_.due(message.log_ns)) co_return co_await write_open();
  co_return Result<>();
}

Task<Result<>> FileWriter::add(const Chunk& chunk) {
  if (!writer_.open().empty() && writer_.open().messages() == 0) {  // descriptions that the chunk needs
    Chunk records = writer_.take();
    records.seal();
    const auto described = co_await add(records);
    if (!described) co_return described.error();
  }
  const std::uint64_t offset = writer_.position();
  const auto bytes = writer_.place(chunk);
  co_return co_await write(bytes, offset);
}

Task<Result<>> FileWriter::add(const Attachment& attachment) {
  const std::uint64_t offset = writer_.position();
  const auto bytes = writer_.place(attachment);
  if (!bytes) co_return bytes.error();
  co_return co_await write(*bytes, offset);
}

Task<Result<>> FileWriter::add(const Metadata& metadata) {
  const std::uint64_t offset = writer_.position();
  const auto bytes = writer_.place(metadata);
  if (!bytes) co_return bytes.error();
  co_return co_await write(*bytes, offset);
}

Task<Result<>> FileWriter::finish() {
  if (!writer_.open().empty()) {
    const auto last = co_await write_open();
    if (!last) co_return last.error();
  }
  const std::uint64_t offset = writer_.position();
  const auto bytes = writer_.finish();
  const auto written = co_await write(bytes, offset);
  if (!written) co_return written.error();
  co_return co_await file_.close();
}

Task<> FileWriter::discard() {
  const std::string path = file_.path();
  static_cast<void>(co_await file_.close());
  static_cast<void>(co_await io::fs::remove_file(path));
}

}  // namespace horus::HORUS_ABI::bag
