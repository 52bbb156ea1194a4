// SPDX-License-Identifier: Apache-2.0
#include "options.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "faults.hpp"

namespace rover {

namespace {

constexpr double kMostSeconds = 7 * 24 * 3600;
constexpr double kMostCompareSeconds = 4;

constexpr std::string_view kHelp =
    R"(rover: drives along a route beside a slow camera, a GPS receiver, a log and UDP commands,
on one thread.

usage: rover [OPTIONS]

  --seconds N            length of the whole program, comparison included; default 20; 0: until Ctrl-C
  --no-view              a plain line per second instead of the live view
  --no-compare           leave the comparison with the old ways out (it takes a fifth of the time, at most
                         4 s, for each; there is none with --seconds 0 or after Ctrl-C)
  --no-realtime          keep to ordinary priority; without this the loop's thread gets SCHED_FIFO where
                         that is permitted (root, or ulimit -r), in all three ways alike
  --faults               a drive of 6 to 60 s during which the camera dies, a node throws, the GPS falls silent
                         and a node spins: each is noticed, contained and healed; without the comparison
  --blocking             drive the old way: each tick reads the camera and waits for the picture
  --threads              drive the other old way: a thread for each input and output, and locks

  --camera-command CMD   a program, run by sh -c, that writes binary PPM pictures (P6) to its output:
                         "ffmpeg -loglevel error -i /dev/video0 -f image2pipe -c:v ppm -"
                         default: rover_camera beside this program, a picture every 50 ms
  --nmea HOST:PORT       a GPS receiver that speaks NMEA 0183 over TCP (gpsd's port 2947 does not)
  --nmea-file FILE       a receiver's log, played at its own pace again and again
                         default: a receiver of our own that tells where the simulated rover is
  --command-port N       UDP port for commands on 127.0.0.1; default: the kernel chooses
                         speed 1.2 | heading 90 | route | stop | go | status
  --share NAME           the hub that rover_watch finds the pictures on; default: rover
  --no-share             keep the pictures to ourselves
  --log FILE             default: rover.log in $TMPDIR or /tmp
  --record FILE          record the drive's messages; the file must not exist (horus bag info FILE, Foxglove)
  --record-exactly FILE  record all that the kernel tells the program; without the live view and the comparison
  --replay-exactly FILE  drive such a recording again: no camera, no network, no waiting (docs/replay.md)
  --timeline FILE        a picture of the drive, an HTML page; with --faults by default rover.html beside
                         the log

Exit code: 0 when the drive went through; 1 when a part could not start or failed for good (camera
program missing, port taken, nothing but refusals from the log's disk) or a fault was not overcome; 2 for a
wrong command line. A
missing GPS receiver or a camera that dies now and then is life, not a failure.
HORUS_IO=uring|epoll chooses the backend.
)";

std::optional<double> number(std::string_view text, double least, double most) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= least && value <= most))
    return {};
  return value;
}

Farewell mistake(std::string_view what) {
  return {fmt::format("rover: {} (rover --help tells what there is)\n", what), 2};
}

}  // namespace

std::string_view name_of(Way way) noexcept {
  switch (way) {
    case Way::kHorus: return "Horus";
    case Way::kBlocking: return "blocking";
    case Way::kThreads: return "threads";
  }
  return "";
}

double Options::compare_seconds() const noexcept {
  return compare && !faults && way == Way::kHorus && seconds > 0 ? std::min(seconds / 5, kMostCompareSeconds)
                                                                 : 0;
}

double Options::drive_seconds() const noexcept { return seconds - 2 * compare_seconds(); }

std::variant<Options, Farewell> parse_options(std::span<const char* const> arguments) {
  Options options;
  options.share = "rover";
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    const size_t equals = argument.find('=');
    const std::string_view name = argument.substr(0, equals);
    std::optional<std::string_view> attached;
    if (equals != std::string_view::npos) attached = argument.substr(equals + 1);

    if (name == "--help" || name == "-h") return Farewell{std::string(kHelp), 0};
    bool known = true;
    if (name == "--no-view") {
      options.view = false;
    } else if (name == "--no-compare") {
      options.compare = false;
    } else if (name == "--compare") {
      options.compare = true;
    } else if (name == "--faults") {
      options.faults = true;
    } else if (name == "--no-realtime") {
      options.realtime = false;
    } else if (name == "--no-share") {
      options.share.clear();
    } else if (name == "--blocking") {
      options.way = Way::kBlocking;
    } else if (name == "--threads") {
      options.way = Way::kThreads;
    } else {
      known = false;
    }
    if (known) {
      if (attached) return mistake(fmt::format("{} takes no value", name));
      continue;
    }

    std::string* text = name == "--camera-command"   ? &options.camera_command
                        : name == "--nmea"           ? &options.nmea_address
                        : name == "--nmea-file"      ? &options.nmea_file
                        : name == "--share"          ? &options.share
                        : name == "--log"            ? &options.log_path
                        : name == "--timeline"       ? &options.timeline_path
                        : name == "--record"         ? &options.record_path
                        : name == "--record-exactly" ? &options.record_exactly_path
                        : name == "--replay-exactly" ? &options.replay_exactly_path
                                                     : nullptr;
    if (text == nullptr && name != "--seconds" && name != "--command-port") {
      return mistake(fmt::format("unknown option {}", argument));
    }
    if (!attached && i + 1 == arguments.size()) return mistake(fmt::format("{} needs a value", name));
    const std::string_view value = attached ? *attached : arguments[++i];
    if (text != nullptr) {
      if (value.empty()) return mistake(fmt::format("{} needs a value", name));
      *text = value;
    } else if (name == "--seconds") {
      const auto seconds = number(value, 0, kMostSeconds);
      if (!seconds)
        return mistake(fmt::format("--seconds {}: not a number from 0 to {}", value, kMostSeconds));
      options.seconds = *seconds;
    } else {
      const auto port = number(value, 0, 65535);
      if (!port || *port != static_cast<uint16_t>(*port)) {
        return mistake(fmt::format("--command-port {}: not a port", value));
      }
      options.command_port = static_cast<uint16_t>(*port);
    }
  }
  if (!options.nmea_address.empty() && !options.nmea_file.empty()) {
    return mistake("--nmea and --nmea-file are two sources; give one of them");
  }
  if (options.faults) {
    if (options.way != Way::kHorus) return mistake("--faults is for the drive with Horus");
    if (!options.nmea_address.empty() || !options.nmea_file.empty())
      return mistake("--faults silences a receiver of our own; leave --nmea and --nmea-file out");
    if (options.seconds < kLeastFaultSeconds || options.seconds > kMostFaultSeconds)
      return mistake(
          fmt::format("--faults goes with --seconds {} to {}", kLeastFaultSeconds, kMostFaultSeconds));
  }
  if (!options.record_exactly_path.empty()) {
    if (options.way != Way::kHorus)
      return mistake("--record-exactly is for the drive with Horus: the old ways read round it");
    options.compare = options.view = false;
  }
  return options;
}

}  // namespace rover
