// SPDX-License-Identifier: Apache-2.0
#include <horus/record/player.hpp>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <deque>
#include <limits>
#include <mutex>
#include <optional>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <horus/base/log.hpp>
#include <horus/config/tree.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/format/names.hpp>
#include <horus/record/recorded_type.hpp>
#include <horus/record/topics.hpp>
#include <horus/task/event.hpp>

namespace horus::HORUS_ABI {
namespace {

constexpr const char* kAction = "play";
constexpr std::int64_t kLate_ns = 10'000'000;
constexpr std::size_t kAtOnce = 64;                             // messages, before others have their turn
constexpr Duration kLook = std::chrono::milliseconds(5);        // for subscribers
constexpr Duration kRestart = std::chrono::milliseconds(1);     // between two rounds of a loop
constexpr std::size_t kMostQueuedBytes = std::size_t{4} << 30;  // of addresses, for one topic
constexpr const char* kClockTopic = "clock";

using Key = std::tuple<std::string, std::string, std::uint64_t>;  // topic, hub, layout

Result<> check(const PlayOptions& options) {
  const auto refuse = [](const std::string& what) { return Error(EINVAL, kAction, what); };
  if (!(options.rate >= PlayOptions::kMinRate && options.rate <= PlayOptions::kMaxRate))
    return refuse(
        fmt::format("rate {}: from {} to {}", options.rate, PlayOptions::kMinRate, PlayOptions::kMaxRate));
  for (const auto& [what, time] : {std::pair("start", options.start),
                                   {"length", options.length},
                                   {"delay", options.delay},
                                   {"clock", options.clock}}) {
    if (time < Duration::zero()) return refuse(fmt::format("{} {} ns: 0 or more", what, time.count()));
  }
  for (const auto& [from, to] : options.renamed) {
    if (!msg::is_name(to))
      return refuse(fmt::format("topic {} as \"{}\": a name has 1 to 255 bytes, without spaces", from, to));
  }
  return {};
}

// Nothing asked for in vain. `what` is the kind of name that `wrong` is.
Error no_topic(const std::string& wrong, const std::vector<std::string>& names, const std::string& file) {
  const std::string near = config::nearest(wrong, names);
  return Error(EINVAL, "play topic", fmt::format("{} of {}", wrong, file))
      .with_detail(names.empty()  ? "(the recording has no topics)"
                   : near.empty() ? fmt::format("(there is none; there are: {})", fmt::join(names, ", "))
                                  : fmt::format("(there is none; did you mean \"{}\"?)", near));
}

std::size_t largest_chunk(const bag::Contents& contents, std::uint16_t channel) {
  std::size_t most = 0;
  for (const bag::ChunkIndex& chunk : contents.chunks) {
    const bool has = chunk.message_indexes.empty() ||
                     std::any_of(chunk.message_indexes.begin(), chunk.message_indexes.end(),
                                 [&](const auto& place) { return place.channel == channel; });
    if (has) most = std::max(most, static_cast<std::size_t>(chunk.bytes));
  }
  return most;
}

}  // namespace

struct Player::State {
  // Ports point to layouts and descriptions, and so may those who have heard of a port: kept for good. As many as there are types.
  struct Kept {
    Layout layout;
    std::shared_ptr<const Description> description;
  };
  static const Kept& keep(Layout layout, std::shared_ptr<const Description> description) {
    static std::mutex mutex;
    static auto* all = new std::map<std::pair<std::uint64_t, std::uint64_t>, Kept>();
    const std::uint64_t identity = description == nullptr ? 0 : description->identity();
    const std::pair key(layout.hash, identity);
    const std::lock_guard lock(mutex);
    return all->try_emplace(key, Kept{std::move(layout), std::move(description)}).first->second;
  }

  struct Track {
    PlayedTopic told;
    const Kept* type = nullptr;
    record::Decoder decoder;
    std::size_t max_bytes = 0;
    std::vector<std::shared_ptr<msg::Port>> ports;
    bool complained = false;

