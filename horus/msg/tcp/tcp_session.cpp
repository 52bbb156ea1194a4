// SPDX-License-Identifier: Apache-2.0
// The life of a session: greeting, reading, writing, keeping watch. What frames mean is in tcp_session_frames.cpp.
#include <horus/msg/tcp/tcp_session.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include <horus/base/crc32c.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/format/packing.hpp>
#include <horus/msg/link/clock_offset.hpp>
#include <horus/msg/session/trim_heap.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::size_t kReceiveBuffer = std::size_t{64} << 10;  // bytes; holds any frame but those of messages
constexpr std::size_t kReadDirectly = std::size_t{8}
                                      << 10;              // missing bytes of a message: read where it belongs
constexpr std::size_t kReadAlong = std::size_t{2} << 10;  // of the next frames: what is more is copied twice
constexpr std::size_t kReadLeast = std::size_t{4} << 10;  // bytes of small messages at once
constexpr std::size_t kReadMost = std::size_t{32} << 10;
// Bytes per write: as many as the slowest link takes within the idle limit, so that progress can be seen.
constexpr std::size_t kSlowestLink = std::size_t{35} << 10;  // bytes per second
constexpr std::size_t kLeastChunk = std::size_t{64} << 10;
constexpr std::size_t kMostChunk = std::size_t{512} << 10;
constexpr std::int64_t kQuickWrite_ns = 5'000'000;
constexpr std::int64_t kSlowWrite_ns = 100'000'000;
constexpr std::size_t kWriteParts = 16;
constexpr std::size_t kManyPublishers = 1024;  // what is kept of them is worth giving back
constexpr Duration kLeastBeat = std::chrono::milliseconds(10);
constexpr Duration kStatesEvery = std::chrono::milliseconds(50);
constexpr Duration kFarewellLimit = std::chrono::milliseconds(200);
static_assert(kReceiveBuffer >= wire::kHeaderBytes + wire::kLongestControl);

std::size_t most_at_once(Duration idle_limit) noexcept {
  const auto milliseconds = static_cast<std::size_t>(idle_limit / std::chrono::milliseconds(1));
  return std::clamp(milliseconds * kSlowestLink / 1000, kLeastChunk, kMostChunk);
}

}  // namespace

TcpSession::TcpSession(std::unique_ptr<SessionStream> stream, std::string name, wire::Greeting self,
                       const TcpHubOptions& options, bool same_machine, SessionOwner& owner)
    : stream_(std::move(stream)),
      name_(std::move(name)),
      self_(std::move(self)),
      options_(options),
      same_machine_(same_machine),
      owner_(owner),
      inbound_(std::make_shared<InboundBudget>(options_.max_inbound_bytes, owner.inbound())),
      scope_("tcp session", Failures::log),
      most_at_once_(most_at_once(options_.idle_limit)),
      write_chunk_(most_at_once_) {}

TcpSession::~TcpSession() {
  const bool much = publishers_.size() >= kManyPublishers;
  publishers_.clear();
  if (much) trim_heap();
}

Task<Result<>> TcpSession::run(std::shared_ptr<TcpSession> self) {
  auto greeting = with_timeout(self->options_.handshake_limit, self->greet());
  const Result<> greeted = co_await greeting;
  if (!greeted) {
    self->stream_->close();
    if (greeted.error().timed_out()) {
      co_return Error(ETIMEDOUT, "greet",
                      fmt::format("{} (it did not say who it is within {} ms)", self->name_,
                                  self->options_.handshake_limit.count() / 1'000'000));
    }
    co_return greeted.error().on("greet", fmt::format("{} {}", self->name_, greeted.error().target()));
  }
  const Result<> admitted = self->owner_.admit(*self);
  if (!admitted) {
    auto saying = with_timeout(kFarewellLimit, self->farewell(std::string(admitted.error().target())));
    static_cast<void>(co_await saying);
    self->stream_->close();
    co_return admitted.error();
  }
  auto conversing = self->converse();
  Result<> ended = co_await conversing;
  if (ended.code() == kBadInput && !self->torn_) {
    auto saying = with_timeout(kFarewellLimit, self->farewell(ended.error().message()));
    static_cast<void>(co_await saying);
  }
  self->stream_->close();
  co_return ended;
}

