// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/reader.hpp>

#include <algorithm>
#include <utility>

#include <horus/bag/format/codec.hpp>
#include <horus/bag/read/merge.hpp>
#include <horus/bag/read/scan.hpp>
#include <horus/bag/read/summary.hpp>
#include <horus/bag/read/window.hpp>

namespace horus::HORUS_ABI::bag {

struct Reader::State {
  State(std::unique_ptr<Source> from, std::size_t memory_bytes)
      : source(std::move(from)), merge(*source, contents, memory_bytes) {}

  std::unique_ptr<Source> source;
  Contents contents;
  Merge merge;
};

Reader::Reader(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;
Reader::~Reader() = default;

const Contents& Reader::contents() const noexcept { return state_->contents; }
const std::string& Reader::name() const noexcept { return state_->source->name(); }
void Reader::select(Selection selection) { state_->merge.begin(selection); }
Task<Result<Message>> Reader::next() { return state_->merge.next(); }

Task<Result<Reader>> Reader::open(std::string path, ReaderOptions options) {
  auto source = co_await open_file(std::move(path));
  if (!source) co_return source.error();
  co_return co_await open(std::move(*source), options);
}

Task<Result<Reader>> Reader::open(std::unique_ptr<Source> source, ReaderOptions options) {
  auto state = std::make_unique<State>(std::move(source), options.memory_bytes);
  std::vector<Damage> damages;
  bool indexed = false;
  if (!options.ignore_index) {
    const auto found = co_await read_summary(*state->source, state->contents);
    if (!found) co_return found.error();
    indexed = *found;
    damages = std::move(state->contents.damages);
  }
  if (!indexed) {
    const OnPassing nothing;
    const auto scanned = co_await scan(*state->source, state->contents, nothing);
    if (!scanned) co_return scanned.error();
    auto& all = state->contents.damages;
    all.insert(all.begin(), std::make_move_iterator(damages.begin()), std::make_move_iterator(damages.end()));
  }
  state->merge.begin(Selection());
  co_return Reader(std::move(state));
}

namespace {

// The record that an index names, with its opcode checked.
Task<Result<std::span<const std::byte>>> record_at(Window& window, std::uint64_t offset, std::uint64_t length,
                                                   Opcode opcode) {
  const Source& source = window.source();
  if (offset > source.size() || length > source.size() - offset || length > kMostRecord + kRecordHead)
    co_return bad_record(source.name(), offset, "the index names what is not in the file");
  const auto bytes = co_await window.at(offset, static_cast<std::size_t>(length));
  if (!bytes) co_return bytes.error();
  std::size_t end = 0;
  Record record;
  if (!next_record(*bytes, end, record) || record.opcode != opcode)
    co_return bad_record(source.name(), offset, "the index names something else than what is there");
  co_return record.content;
}

}  // namespace

Task<Result<Attachment>> Reader::attachment(AttachmentIndex where) {
  Window window(*state_->source);
  const auto content = co_await record_at(window, where.offset, where.length, Opcode::attachment);
  if (!content) co_return content.error();
  Attachment attachment;
  if (!decode(*content, attachment))
    co_return bad_record(name(), where.offset, "the checksum of an attachment differs");
  co_return attachment;
}

Task<Result<Metadata>> Reader::metadata(MetadataIndex where) {
  Window window(*state_->source);
  const auto content = co_await record_at(window, where.offset, where.length, Opcode::metadata);
  if (!content) co_return content.error();
  Metadata metadata;
  if (!decode(*content, metadata)) co_return bad_record(name(), where.offset, "metadata that is damaged");
  co_return metadata;
}

}  // namespace horus::HORUS_ABI::bag