    explicit Track(record::RecordedType recorded) : decoder(std::move(recorded)) {}

    [[nodiscard]] std::uint32_t subscribers() const {
      std::uint32_t count = 0;
      for (const auto& port : ports) count += port->outbox().metrics().subscribers;
      return count;
    }
  };

  struct File {
    bag::Reader reader;
    std::map<std::uint16_t, Track*> tracks;  // by channel
    std::optional<bag::Message> next;
  };

  PlayOptions options;
  std::deque<Track> tracks;
  std::map<Key, Track*> by_key;
  std::vector<File> files;
  PlayStatus told;
  Hubs hubs;
  std::vector<std::shared_ptr<msg::Port>> clocks;
  std::uint64_t first_ns = 0;  // of the recording
  std::uint64_t begin_ns = 0;  // of what is played
  std::uint64_t end_ns = std::numeric_limits<std::uint64_t>::max();
  // So much of the recording's time had passed at that time of this program.
  std::uint64_t anchor_file_ns = 0;
  std::int64_t anchor_ns = 0;
  std::int64_t next_clock_ns = std::numeric_limits<std::int64_t>::max();
  std::uint64_t steps = 0;
  std::uint64_t waits = 0;  // so far
  bool stopping = false;
  bool running = false;
  Event changed;
  std::vector<std::byte> head;
  std::vector<std::byte> tail;

  void adopt(std::vector<bag::Reader> readers);
  void adopt(File& file, const bag::Channel& channel);
  Result<> check_names() const;

