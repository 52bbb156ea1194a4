// SPDX-License-Identifier: Apache-2.0
#include "inputs.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include <horus/io/reactor.hpp>

namespace rover {

namespace {

constexpr size_t kSampledPixels = 1024;  // of a picture, for its brightness: a look, not a study

// The next number of `text`, which is moved behind it; nothing when there is none.
std::optional<uint64_t> next_number(std::string_view& text) noexcept {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  text.remove_prefix(first);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return {};
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

// "MemTotal:  8039284 kB" → bytes.
std::optional<uint64_t> kilobytes_of(std::string_view text, std::string_view name) noexcept {
  const size_t at = text.find(name);
  if (at == std::string_view::npos) return {};
  text.remove_prefix(at + name.size());
  const auto value = next_number(text);
  if (!value) return {};
  return *value * 1024;
}

}  // namespace

void take_picture(Camera& camera, const PpmHeader& header, std::span<const uint8_t> pixels,
                  int64_t now_ns) noexcept {
  camera.width = header.width;
  camera.height = header.height;
  camera.last_bytes = pixels.size();
  ++camera.pictures;
  const size_t stride = std::max<size_t>(pixels.size() / kSampledPixels, 1);
  uint64_t sum = 0, samples = 0;
  for (size_t i = 0; i < pixels.size(); i += stride, ++samples) sum += pixels[i];
  camera.brightness = samples > 0 ? static_cast<double>(sum) / static_cast<double>(samples) : 0;
  if (camera.last_ns > 0 && now_ns > camera.last_ns) {
    // The mean of the intervals: two pictures that were read at once count as little as they should.
    const double interval_s = static_cast<double>(now_ns - camera.last_ns) * 1e-9;
    camera.pictures_per_s =
        camera.pictures_per_s == 0 ? 1 / interval_s : 1 / (0.9 / camera.pictures_per_s + 0.1 * interval_s);
  }
  camera.last_ns = now_ns;
}

void NmeaInput::take(Gps& gps, std::string_view bytes, int64_t now_ns) {
  lines_.feed(bytes, [&](std::string_view line) { parser_.parse(line); });
  gps.fix = parser_.fix();
  gps.epochs = parser_.epochs();
  gps.sentences = parser_.lines();
  gps.refused = parser_.refused();
  if (gps.fix.has_position()) gps.last_position_ns = now_ns;
}

int64_t NmeaPlayback::pause_before(std::string_view line) noexcept {
  const uint64_t epochs = parser_.epochs();
  const auto before = parser_.fix().time_of_day_ms;
  parser_.parse(line);
  if (parser_.epochs() == epochs) return 0;
  const auto now = parser_.fix().time_of_day_ms;
  if (!before || !now) return kShortest_ns;
  return std::clamp((int64_t{*now} - *before) * 1'000'000, kShortest_ns, kLongest_ns);
}

// cpu  user nice system idle iowait irq softirq steal …: proc(5).
void HealthInput::take_stat(Health& health, std::string_view text) noexcept {
  if (!text.starts_with("cpu ")) return;
  text.remove_prefix(4);
  text = text.substr(0, text.find('\n'));
  uint64_t total = 0, idle = 0;
  for (int field = 0; field < 8; ++field) {
    const auto ticks = next_number(text);
    if (!ticks) return;
    total += *ticks;
    if (field == 3 || field == 4) idle += *ticks;
  }
  const uint64_t busy = total - idle;
  if (total_ > 0 && total > total_ && busy >= busy_) {
    health.cpu_percent = 100.0 * static_cast<double>(busy - busy_) / static_cast<double>(total - total_);
  }
  busy_ = busy;
  total_ = total;
}

void HealthInput::take_meminfo(Health& health, std::string_view text) noexcept {
  const auto total = kilobytes_of(text, "MemTotal:"), available = kilobytes_of(text, "MemAvailable:");
  if (!total || !available) return;
  health.memory_total_bytes = *total;
  health.memory_used_bytes = *total - std::min(*available, *total);
}

void HealthInput::take_status(Health& health, std::string_view text) noexcept {
  if (const auto bytes = kilobytes_of(text, "VmRSS:")) health.rover_bytes = *bytes;
  if (const size_t at = text.find("Threads:"); at != std::string_view::npos) {
    text.remove_prefix(at + 8);
    health.threads = next_number(text).value_or(health.threads);
  }
}

void HealthInput::take_temperature(Health& health, std::string_view text) noexcept {
  const auto milli = next_number(text);
  if (milli && *milli < 200'000) health.temperature_c = static_cast<double>(*milli) / 1000;
}

std::string log_record(const World& world, int64_t unix_ms) {
  const auto optional = [](const std::optional<double>& value, int digits) {
    return value ? fmt::format("{:.{}f}", *value, digits) : std::string("null");
  };
  const Fix& fix = world.gps.fix;
  return fmt::format(R"({{"t":{}.{:03},"lat":{},"lon":{},"speed":{:.2f},"heading":{:.1f},"driven":{:.2f},)"
                     R"("waypoints":{},"pictures":{},"brightness":{:.0f},"cpu":{}}})"
                     "\n",
                     unix_ms / 1000, unix_ms % 1000, optional(fix.latitude_deg, 7),
                     optional(fix.longitude_deg, 7), world.drive.speed_mps, world.drive.heading_deg,
                     world.drive.distance_m, world.drive.waypoints_reached, world.camera.pictures,
                     world.camera.brightness, optional(world.health.cpu_percent, 0));
}

std::string log_record_now(const World& world) {
  return log_record(world, horus::wall_clock_ns() / 1'000'000);
}

}  // namespace rover