Task<Result<>> TcpSession::converse() {
  established_ = true;
  last_received_ns_ = last_sent_ns_ = now_ns();
  received_.resize(kReceiveBuffer);
  static_cast<void>(scope_.spawn(write_outgoing(), "tcp session writer"));
  static_cast<void>(scope_.spawn(watch(), "tcp session watch"));
  for (const auto& [id, port] : owner_.ports()) port_opened(port);
  auto reading = read_frames();
  Result<> ended;
  try {
    ended = co_await reading;
  } catch (const Error& error) {  // the writer and the watch still run
    ended = error;
  } catch (const std::exception& error) {
    ended = Error(kBadInput, "take a frame", fmt::format("of {} ({})", name_, error.what()));
  }
  if (failure_) ended = *failure_;
  ending_ = true;
  end_channels();
  scope_.cancel();
  co_await scope_.join();
  sending_.clear();
  for (const auto& [number, channel] : receiving_) remember(*channel);
  near_.fill(nullptr);
  std::exchange(receiving_, {}).clear();  // a subscriber that takes the rest tells us
  co_return ended;
}

Task<Result<>> TcpSession::greet() {
  wire::Greeting ours = self_;
  ours.clock_offset = clock_offset();
  const wire::Buffer mine = wire::encode(ours);
  const std::array<io::Bytes, 1> parts{io::Bytes(mine)};
  auto writing = stream_->write(parts);
  Result<> done = co_await writing;
  if (!done) co_return done;
  std::array<std::byte, wire::kPreambleBytes> first;
  auto reading = read_exactly(io::MutableBytes(first));
  done = co_await reading;
  if (!done) co_return done;
  const Result<wire::Preamble> preamble = wire::decode_preamble(first, options_.max_greeting_bytes);
  if (!preamble) co_return preamble.error();
  wire::Buffer body(preamble->body_bytes);
  auto reading_body = read_exactly(io::MutableBytes(body));
  done = co_await reading_body;
  if (!done) co_return done;
  Result<wire::Greeting> theirs = wire::decode_greeting(*preamble, body);
  if (!theirs) co_return theirs.error();
  peer_ = std::move(*theirs);
  // One that does not tell is not in a time namespace of its own, as far as anybody knows.
  if ((peer_.features & wire::kTellsClock) != 0)
    clock_shift_ = clock_shift(peer_.clock_offset, ours.clock_offset);
  co_return Result<>();
}

Task<Result<>> TcpSession::read_exactly(io::MutableBytes into) {
  while (!into.empty()) {
    auto reading = stream_->read(into);
    const Result<std::size_t> count = co_await reading;
    if (!count) co_return count.error();
    last_received_ns_ = now_ns();
    into = into.skip(*count);
  }
  co_return Result<>();
}

// Says why the connection ends, and waits until the other end has heard it: closing with something unread resets the
// connection, and the words would be lost. The caller sets a limit.
Task<Result<>> TcpSession::farewell(std::string text) {
  wire::Buffer words;
  wire::Reason reason;
  reason.text = std::move(text);
  wire::append(words, wire::FrameType::goodbye, 0, reason);
  const std::array<io::Bytes, 1> parts{io::Bytes(words)};
  auto writing = stream_->write(parts);
  const Result<> written = co_await writing;
  if (!written) co_return written;
  std::array<std::byte, 1024> unread;
  while (true) {
    auto reading = stream_->read(io::MutableBytes(unread));
    const Result<std::size_t> count = co_await reading;
    if (!count) co_return Result<>();
  }
}

// --- Reading ----------------------------------------------------------------------------------------------------------

Task<Result<>> TcpSession::read_frames() {
  while (true) {
    const Result<std::size_t> wanted = take_frames();
    if (!wanted) co_return wanted.error();
    if (*wanted == 0) {
      auto reading = read_message();
      const Result<> taken = co_await reading;
      if (!taken) co_return taken;
      continue;
    }
    if (!due_.empty()) control_due_.set();
    auto reading = stream_->read(room_to_read(*wanted));
    const Result<std::size_t> count = co_await reading;
    if (!count) co_return count.error();
    last_received_ns_ = now_ns();
    end_ += *count;
  }
}

Result<std::size_t> TcpSession::take_frames() {
  while (!failure_) {  // else another connection takes over: what came by this one is settled
    const wire::Bytes waiting = wire::Bytes(received_).subspan(begin_, end_ - begin_);
    if (waiting.size() < wire::kHeaderBytes) return wire::kHeaderBytes;
    const wire::Bytes head = waiting.first(wire::kHeaderBytes);
    const Result<wire::Header> header = wire::decode_header(head);
    if (!header) return header.error();
    const bool is_message = header->type == wire::FrameType::data;
    const std::size_t whole = wire::kHeaderBytes + header->length;
    if (waiting.size() < whole) {
      if (!is_message) return whole;
      return waiting.size() < wire::kDataHeadBytes ? wire::kDataHeadBytes : 0;
    }
    begin_ += whole;
    if (is_message) {
      if (auto taken = take_message(*header, waiting.first(whole)); !taken) return taken.error();
      continue;
    }
    const wire::Bytes payload = waiting.subspan(wire::kHeaderBytes, header->length);
    if (!wire::is_intact(head, *header, payload)) return malformed("(a frame with a wrong checksum)");
    if (auto handled = handle(*header, payload); !handled) return handled.error();
  }
  return *failure_;
}

