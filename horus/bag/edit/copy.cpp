// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include <horus/bag/edit.hpp>
#include <horus/bag/edit/distinct.hpp>
#include <horus/bag/file_writer.hpp>

namespace horus::HORUS_ABI::bag {
namespace {

// One of the recordings that are merged, and its next message.
struct Input {
  Reader reader;
  std::map<std::uint16_t, std::uint16_t> channels =
      {};  // its ids → those of the new file; only selected ones
  std::optional<Message> next = {};
};

// What makes channels of two recordings one.
using Key = std::tuple<std::string, std::string, std::uint16_t, Properties>;

class Copier {
 public:
  Copier(FileWriter& out, const CopyOptions& options, Copied& copied)
      : out_(out), options_(options), copied_(copied) {}

  Task<Result<>> run(std::vector<Input>& inputs) {
    for (Input& input : inputs) {
      const auto described = describe(input);
      if (!described) co_return described.error();
      input.reader.select(options_.selection);
      const auto advanced = co_await advance(input);
      if (!advanced) co_return advanced.error();
    }
    while (true) {
      Input* earliest = nullptr;
      for (Input& input : inputs) {
        if (input.next && (earliest == nullptr || input.next->log_ns < earliest->next->log_ns))
          earliest = &input;
      }
      if (earliest == nullptr) break;
      Message message = *earliest->next;
      message.channel = earliest->channels.at(message.channel);
      const auto added = co_await out_.add(message);
      if (!added) co_return added.error();
      ++copied_.messages;
      const auto advanced = co_await advance(*earliest);
      if (!advanced) co_return advanced.error();
    }
    for (Input& input : inputs) {
      const auto kept = co_await keep_rest(input);
      if (!kept) co_return kept.error();
    }
    co_return co_await out_.finish();
  }

 private:
  Result<> describe(Input& input) {
    const Contents& contents = input.reader.contents();
    for (const auto& [id, channel] : contents.channels) {
      if (options_.selection.channel && !options_.selection.channel(channel)) continue;
      std::uint16_t schema = 0;
      if (const auto found = contents.schemas.find(channel.schema); found != contents.schemas.end()) {
        const auto added =
            out_.writer().add_schema(found->second.name, found->second.encoding, found->second.data);
        if (!added) return added.error();
        schema = *added;
      }
      const Key key(channel.topic, channel.encoding, schema, channel.metadata);
      auto known = channels_.find(key);
      // Within one recording channels stay apart: two publishers of a topic count on their own.
      const bool is_own =
          known != channels_.end() &&
          std::ranges::any_of(input.channels, [&](const auto& pair) { return pair.second == known->second; });
      if (known == channels_.end() || is_own) {
        const auto added =
            out_.writer().add_channel(channel.topic, channel.encoding, schema, channel.metadata);
        if (!added) return added.error();
        known = channels_.insert_or_assign(key, *added).first;
        ++copied_.channels;
      }
      input.channels.emplace(id, known->second);
    }
    return {};
  }

  // The next message that can be read.
  Task<Result<>> advance(Input& input) {
    while (true) {
      const auto message = co_await input.reader.next();
      if (message) {
        input.next = *message;
        co_return Result<>();
      }
      input.next.reset();
      if (message.code() == kEndOfStream) co_return Result<>();
      if (message.code() != kBadInput) co_return message.error();
      leave_out(message.error());
    }
  }

  Task<Result<>> keep_rest(Input& input) {
    const Contents& contents = input.reader.contents();
    for (const AttachmentIndex& index : contents.attachments) {
      const auto attachment = co_await input.reader.attachment(index);
      if (!attachment) {
        if (attachment.code() != kBadInput) co_return attachment.error();
        leave_out(attachment.error());
        continue;
      }
      const auto added = co_await out_.add(*attachment);
      if (!added) co_return added.error();
    }
    for (const MetadataIndex& index : contents.metadata) {
      const auto metadata = co_await input.reader.metadata(index);
      if (!metadata) {
        if (metadata.code() != kBadInput) co_return metadata.error();
        leave_out(metadata.error());
        continue;
      }
      const auto added = co_await out_.add(*metadata);
      if (!added) co_return added.error();
    }
    co_return Result<>();
  }

  void leave_out(const Error& error) {
    if (copied_.errors.size() < kMostDamages) {
      copied_.errors.push_back(error.message());
    } else {
      ++copied_.more_errors;
    }
  }

  FileWriter& out_;
  const CopyOptions& options_;
  Copied& copied_;
  std::map<Key, std::uint16_t> channels_;
};

}  // namespace

Task<Result<Copied>> copy(std::vector<std::string> paths, std::string to, CopyOptions options) {
  Copied copied;
  std::vector<Input> inputs;
  for (const std::string& path : paths) {
    auto reader = co_await Reader::open(path);
    if (!reader) co_return reader.error();
    for (const Damage& damage : reader->contents().damages)
      copied.errors.push_back(fmt::format("{} at byte {}: {}", path, damage.offset, damage.reason));
    const auto distinct = co_await check_distinct(path, to);
    if (!distinct) co_return distinct.error();
    inputs.push_back(Input{std::move(*reader)});
  }
  options.writer.profile = inputs.empty() ? "" : inputs[0].reader.contents().header.profile;
  for (const Input& input : inputs) {
    if (input.reader.contents().header.profile != options.writer.profile) options.writer.profile.clear();
  }
  auto out = co_await FileWriter::create(to, options.writer, options.overwrite);
  if (!out) co_return out.error();
  Copier copier(*out, options, copied);
  const auto done = co_await copier.run(inputs);
  if (!done) {
    co_await out->discard();
    co_return done.error();
  }
  co_return copied;
}

}  // namespace horus::HORUS_ABI::bag
