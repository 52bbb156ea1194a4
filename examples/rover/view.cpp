// SPDX-License-Identifier: Apache-2.0
// Layout: each line is composed of pieces of known width, then cut to the screen.
#include "view.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace rover {

namespace {

constexpr std::string_view kEraseToEndOfLine = "\x1b[K";

// Four colours are enough: what is quiet, what is good, what to look at, what is wrong.
struct Palette {
  std::string_view plain, strong, quiet, good, notable, wrong;
};
constexpr Palette kColours{"\x1b[0m",       "\x1b[1m",        "\x1b[38;5;244m",
                           "\x1b[38;5;71m", "\x1b[38;5;179m", "\x1b[38;5;167m"};
constexpr Palette kNoColours{};

// What others sent, made harmless: printable ASCII only, bounded.
std::string harmless(std::string_view text, size_t most) {
  std::string out;
  for (char c : text.substr(0, most)) out += c >= ' ' && c <= '~' ? c : '.';
  if (text.size() > most) out += "…";
  return out;
}

// Cuts a line to a number of columns; control sequences take none, every code point takes one.
std::string cut(std::string_view line, int columns) {
  std::string out;
  int width = 0;
  for (size_t i = 0; i < line.size();) {
    size_t length = 1;
    if (line[i] == '\x1b') {
      length = std::min(line.find('m', i), line.size() - 1) - i + 1;
    } else {
      while (i + length < line.size() && (static_cast<unsigned char>(line[i + length]) & 0xc0) == 0x80)
        ++length;
      if (width++ >= columns) length = 0;
    }
    if (length == 0) {  // full: only colours still pass
      const size_t next = line.find('\x1b', i);
      if (next == std::string_view::npos) break;
      i = next;
      continue;
    }
    out += line.substr(i, length);
    i += length;
  }
  return out;
}

std::string clock_text(double seconds) {
  const auto tenths = static_cast<int64_t>(std::max(0.0, seconds) * 10);
  return fmt::format("{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10);
}

std::string rate_text(double rate_hz) {
  if (rate_hz <= 0) return "event";
  return rate_hz >= 10 || rate_hz == std::floor(rate_hz) ? fmt::format("{:.0f} Hz", rate_hz)
                                                         : fmt::format("{:.1f} Hz", rate_hz);
}

std::string bar(double part, int width) {
  const int full = static_cast<int>(std::lround(std::clamp(part, 0.0, 1.0) * width));
  std::string out;
  for (int i = 0; i < width; ++i) out += i < full ? "━" : "─";
  return out;
}

// One bar per moment on a fixed scale, so that the line does not jump when the worst value leaves it.
std::string bars(const std::vector<uint64_t>& lateness_ns, size_t width, const Palette& colour) {
  constexpr std::array<std::string_view, 8> kBars{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  constexpr std::array<uint64_t, 7> kLimits_us{60, 125, 250, 500, 1000, 2000, 5000};
  std::string out;
  std::string_view last;
  const size_t count = std::min(width, lateness_ns.size());
  for (size_t i = lateness_ns.size() - count; i < lateness_ns.size(); ++i) {
    const auto level = static_cast<size_t>(
        std::upper_bound(kLimits_us.begin(), kLimits_us.end(), lateness_ns[i] / 1000) - kLimits_us.begin());
    const std::string_view shade = level < 4 ? colour.good : level < 7 ? colour.notable : colour.wrong;
    if (shade != last) out += shade;
    last = shade;
    out += kBars[level];
  }
  if (count > 0) out += colour.plain;
  return out;
}

std::string angle_text(double degrees, char positive, char negative) {
  return fmt::format("{:.5f}° {}", std::abs(degrees), degrees < 0 ? negative : positive);
}

std::string_view arrow(double heading_deg) {
  constexpr std::array<std::string_view, 8> kArrows{"↑", "↗", "→", "↘", "↓", "↙", "←", "↖"};
  const double turns = heading_deg / 45;
  const auto eighth = std::isfinite(turns) ? static_cast<int64_t>(std::lround(turns)) % 8 : 0;
  return kArrows[static_cast<size_t>((eighth + 8) % 8)];
}

std::string gps_position(const GpsView& gps, const Palette& colour) {
  if (!gps.connected)
    return fmt::format("{}waiting for {}{}", colour.notable, harmless(gps.source, 40), colour.plain);
  if (!gps.latitude_deg || !gps.longitude_deg)
    return fmt::format("{}no fix yet{}", colour.notable, colour.plain);
  std::string out = fmt::format("{:<15}{:<15}", angle_text(*gps.latitude_deg, 'N', 'S'),
                                angle_text(*gps.longitude_deg, 'E', 'W'));
  if (gps.altitude_m) out += fmt::format("{:>7.1f} m", *gps.altitude_m);
  out += colour.quiet;
  if (gps.satellites) out += fmt::format("   {} satellites", *gps.satellites);
  if (gps.mode >= 2) out += gps.mode == 2 ? ", 2D" : ", 3D";
  return out += colour.plain;
}

std::string gps_motion(const GpsView& gps, const Palette& colour) {
  std::string out;
  if (gps.speed_mps) out += fmt::format("{:<15}", fmt::format("{:.2f} m/s", *gps.speed_mps));
  if (gps.course_deg) {
    out += fmt::format("{:<15}", fmt::format("{} {:.0f}°", arrow(*gps.course_deg), *gps.course_deg));
  }
  if (gps.time_of_day_ms) {
    const int seconds = *gps.time_of_day_ms / 1000;
    out += fmt::format("{:02}:{:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60, seconds % 60);
  }
  out += fmt::format("{}   {} lines", colour.quiet, gps.sentences);
  if (gps.refused > 0) out += fmt::format(", {} bad", gps.refused);
  return out += colour.plain;
}

std::string camera_text(const CameraView& camera, const Palette& colour) {
  if (camera.pictures == 0) return fmt::format("{}no picture yet{}", colour.notable, colour.plain);
  return fmt::format("{:<15}{:<15}{}{} each, {} pictures{}", fmt::format("{:.1f} fps", camera.pictures_per_s),
                     fmt::format("{} × {}", camera.width, camera.height), colour.quiet,
                     bytes_text(camera.last_bytes), camera.pictures, colour.plain);
}

std::string health_text(const HealthView& health, const Palette& colour) {
  std::string out;
  if (health.cpu_percent) {
    const std::string_view shade = *health.cpu_percent < 85 ? colour.good : colour.notable;
    out += fmt::format("cpu {}{}{} {:>3.0f} %   ", shade, bar(*health.cpu_percent / 100, 8), colour.plain,
                       *health.cpu_percent);
  }
  if (health.memory_total_bytes > 0) {
    const double part =
        static_cast<double>(health.memory_used_bytes) / static_cast<double>(health.memory_total_bytes);
    const std::string_view shade = part < 0.9 ? colour.good : colour.notable;
    out += fmt::format("memory {}{}{} {} {}of {}{}", shade, bar(part, 8), colour.plain,
                       bytes_text(health.memory_used_bytes), colour.quiet,
                       bytes_text(health.memory_total_bytes), colour.plain);
  }
  if (health.temperature_c) out += fmt::format("   {:.0f} °C", *health.temperature_c);
  return out;
}

std::string command_text(const DriveView& drive, const Palette& colour) {
  if (drive.command.empty()) {
    const std::string where =
        drive.command_address.empty() ? "" : fmt::format("; UDP {}", harmless(drive.command_address, 40));
    return fmt::format("{}none yet{}{}", colour.quiet, where, colour.plain);
  }
  return fmt::format("{}   {}{:.0f} s ago{}", harmless(drive.command, 40), colour.quiet, drive.command_age_s,
                     colour.plain);
}

std::string node_line(const NodeView& node, const Palette& colour, size_t bars_width) {
  const std::string missed =
      node.rate_hz <= 0
          ? fmt::format("{}{:>8}{}", colour.quiet, "–", colour.plain)
          : fmt::format("{}{:>8}{}", node.missed == 0 ? "" : colour.wrong, node.missed, colour.plain);
  return fmt::format("  {:<11}{:>8}{:>10}{}{:>10}   {}", harmless(node.name, 10), rate_text(node.rate_hz),
                     node.ticks, missed, node.lateness_p99_ns ? duration_text(*node.lateness_p99_ns) : "–",
                     bars(node.lateness_ns, bars_width, colour));
}

// Columns of a text: control sequences take none, every code point takes one.
size_t width_of(std::string_view text) {
  size_t width = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      i = std::min(text.find('m', i), text.size() - 1);
    } else if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) {
      ++width;
    }
  }
  return width;
}

constexpr size_t kLabelled = 13;  // where the text after a label begins

// What is too wide goes on below, rather than out of sight: it breaks where two spaces part one value from the next, and
// takes its colour with it.
void append_labelled(std::vector<std::string>& lines, std::string_view label, std::string_view text,
                     const Palette& colour, size_t columns) {
  if (text.empty()) return;
  std::string line = fmt::format("  {}{:<11}{}", colour.quiet, label, colour.plain);
  std::string shade;
  size_t used = kLabelled;
  while (!text.empty()) {
    const size_t gap = text.find("  ");
    const size_t next = gap == std::string_view::npos ? text.size() : text.find_first_not_of(' ', gap);
    const std::string_view value = text.substr(0, gap);
    const size_t width = width_of(value);
    if (used > kLabelled && used + width > columns) {
      lines.push_back(std::move(line));
      line = std::string(kLabelled, ' ') + shade;
      used = kLabelled;
    }
    line += value;
    if (const size_t last = value.rfind('\x1b'); last != std::string_view::npos)
      shade = value.substr(last, value.find('m', last) - last + 1);
    if (next >= text.size()) break;
    used += width + next - gap;
    line.append(next - gap, ' ');
    text.remove_prefix(next);
  }
  lines.push_back(line + std::string(colour.plain));
}

}  // namespace