// A quarter of a queue at a time: its sender hears early that it has come, and sends while this end takes the rest.
std::size_t TcpSession::read_at_once() const noexcept {
  return std::clamp(latest_often_ / 2 * latest_bytes_, kReadLeast, kReadMost);
}

io::MutableBytes TcpSession::room_to_read(std::size_t wanted) noexcept {
  if (begin_ > 0) {
    std::memmove(received_.data(), received_.data() + begin_, end_ - begin_);
    end_ -= std::exchange(begin_, 0);
  }
  const std::size_t size = std::max(read_at_once(), wanted - end_);
  return {received_.data() + end_, std::min(received_.size() - end_, size)};
}

// Nothing is waited for: no coroutine, and no look into the map.
Result<> TcpSession::take_message(const wire::Header& header, wire::Bytes frame) {
  const wire::Bytes message = frame.subspan(wire::kDataHeadBytes);
  if (message.size() > options_.max_message_bytes)
    return malformed(
        fmt::format("(a message of {} bytes; at most {})", message.size(), options_.max_message_bytes));
  const Result<ReceiveChannel*> channel = receiver_now(header.channel);
  if (!channel) return channel.error();
  const std::uint32_t begun = wire::checksum_of_header(frame.first(wire::kHeaderBytes));
  if (!wire::is_intact(header, crc32c(frame.subspan(wire::kHeaderBytes), begun)))
    return malformed("(a message with a wrong checksum)");
  if (*channel == nullptr) return {};
  const wire::DataPrefix prefix = wire::decode_data_prefix(frame.subspan(wire::kHeaderBytes));
  if (auto taken = (*channel)->take(message, prefix, stamp_here(prefix.stamp_ns)); !taken) return taken;
  note_arrival(**channel);
  latest_often_ = (*channel)->often();
  latest_bytes_ = frame.size();
  return {};
}

// The message goes to its slot: what has come already from the buffer, the rest from the stream. The channel lives until
// then, whatever becomes of its subscriber: the kernel may be writing to the slot. See forget_receiver().
Task<Result<>> TcpSession::read_message() {
  const wire::Bytes head = wire::Bytes(received_).subspan(begin_, wire::kDataHeadBytes);
  const Result<wire::Header> decoded = wire::decode_header(head.first(wire::kHeaderBytes));
  if (!decoded) co_return decoded.error();
  const wire::Header header = *decoded;
  begin_ += wire::kDataHeadBytes;
  const std::size_t size = header.length - wire::kDataPrefixBytes;
  if (size > options_.max_message_bytes)
    co_return malformed(fmt::format("(a message of {} bytes; at most {})", size, options_.max_message_bytes));
  const Result<ReceiveChannel*> known = receiver_now(header.channel);
  if (!known) co_return known.error();
  ReceiveChannel* const channel = *known;
  const Reading reading_now(*this, header.channel);
  const wire::DataPrefix prefix = wire::decode_data_prefix(head.subspan(wire::kHeaderBytes));
  std::byte* slot = nullptr;  // null: the message is dropped
  if (channel != nullptr) {
    const Result<std::byte*> begun = channel->begin(size, prefix);
    if (!begun) co_return begun.error();
    slot = *begun;
  }
  std::uint32_t sum =
      crc32c(head.subspan(wire::kHeaderBytes), wire::checksum_of_header(head.first(wire::kHeaderBytes)));
  for (std::size_t done = 0; done < size;) {
    if (begin_ == end_) {
      begin_ = end_ = 0;
      // Much is missing: read it where it belongs, and the beginning of the next frame along with it. Otherwise the buffer
      // takes the next frames along.
      const std::size_t direct = slot != nullptr && size - done >= kReadDirectly ? size - done : 0;
      std::array<io::MutableBytes, 2> parts;
      Task<Result<std::size_t>> reading;
      if (direct > 0) {
        parts = {io::MutableBytes(slot + done, direct), io::MutableBytes(received_.data(), kReadAlong)};
        reading = stream_->read(parts);
      } else {
        reading = stream_->read(io::MutableBytes(received_.data(), read_at_once()));
      }
      const Result<std::size_t> count = co_await reading;
      if (!count) co_return count.error();
      last_received_ns_ = now_ns();
      const std::size_t in_place = std::min(*count, direct);
      if (in_place > 0) sum = crc32c({slot + done, in_place}, sum);
      done += in_place;
      end_ = *count - in_place;
      if (end_ == 0 || done == size) continue;
    }
    const std::size_t piece = std::min(end_ - begin_, size - done);
    const wire::Bytes bytes = wire::Bytes(received_).subspan(begin_, piece);
    sum = crc32c(bytes, sum);
    if (slot != nullptr) std::memcpy(slot + done, bytes.data(), piece);
    begin_ += piece;
    done += piece;
  }
  if (!wire::is_intact(header, sum)) co_return malformed("(a message with a wrong checksum)");
  // Unless the subscriber went while the message came.
  if (channel != nullptr && orphan_ == nullptr) {
    channel->finish(stamp_here(prefix.stamp_ns));
    note_arrival(*channel);
  }
  co_return Result<>();
}