  void open_ports(Track& track);
  void open_clock();
  Task<bool> wait_for_subscribers();
  Task<Result<>> advance(File& file);
  Task<Result<>> rewind();
  Task<Result<std::uint64_t>> round();
  Task<bool> wait_until(std::uint64_t file_ns, std::int64_t& late_ns);
  Task<> wait(std::int64_t ns);
  Task<Result<PlayStatus>> run();
  void publish(Track& track, const bag::Message& message, std::int64_t late_ns);
  void tell_clock(std::int64_t now);
  [[nodiscard]] std::int64_t due_ns(std::uint64_t file_ns) const noexcept;
  [[nodiscard]] std::uint64_t file_time(std::int64_t now) const noexcept;
  void anchor(std::uint64_t file_ns, std::int64_t now) noexcept {
    anchor_file_ns = file_ns;
    anchor_ns = now;
  }
  [[nodiscard]] PlayStatus status() const;
};

// --- What there is ----------------------------------------------------------------------------------------------------

void Player::State::adopt(std::vector<bag::Reader> readers) {
  bool some = false;
  for (bag::Reader& reader : readers) {
    if (!reader.contents().indexed)
      log_warning(reader.name() +
                  " has no index: what is whole in it is played (horus bag recover writes an index)");
    const bag::Statistics& all = reader.contents().statistics;
    if (all.messages == 0) continue;
    first_ns = some ? std::min(first_ns, all.first_ns) : all.first_ns;
    some = true;
  }
  const auto after = [](std::uint64_t time, Duration more) {
    const auto ns = static_cast<std::uint64_t>(more.count());
    return time + std::min(ns, std::numeric_limits<std::uint64_t>::max() - time);
  };
  begin_ns = after(first_ns, options.start);
  if (options.length > Duration::zero()) end_ns = after(begin_ns, options.length);
  files.reserve(readers.size());
  for (bag::Reader& reader : readers) {
    files.push_back({std::move(reader), {}, std::nullopt});
    for (const auto& [id, channel] : files.back().reader.contents().channels) adopt(files.back(), channel);
  }
}

void Player::State::adopt(File& file, const bag::Channel& channel) {
  const bag::Contents& contents = file.reader.contents();
  if (!options.topics.empty() && !record::fits(channel.topic, options.topics)) return;
  if (record::fits(channel.topic, options.left_out)) return;
  if (options.wanted && !options.wanted(channel.topic)) return;
  const auto leave_out = [&](std::string_view why) {
    const std::string line = fmt::format("{}: {}", channel.topic, why);
    if (std::find(told.left_out.begin(), told.left_out.end(), line) == told.left_out.end())
      told.left_out.push_back(line);
  };
  if (channel.metadata.contains("horus.peer")) return leave_out("a link between two hubs is not played");
  const auto renamed = options.renamed.find(channel.topic);
  const std::string& topic = renamed == options.renamed.end() ? channel.topic : renamed->second;
  if (topic == kClockTopic && options.clock > Duration::zero())
    return leave_out("the topic tells the recording's time now");
  if (!msg::is_name(topic)) return leave_out("that is no name of a topic here: rename it");
  const auto schema = contents.schemas.find(channel.schema);
  auto type = record::recorded_type(channel, schema == contents.schemas.end() ? nullptr : &schema->second);
  if (!type) {
    const std::string_view why = type.error().target();
    return leave_out(why.starts_with(channel.topic + ": ") ? why.substr(channel.topic.size() + 2) : why);
  }
  const auto hub = channel.metadata.find("horus.hub");
  const std::string recorded_hub = hub == channel.metadata.end() ? "" : hub->second;
  const std::size_t chunk = largest_chunk(contents, channel.id);
  const std::size_t times = type->coding == record::Coding::json ? 8 : 2;  // a digit may become nine bytes
  Track*& track = by_key[Key(topic, recorded_hub, type->layout.hash)];
  if (track == nullptr) {
    const Kept& kept = keep(type->layout, type->description);
    const std::string name = type->name;
    track = &tracks.emplace_back(std::move(*type));
    track->type = &kept;
    track->told.topic = topic;
    track->told.hub = recorded_hub;
    track->told.type = name;
  }
  track->max_bytes = std::max(track->max_bytes, std::min(chunk, AdvertiseOptions::kLargestMessage) * times);
  file.tracks.emplace(channel.id, track);
}

Result<> Player::State::check_names() const {
  std::vector<std::string> names;
  for (const File& file : files)
    for (const auto& [id, channel] : file.reader.contents().channels) names.push_back(channel.topic);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  const std::string file = files.size() == 1 ? files[0].reader.name() : "the recordings";
  for (const std::string& pattern : options.topics) {
    if (std::none_of(names.begin(), names.end(),
                     [&](const std::string& name) { return record::fits(name, {pattern}); }))
      return no_topic(pattern, names, file);
  }
  for (const auto& [from, to] : options.renamed)
    if (!std::binary_search(names.begin(), names.end(), from)) return no_topic(from, names, file);
  return {};
}

// --- Ports ------------------------------------------------------------------------------------------------------------

void Player::State::open_ports(Track& track) {
  AdvertiseOptions advertise;
  if (track.type->layout.element_bytes > 0) {
    advertise.max_bytes = std::clamp(track.max_bytes + track.type->layout.head_bytes,
                                     AdvertiseOptions::kDefaultMaxBytes, AdvertiseOptions::kLargestMessage);
    advertise.max_queued = static_cast<std::uint32_t>(
        std::clamp<std::size_t>(kMostQueuedBytes / advertise.max_bytes, 64, advertise.max_queued));
  }
  for (const Hub& hub : hubs(track.told.topic, track.told.hub)) {
    msg::PortInfo info;
    info.direction = msg::Direction::out;
    info.topic = track.told.topic;
    info.layout = &track.type->layout;
    info.description = track.type->description.get();
    info.advertise = advertise;
    auto port = std::make_shared<msg::Port>(std::move(info));
    port->open(hub.core());
    track.ports.push_back(std::move(port));
  }
}

void Player::State::open_clock() {
  if (options.clock <= Duration::zero()) return;
  for (const Hub& hub : hubs(kClockTopic, "")) {
    auto port = record::clock_port(kClockTopic);
    port->open(hub.core());
    clocks.push_back(std::move(port));
  }
}

Task<bool> Player::State::wait_for_subscribers() {
  std::string missing;
  while (!stopping) {
    std::vector<std::string> names;
    for (Track& track : tracks) {
      if (track.ports.empty()) open_ports(track);
      if (track.subscribers() < options.subscribers) names.push_back(track.told.topic);
    }
    const bool nobody =
        std::all_of(tracks.begin(), tracks.end(), [](const Track& track) { return track.ports.empty(); });
    told.waiting = nobody || !names.empty();
    if (!told.waiting) break;
    if (auto now = fmt::format("{}", fmt::join(names, ", ")); options.subscribers > 0 && now != missing) {
      log_info("waiting for subscribers of " + now);
      missing = std::move(now);
    }
    auto waiting = wait(kLook.count());
    co_await waiting;
  }
  told.waiting = false;
  co_return !stopping;
}

// --- Time -------------------------------------------------------------------------------------------------------------

std::int64_t Player::State::due_ns(std::uint64_t file_ns) const noexcept {
  if (file_ns <= anchor_file_ns) return anchor_ns;
  const double after = std::ceil(static_cast<double>(file_ns - anchor_file_ns) / options.rate);
  return after < 9e18 ? saturating_add(anchor_ns, options.rate == 1
                                                      ? static_cast<std::int64_t>(file_ns - anchor_file_ns)
                                                      : static_cast<std::int64_t>(after))
                      : std::numeric_limits<std::int64_t>::max();
}

std::uint64_t Player::State::file_time(std::int64_t now) const noexcept {
  if (now <= anchor_ns) return anchor_file_ns;
  const double after = static_cast<double>(now - anchor_ns) * options.rate;
  if (options.rate == 1) return anchor_file_ns + static_cast<std::uint64_t>(now - anchor_ns);
  return after < 9e18 ? anchor_file_ns + static_cast<std::uint64_t>(after) : anchor_file_ns;
}

// Until something was changed, or so long.
Task<> Player::State::wait(std::int64_t ns) {
  ++waits;
  changed.reset();
  auto waiting = [](Event& event) -> Task<> { co_await event; }(changed);
  if (ns == std::numeric_limits<std::int64_t>::max()) {
    co_await waiting;
    co_return;
  }
  auto limited = with_timeout(Duration(ns), std::move(waiting));
  const auto waited = co_await limited;
  if (!waited && !waited.error().timed_out()) throw Error(waited.error());
}

// False: it was stopped.
Task<bool> Player::State::wait_until(std::uint64_t file_ns, std::int64_t& late_ns) {
  late_ns = 0;
  while (!stopping) {
    const std::int64_t now = now_ns();
    if (told.paused) {
      if (steps > 0) {
        --steps;
        anchor(file_ns, now);
        co_return true;
      }
      auto waiting = wait(std::numeric_limits<std::int64_t>::max());
      co_await waiting;
      continue;
    }
    const std::int64_t due = due_ns(file_ns);
    if (next_clock_ns <= std::min(now, due)) {
      tell_clock(next_clock_ns);
      next_clock_ns =
          saturating_add(std::max(next_clock_ns, now - options.clock.count()), options.clock.count());
      continue;
    }
    if (now >= due) {
      late_ns = now - due;
      co_return true;
    }
    auto waiting = wait(std::min(due, next_clock_ns) - now);
    co_await waiting;
  }
  co_return false;
}

// --- Playing ----------------------------------------------------------------------------------------------------------

void Player::State::tell_clock(std::int64_t now) {
  const auto ns = static_cast<std::int64_t>(std::min<std::uint64_t>(file_time(now), INT64_MAX));
  for (const auto& port : clocks) record::send_clock(*port, ns);
}

void Player::State::publish(Track& track, const bag::Message& message, std::int64_t late_ns) {
  if (track.ports.empty()) open_ports(track);
  const auto complain = [&](const std::string& why) {
    ++track.told.failed;
    if (!std::exchange(track.complained, true))
      log_warning(fmt::format("topic {}: a message is not played: {}", track.told.topic, why));
  };
  if (auto read = track.decoder.read(message.data, head, tail); !read)
    return complain(read.error().message());
  try {
    for (const auto& port : track.ports)
      static_cast<void>(port->outbox().send(head.data(), tail.data(), tail.size()));
  } catch (const Error& error) {  // EMSGSIZE
    return complain(error.message());
  }
  ++track.told.messages;
  ++told.messages;
  told.position = Duration(static_cast<std::int64_t>(message.log_ns - first_ns));
  told.latest = std::max(told.latest, Duration(late_ns));
  if (late_ns > kLate_ns) {
    ++track.told.late;
    ++told.late;
  }
}

Task<Result<>> Player::State::advance(File& file) {
  while (true) {
    auto reading = file.reader.next();
    auto message = co_await reading;
    file.next.reset();
    if (message) {
      file.next = *message;
      co_return Result<>();
    }
    if (message.error().end_of_stream()) co_return Result<>();
    if (message.code() != kBadInput) co_return message.error();
    log_warning(message.error().message());
  }
}

Task<Result<>> Player::State::rewind() {
  for (File& file : files) {
    bag::Selection selection;
    selection.first_ns = begin_ns;
    selection.last_ns = end_ns;
    selection.channel = [&file](const bag::Channel& channel) { return file.tracks.contains(channel.id); };
    file.reader.select(std::move(selection));
    auto advancing = advance(file);
    const auto advanced = co_await advancing;
    if (!advanced) co_return advanced;
  }
  co_return Result<>();
}

// From where rewind() went to the end; how many messages there were.
Task<Result<std::uint64_t>> Player::State::round() {
  std::uint64_t count = 0;
  std::size_t at_once = 0;
  while (true) {
    File* earliest = nullptr;
    for (File& file : files)
      if (file.next && (earliest == nullptr || file.next->log_ns < earliest->next->log_ns)) earliest = &file;
    if (earliest == nullptr) break;
    const std::uint64_t before = waits;
    std::int64_t late_ns = 0;
    auto waiting = wait_until(earliest->next->log_ns, late_ns);
    const bool goes_on = co_await waiting;
    if (!goes_on) break;
    publish(*earliest->tracks.at(earliest->next->channel), *earliest->next, late_ns);
    ++count;
    auto advancing = advance(*earliest);
    const auto advanced = co_await advancing;
    if (!advanced) co_return advanced.error();
    at_once = waits == before ? at_once + 1 : 0;
    if (at_once >= kAtOnce) {
      at_once = 0;
      co_await yield();
    }
  }
  co_return count;
}

Task<Result<PlayStatus>> Player::State::run() {
  const bool has_topics = std::any_of(
      files.begin(), files.end(), [](const File& file) { return !file.reader.contents().channels.empty(); });
  if (tracks.empty() && has_topics)
    co_return Error(EINVAL, kAction, files.size() == 1 ? files[0].reader.name() : "the recordings")
        .with_detail(told.left_out.empty()
                         ? "(no topic is wanted)"
                         : fmt::format("(no topic can be played: {})", fmt::join(told.left_out, "; ")));
  for (Track& track : tracks) open_ports(track);
  open_clock();
  if (!tracks.empty()) {
    auto waiting = wait_for_subscribers();
    const bool goes_on = co_await waiting;
    if (!goes_on) co_return status();
  }
  for (Duration pause = options.delay; !stopping; pause = kRestart) {
    auto rewinding = rewind();
    const auto rewound = co_await rewinding;
    if (!rewound) co_return rewound.error();
    anchor(begin_ns, saturating_add(now_ns(), pause.count()));
    if (!clocks.empty()) next_clock_ns = anchor_ns;
    auto playing = round();
    const auto count = co_await playing;
    if (!count) co_return count.error();
    if (stopping) break;
    ++told.rounds;
    if (!options.loop || *count == 0) break;
  }
  co_return status();
}

PlayStatus Player::State::status() const {
  PlayStatus now = told;
  for (const Track& track : tracks) {
    PlayedTopic& topic = now.topics.emplace_back(track.told);
    for (const auto& port : track.ports) {
      const PublisherMetrics metrics = port->outbox().metrics();
      topic.sent += metrics.sent;
      topic.dropped += metrics.dropped;
      topic.subscribers += metrics.subscribers;
    }
  }
  std::sort(now.topics.begin(), now.topics.end(), [](const PlayedTopic& a, const PlayedTopic& b) {
    return std::tie(a.topic, a.hub, a.type) < std::tie(b.topic, b.hub, b.type);
  });
  return now;
}

// --- The player -------------------------------------------------------------------------------------------------------

Player::Player(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Player::Player(Player&&) noexcept = default;
Player& Player::operator=(Player&&) noexcept = default;
Player::~Player() = default;

Task<Result<Player>> Player::open(std::vector<std::string> paths, PlayOptions options) {
  if (auto sound = check(options); !sound) co_return sound.error();
  std::vector<std::unique_ptr<bag::Source>> sources;
  for (std::string& path : paths) {
    auto opening = bag::open_file(std::move(path));
    auto source = co_await opening;
    if (!source) co_return source.error();
    sources.push_back(std::move(*source));
  }
  auto opening = open(std::move(sources), std::move(options));
  co_return co_await opening;
}

Task<Result<Player>> Player::open(std::vector<std::unique_ptr<bag::Source>> sources, PlayOptions options) {
  if (auto sound = check(options); !sound) co_return sound.error();
  std::vector<bag::Reader> readers;
  for (auto& source : sources) {
    auto opening = bag::Reader::open(std::move(source), bag::ReaderOptions());
    auto reader = co_await opening;
    if (!reader) co_return reader.error();
    readers.push_back(std::move(*reader));
  }
  auto state = std::make_unique<State>();
  state->options = std::move(options);
  state->told.paused = state->options.paused;
  state->adopt(std::move(readers));
  if (auto named = state->check_names(); !named) co_return named.error();
  co_return Player(std::move(state));
}

Task<Result<PlayStatus>> Player::run(Hub hub) {
  return run(
      [hub = std::move(hub)](const std::string&, const std::string&) { return std::vector<Hub>{hub}; });
}

Task<Result<PlayStatus>> Player::run(Hubs hubs) {
  State& state = *state_;
  if (std::exchange(state.running, true))
    co_return Error(EBUSY, kAction).with_detail("(a Player plays once)");
  state.hubs = std::move(hubs);
  try {
    auto running = state.run();
    co_return co_await running;
  } catch (const Error& error) {
    co_return error;
  }
}

void Player::pause() noexcept {
  State& state = *state_;
  if (state.told.paused) return;
  const std::int64_t now = now_ns();
  state.anchor(state.file_time(now), std::max(now, state.anchor_ns));
  state.told.paused = true;
  state.steps = 0;
  state.changed.set();
}

void Player::resume() noexcept {
  State& state = *state_;
  if (!state.told.paused) return;
  state.told.paused = false;
  state.anchor_ns = std::max(now_ns(), state.anchor_ns);
  if (!state.clocks.empty()) state.next_clock_ns = state.anchor_ns;
  state.changed.set();
}

bool Player::paused() const noexcept { return state_->told.paused; }

void Player::step() noexcept {
  ++state_->steps;
  state_->changed.set();
}

void Player::stop() noexcept {
  state_->stopping = true;
  state_->changed.set();
}

PlayStatus Player::status() const { return state_->status(); }

Task<Result<PlayStatus>> play(std::string path, Hub hub, PlayOptions options) {
  std::vector<std::string> paths;
  paths.push_back(std::move(path));
  auto opening = Player::open(std::move(paths), std::move(options));
  auto player = co_await opening;
  if (!player) co_return player.error();
  auto playing = player->run(std::move(hub));
  co_return co_await playing;
}

}  // namespace horus::HORUS_ABI
