// SPDX-License-Identifier: Apache-2.0
#include "orders.hpp"

#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace rover {

namespace {

std::string_view trimmed(std::string_view text) noexcept {
  constexpr std::string_view kWhite = " \t\r\n";
  const size_t first = text.find_first_not_of(kWhite);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kWhite) - first + 1);
}

std::optional<double> number(std::string_view text, double least, double most) noexcept {
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= least && value <= most))
    return {};
  return value;
}

constexpr std::string_view kKnown = "speed, heading, route, stop, go, status";

std::string status(const World& world) {
  return fmt::format("ok {:.2f} m/s, heading {:.0f}, {:.1f} m driven, {} waypoints, {} pictures",
                     world.drive.speed_mps, world.drive.heading_deg, world.drive.distance_m,
                     world.drive.waypoints_reached, world.camera.pictures);
}

std::string carry_out(World& world, std::string_view command) {
  Orders& orders = world.orders;
  const size_t space = command.find_first_of(" \t");
  const std::string_view verb = command.substr(0, space);
  const std::string_view rest = space == std::string_view::npos ? "" : trimmed(command.substr(space));

  if (verb == "speed" || verb == "heading") {
    const bool speed = verb == "speed";
    const auto value = number(rest, 0, speed ? kFastest_mps : 360);
    if (!value) {
      return speed ? fmt::format("error speed needs a number from 0 to {} (m/s)", kFastest_mps)
                   : std::string("error heading needs a number from 0 to 360 (degrees, 0 is north)");
    }
    if (speed) {
      orders.speed_mps = *value;
    } else {
      orders.heading_deg = *value;
    }
    return speed ? fmt::format("ok speed {:g} m/s", *value) : fmt::format("ok heading {:g}", *value);
  }
  if (!rest.empty()) return fmt::format("error one of: {}", kKnown);
  if (verb == "stop") {
    orders.stopped = true;
    return "ok stopping";
  }
  if (verb == "go") {
    orders.stopped = false;
    return "ok going";
  }
  if (verb == "route") {
    orders.heading_deg.reset();
    return "ok following the waypoints";
  }
  if (verb == "status") return status(world);
  return fmt::format("error one of: {}", kKnown);
}

}  // namespace

std::string obey(World& world, std::string_view command, int64_t now_ns) {
  if (command.size() > kLongestCommand) {
    ++world.orders.refused;
    return fmt::format("error longer than {} bytes", kLongestCommand);
  }
  command = trimmed(command);
  std::string answer = carry_out(world, command);
  if (answer.starts_with("ok")) {
    world.orders.last = command;
    world.orders.received_ns = now_ns;
  } else {
    ++world.orders.refused;
  }
  return answer;
}

}  // namespace rover