std::string duration_text(uint64_t ns) {
  constexpr std::array<std::pair<double, std::string_view>, 4> kUnits{
      {{1, "ns"}, {1e3, "µs"}, {1e6, "ms"}, {1e9, "s"}}};
  const auto value = static_cast<double>(ns);
  for (const auto& [scale, unit] : kUnits) {
    const double scaled = value / scale;
    if (scale > 1 && scaled < 9.95) return fmt::format("{:.1f} {}", scaled, unit);
    if (scaled < 999.5 || scale == 1e9) return fmt::format("{:.0f} {}", scaled, unit);
  }
  return {};
}

std::string bytes_text(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  constexpr std::array<std::string_view, 6> kUnits{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double scaled = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (scaled >= 1023.5 && unit + 1 < kUnits.size()) {
    scaled /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", scaled, scaled < 9.95 ? 1 : 0, kUnits[unit]);
}

std::optional<Percentiles> percentiles_of(const horus::Histogram& histogram) {
  if (histogram.empty()) return std::nullopt;
  return Percentiles{histogram.percentile(50), histogram.percentile(99), histogram.max()};
}

std::string_view open_screen() noexcept { return "\x1b[?1049h\x1b[?25l\x1b[2J"; }
std::string_view close_screen() noexcept { return "\x1b[0m\x1b[?25h\x1b[?1049l"; }

std::string live_frame(const RoverView& view, const Screen& screen) {
  const Palette& colour = screen.colours ? kColours : kNoColours;
  const auto columns = static_cast<size_t>(std::max(screen.columns, 1));
  const auto rows = static_cast<size_t>(std::max(screen.rows, 2)) - 1;  // the last row would scroll
  std::vector<std::string> lines;

  const std::string title = fmt::format("Rover on Horus, {}", view.how);
  std::string time = clock_text(view.elapsed_s);
  if (view.length_s > 0) {
    // In a narrow terminal the bar goes first.
    const std::string whole = fmt::format("{} of {}", time, clock_text(view.length_s));
    if (2 + title.size() + 1 + whole.size() <= columns) time = whole;
    if (2 + title.size() + 1 + whole.size() + 2 + 16 <= columns)
      time += fmt::format("  {}{}{}", colour.good, bar(view.elapsed_s / view.length_s, 16), colour.plain);
  }
  const size_t used = 2 + title.size() + width_of(time) + 2;
  lines.push_back(fmt::format("  {}{}{}{:{}}{}", colour.strong, title, colour.plain, "",
                              used < columns ? columns - used : 1, time));
  lines.emplace_back();

  std::vector<std::string> details;
  const auto append = [&](std::string_view label, const std::string& text) {
    append_labelled(details, label, text, colour, columns);
  };
  append("position", gps_position(view.gps, colour));
  append("motion", gps_motion(view.gps, colour));
  append("camera", camera_text(view.camera, colour));
  append("machine", health_text(view.health, colour));
  append("command", command_text(view.drive, colour));
  append("drive",
         fmt::format("{:<15}{}", fmt::format("{:.2f} m/s", view.drive.speed_mps),
                     fmt::format("{} {:.0f}°", arrow(view.drive.heading_deg), view.drive.heading_deg)));
  append("log", fmt::format("{:<15}{}{}{}", bytes_text(view.log.bytes), colour.quiet,
                            harmless(view.log.path, 50), colour.plain));
  for (const std::string& notice : view.notices) {
    append(&notice == view.notices.data() ? "notice" : "",
           fmt::format("{}{}{}", colour.notable, harmless(notice, 200), colour.plain));
  }

  lines.push_back(fmt::format("  {}{:<11}{:>8}{:>10}{:>8}{:>10}   {}{}", colour.quiet, "node", "rate",
                              "ticks", "missed", "late p99", "lateness, ▁ 60 µs to █ 5 ms", colour.plain));
  constexpr size_t kBarsFrom = 52;
  const size_t bars_width = std::min<size_t>(columns > kBarsFrom ? columns - kBarsFrom - 1 : 0, 60);
  const size_t fixed = lines.size() + 1 + details.size();
  const size_t room = rows > fixed ? rows - fixed : 1;
  const size_t shown = view.nodes.size() <= room ? view.nodes.size() : room - 1;
  for (size_t i = 0; i < shown; ++i) lines.push_back(node_line(view.nodes[i], colour, bars_width));
  if (shown < view.nodes.size()) {
    lines.push_back(fmt::format("  {}and {} more{}", colour.quiet, view.nodes.size() - shown, colour.plain));
  }
  lines.emplace_back();
  std::move(details.begin(), details.end(), std::back_inserter(lines));
  if (lines.size() > rows) lines.resize(rows);

  std::string frame = "\x1b[H";
  for (const std::string& line : lines) {
    frame += cut(line, screen.columns);
    frame += kEraseToEndOfLine;
    frame += "\r\n";
  }
  frame += "\x1b[J";
  return frame;
}

std::string plain_line(const RoverView& view) {
  std::string line = fmt::format("{:>8}", clock_text(view.elapsed_s));
  for (const NodeView& node : view.nodes) {
    if (node.rate_hz <= 0) continue;
    line += fmt::format("  {} {} ticks, {} missed", harmless(node.name, 16), node.ticks, node.missed);
    if (node.lateness_p99_ns) line += fmt::format(", late p99 {}", duration_text(*node.lateness_p99_ns));
    line += ';';
    break;  // the first periodic node is the one that matters most; the table at the end has them all
  }
  if (view.gps.latitude_deg && view.gps.longitude_deg) {
    line += fmt::format("  gps {:.5f} {:.5f}", *view.gps.latitude_deg, *view.gps.longitude_deg);
    if (view.gps.speed_mps) line += fmt::format(" {:.2f} m/s", *view.gps.speed_mps);
  } else {
    line += view.gps.connected ? "  gps no fix" : "  gps waiting";
  }
  line += fmt::format(";  camera {:.1f}/s", view.camera.pictures_per_s);
  if (view.health.cpu_percent) line += fmt::format(";  cpu {:.0f} %", *view.health.cpu_percent);
  line += fmt::format(";  log {}\n", bytes_text(view.log.bytes));
  return line;
}

std::string table(std::string_view title, const std::vector<TableRow>& rows, bool colours) {
  const Palette& colour = colours ? kColours : kNoColours;
  std::string out;
  if (!title.empty()) out += fmt::format("{}{}{}\n\n", colour.strong, title, colour.plain);
  out += fmt::format("{}{:<10}{:>7}{:>9}{:>10}{:>14}{:>10}{:>10}{:>9}{}\n", colour.quiet, "node", "rate",
                     "ticks", "kept", "lateness", "execution", "suspended", "response", colour.plain);
  const auto cell = [](const std::optional<Percentiles>& values, uint64_t Percentiles::* which) {
    return values ? duration_text((*values).*which) : std::string("–");
  };
  for (const TableRow& row : rows) {
    std::string kept = fmt::format("{:>10}", "–");
    if (const uint64_t releases = row.ticks + row.missed; row.rate_hz > 0 && releases > 0) {
      // Rounded down: 100 % is said only when nothing was missed.
      const double percent =
          std::floor(1e4 * static_cast<double>(row.ticks) / static_cast<double>(releases)) / 100;
      const std::string_view shade = row.missed == 0   ? colour.good
                                     : percent >= 99.9 ? colour.notable
                                                       : colour.wrong;
      kept = fmt::format("{}{:>8.2f} %{}", shade, percent, colour.plain);
    }
    const std::pair<std::string_view, uint64_t Percentiles::*> kinds[] = {
        {"p50", &Percentiles::p50_ns}, {"p99", &Percentiles::p99_ns}, {"max", &Percentiles::max_ns}};
    for (const auto& [name, which] : kinds) {
      if (which == &Percentiles::p50_ns) {
        out += fmt::format("{}{:<10}{}{:>7}{:>9}{}", colour.strong, harmless(row.name, 9), colour.plain,
                           rate_text(row.rate_hz), row.ticks, kept);
      } else if (which == &Percentiles::p99_ns && row.missed > 0) {
        out += fmt::format("{:<26}{}{:>10}{}", "", colour.quiet, fmt::format("{} missed", row.missed),
                           colour.plain);
      } else {
        out += fmt::format("{:36}", "");
      }
      out += fmt::format("  {}{}{}{:>9}{:>10}{:>10}{:>9}\n", colour.quiet, name, colour.plain,
                         cell(row.release_lateness, which), cell(row.execution, which),
                         cell(row.suspended, which), cell(row.response, which));
    }
  }
  return out;
}

std::string comparison(const std::vector<ComparisonRow>& rows, bool colours) {
  const Palette& colour = colours ? kColours : kNoColours;
  std::string out = fmt::format("{}{:<10}{:<16}{:>10}  {:>13}{:>9}{:>9}{:>6}{}\n", colour.quiet, "", "",
                                "in time", "ticks", "late p99", "threads", "cpu", colour.plain);
  for (const ComparisonRow& row : rows) {
    const double part =
        row.releases > 0 ? static_cast<double>(row.in_time) / static_cast<double>(row.releases) : 0;
    const std::string_view shade = part >= 0.999 ? colour.good : part >= 0.95 ? colour.notable : colour.wrong;
    out += fmt::format("{}{:<10}{}{}{}{}{:>10.2f} %{:>13}{:>9}{:>9}{:>4.1f} %\n", colour.strong,
                       harmless(row.name, 9), colour.plain, shade, bar(part, 16), colour.plain,
                       std::floor(part * 1e4) / 100, fmt::format("{} of {}", row.in_time, row.releases),
                       row.lateness_p99_ns ? duration_text(*row.lateness_p99_ns) : "–", row.threads,
                       row.cpu_percent);
  }
  return out;
}

}  // namespace rover
