// SPDX-License-Identifier: Apache-2.0
#include "dashboard.hpp"

#include <algorithm>

#include <horus/io/reactor.hpp>

namespace rover {

namespace {

constexpr size_t kMoments = 60;  // of lateness that are kept for the bars
constexpr int64_t kNoticeFor_ns = 15'000'000'000;

void sort_for_people(std::vector<horus::NodeStatistics>& nodes) {
  std::sort(nodes.begin(), nodes.end(), [](const auto& one, const auto& other) {
    return one.priority != other.priority ? one.priority < other.priority : one.name < other.name;
  });
}

}  // namespace

uint64_t missed_of(const horus::NodeStatistics& node) noexcept {
  if (node.rate_hz == 0) return 0;
  const uint64_t settled = node.ticks_skipped + node.successful_ticks + node.failed_ticks;
  return settled - std::min(node.on_time_ticks, settled);
}

Dashboard::Dashboard(const World& world, const LiveScreen* screen, std::string how, double length_s)
    : world_(world), screen_(screen), how_(std::move(how)), length_s_(length_s) {}

RoverView Dashboard::look(const std::vector<horus::NodeStatistics>& nodes, int64_t now_ns) {
  RoverView view;
  view.how = how_;
  view.elapsed_s = static_cast<double>(now_ns - started_ns_) * 1e-9;
  view.length_s = length_s_;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const horus::NodeStatistics& node = nodes[i];
    NodeView& shown = view.nodes.emplace_back();
    shown.name = node.name;
    shown.rate_hz = node.rate_hz;
    shown.ticks = node.rate_hz > 0 ? node.total_ticks : node.successful_ticks;
    shown.missed = missed_of(node);
    if (node.rate_hz > 0 && !node.release_lateness.empty()) {
      shown.lateness_p99_ns = node.release_lateness.percentile(99);
      shown.lateness_ns = lateness_[i].worst;
    }
  }
  const Gps& gps = world_.gps;
  view.gps.connected = gps.connected;
  view.gps.source = gps.source;
  view.gps.latitude_deg = gps.fix.latitude_deg;
  view.gps.longitude_deg = gps.fix.longitude_deg;
  view.gps.speed_mps = gps.fix.speed_mps;
  view.gps.course_deg = gps.fix.course_deg;
  view.gps.altitude_m = gps.fix.altitude_msl_m;
  view.gps.time_of_day_ms = gps.fix.time_of_day_ms;
  view.gps.satellites = gps.fix.satellites;
  view.gps.mode = gps.fix.mode;
  view.gps.sentences = gps.sentences;
  view.gps.refused = gps.refused;
  const Camera& camera = world_.camera;
  const bool fresh = now_ns - camera.last_ns < 1'000'000'000;
  view.camera = {camera.width, camera.height, fresh ? camera.pictures_per_s : 0, camera.pictures,
                 camera.last_bytes};
  view.health = {world_.health.cpu_percent, world_.health.memory_used_bytes, world_.health.memory_total_bytes,
                 world_.health.temperature_c};
  view.drive.speed_mps = world_.drive.speed_mps;
  view.drive.heading_deg = world_.drive.heading_deg;
  view.drive.command = world_.orders.last;
  view.drive.command_age_s = static_cast<double>(now_ns - world_.orders.received_ns) * 1e-9;
  view.drive.command_address = world_.command_address;
  view.log = {world_.log.path, world_.log.bytes, world_.log.records};
  if (screen_ != nullptr) view.notices = screen_->latest_notices(now_ns - kNoticeFor_ns);
  return view;
}

std::string Dashboard::next(const horus::Scheduler& scheduler) {
  const int64_t now = horus::now_ns();
  if (started_ns_ == 0) started_ns_ = now;
  const bool live = screen_ != nullptr && LiveScreen::shown();
  if (!live) {
    const auto seconds = static_cast<uint64_t>((now - started_ns_) / 1'000'000'000);
    if (seconds <= lines_) return {};
    lines_ = seconds;
  }
  std::vector<horus::NodeStatistics> nodes = scheduler.statistics();
  sort_for_people(nodes);
  lateness_.resize(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    Lateness& lateness = lateness_[i];
    lateness.worst.push_back(nodes[i].release_lateness.max_since(lateness.before));
    if (lateness.worst.size() > kMoments) lateness.worst.erase(lateness.worst.begin());
  }
  const RoverView view = look(nodes, now);
  for (size_t i = 0; i < nodes.size(); ++i) lateness_[i].before = std::move(nodes[i].release_lateness);
  return live ? live_frame(view, LiveScreen::size()) : plain_line(view);
}

std::vector<TableRow> table_rows(std::vector<horus::NodeStatistics> nodes) {
  sort_for_people(nodes);
  std::vector<TableRow> rows;
  for (const horus::NodeStatistics& node : nodes) {
    TableRow& row = rows.emplace_back();
    row.name = node.name;
    row.rate_hz = node.rate_hz;
    row.ticks = node.rate_hz > 0 ? node.on_time_ticks : node.successful_ticks;
    row.missed = missed_of(node);
    if (node.successful_ticks + node.failed_ticks == 0)
      continue;  // its only tick was the one that the end cut short
    if (node.rate_hz > 0) row.release_lateness = percentiles_of(node.release_lateness);
    row.execution = percentiles_of(node.execution);
    row.suspended = percentiles_of(node.suspended);
    row.response = percentiles_of(node.response);
  }
  return rows;
}

}  // namespace rover