// --- Writing ----------------------------------------------------------------------------------------------------------

Task<> TcpSession::outbound_moves() {
  outbound_moved_.reset();
  co_await outbound_moved_.wait();
}

Task<> TcpSession::write_outgoing() {
  Outgoing sending;
  while (true) {
    co_await control_due_.wait();
    control_due_.reset();
    append_accounts();
    if (outgoing_.empty()) continue;
    sending.swap(outgoing_);
    outbound_moved_.set();
    auto writing = write(sending);
    const Result<> written = co_await writing;
    if (!written) {
      fail(written.error());
      co_return;
    }
    sending.clear();
  }
}

Task<Result<>> TcpSession::write(Outgoing& sending) {
  std::array<io::Bytes, kWriteParts> parts;
  if (ending_) co_return Error(ECANCELED, "write", name_);  // before anything is torn
  while (const std::size_t used = sending.next(parts, write_chunk_)) {
    torn_ = true;
    writing_since_ns_ = now_ns();
    auto writing = stream_->write(std::span<const io::Bytes>(parts).first(used));
    Result<> written = co_await writing;
    const std::int64_t began = std::exchange(writing_since_ns_, 0);
    if (!written) co_return written;
    last_sent_ns_ = now_ns();
    if (last_sent_ns_ - began < kQuickWrite_ns) {
      write_chunk_ = std::min(2 * write_chunk_, most_at_once_);
    } else if (last_sent_ns_ - began > kSlowWrite_ns) {
      write_chunk_ = std::max(write_chunk_ / 2, kLeastChunk);
    }
    if (sending.sent()) outbound_moved_.set();
  }
  torn_ = false;
  co_return Result<>();
}

void TcpSession::send_control() {
  control_due_.set();
  const std::size_t bytes = outgoing_.control_bytes();
  if (bytes <= options_.max_outbound_bytes) return;
  fail(Error(ENOBUFS, "send to",
             fmt::format("{} ({} bytes wait; at most {}: TcpHubOptions::max_outbound_bytes)", name_, bytes,
                         options_.max_outbound_bytes)));
}

void TcpSession::fail(const Error& error) noexcept {
  if (ending_) return;
  if (!failure_) failure_ = error;
  stream_->close();
}

// A publisher's state is a word that any thread may write, and that wakes nobody. While there are channels, it is looked at.
Task<> TcpSession::watch_states() {
  struct Watching {
    bool& flag;
    explicit Watching(bool& one) noexcept : flag(one) { flag = true; }
    Watching(const Watching&) = delete;
    Watching& operator=(const Watching&) = delete;
    ~Watching() { flag = false; }
  };
  const Watching watching(watching_states_);
  while (!sending_.empty()) {
    for (const auto& [number, channel] : sending_) tell_state(*channel);
    co_await sleep(kStatesEvery);
  }
}

// Heartbeats, and the end of a connection over which nothing moves.
Task<> TcpSession::watch() {
  const Duration theirs = std::chrono::milliseconds(std::max<std::uint32_t>(peer_.idle_ms, 10));
  // A peer that wants to hear from us all the time does not keep us busy.
  const Duration beat = std::max<Duration>(std::min(options_.idle_limit, theirs) / 3, kLeastBeat);
  const std::int64_t limit = options_.idle_limit.count();
  while (true) {
    co_await sleep(beat);
    const std::int64_t now = now_ns();
    if (now - last_received_ns_ >= limit) {
      fail(Error(ETIMEDOUT, "hear from", fmt::format("{} (nothing for {} ms)", name_, limit / 1'000'000)));
      co_return;
    }
    if (writing_since_ns_ != 0 && now - writing_since_ns_ >= limit) {
      fail(Error(ETIMEDOUT, "send to",
                 fmt::format("{} (it has read nothing for {} ms)", name_, limit / 1'000'000)));
      co_return;
    }
    ask_again(now);
    trim_memory();
    std::uint64_t lost = 0;
    for (const auto& [number, channel] : sending_) {
      if (channel->news_of_loss(lost))
        wire::append(frames(), wire::FrameType::loss, number, wire::Loss{lost});
    }
    if (now - last_sent_ns_ >= beat.count() / 2 && writing_since_ns_ == 0) wire::append_heartbeat(frames());
    if (!outgoing_.empty()) send_control();
  }
}

}  // namespace horus::HORUS_ABI::msg
