// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/world/timeline.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>

#include <fmt/format.h>

namespace horus::HORUS_ABI::sim {
namespace {

constexpr double kLeft = 150;
constexpr double kWidth = 960;
constexpr double kLane = 34;
constexpr double kFaultRow = 20;

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      default: out += c;
    }
  }
  return out;
}

}  // namespace

void Timeline::grow() {
  step_ns_ *= 2;
  for (auto& [name, steps] : lanes_) {
    for (std::size_t i = 0; i < steps.size(); i += 2)
      steps[i / 2] = steps[i] + (i + 1 < steps.size() ? steps[i + 1] : 0);
    steps.resize((steps.size() + 1) / 2);
  }
}

void Timeline::active(const std::string& lane, std::int64_t time_ns) {
  while (static_cast<std::size_t>(time_ns / step_ns_) >= kSteps) grow();
  auto& steps = lanes_[lane];
  const auto at = static_cast<std::size_t>(time_ns / step_ns_);
  if (steps.size() <= at) steps.resize(at + 1);
  ++steps[at];
}

void Timeline::fault(std::string what, std::int64_t from_ns, std::int64_t to_ns) {
  if (faults_.size() < kFaultsKept) faults_.push_back({std::move(what), from_ns, to_ns});
}

bool Timeline::write(const std::string& path, Duration length, const std::string& caption) const {
  const double total = std::max(1.0, static_cast<double>(length.count()));
  const auto x = [&](std::int64_t time) {
    return kLeft + kWidth * std::clamp(static_cast<double>(time) / total, 0.0, 1.0);
  };
  const double lanes_top = 40 + kFaultRow * static_cast<double>(faults_.size()) + 16;
  const double bottom = lanes_top + kLane * static_cast<double>(lanes_.size());
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" font-family=\"DejaVu Sans, "
      "sans-serif\" "
      "font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
      kLeft + kWidth + 40, bottom + 60);
  out += fmt::format("<text x=\"16\" y=\"22\" font-size=\"14\" fill=\"#1f2937\">{}</text>\n",
                     escaped(caption.substr(0, std::min(caption.find('\n'), std::size_t{130}))));
  double y = 40;
  for (const Fault& one : faults_) {
    const double from = x(one.from);
    const double width = std::max(3.0, x(one.to) - from);
    out +=
        fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"#fde3d3\"/>\n",
                    from, lanes_top, width, bottom - lanes_top);
    out += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"12\" fill=\"#d9662b\"/>\n",
                       from, y, width);
    const bool right = from + width > kLeft + kWidth * 0.7;
    out +=
        fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" fill=\"#8a3d14\" text-anchor=\"{}\">{}</text>\n",
                    right ? from - 6 : from + width + 6, y + 10, right ? "end" : "start", escaped(one.what));
    y += kFaultRow;
  }
  y = lanes_top;
  for (const auto& [name, steps] : lanes_) {
    std::uint32_t most = 1;
    for (const std::uint32_t turns : steps) most = std::max(most, turns);
    out += fmt::format("<text x=\"{}\" y=\"{:.1f}\" fill=\"#1f2937\" text-anchor=\"end\">{}</text>\n",
                       kLeft - 10, y + kLane - 10, escaped(name));
    out += fmt::format("<path fill=\"#2f6db5\" d=\"");
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (steps[i] == 0) continue;
      const double from = x(static_cast<std::int64_t>(i) * step_ns_);
      const double to = x(static_cast<std::int64_t>(i + 1) * step_ns_);
      const double height = 4 + (kLane - 12) * std::sqrt(static_cast<double>(steps[i]) / most);
      out += fmt::format("M{:.1f} {:.1f}h{:.2f}v-{:.1f}h-{:.2f}z", from, y + kLane - 4, to - from, height,
                         to - from);
    }
    out += "\"/>\n";
    out += fmt::format("<path stroke=\"#d1d5db\" d=\"M{} {:.1f}h{}\"/>\n", kLeft, y + kLane - 4, kWidth);
    y += kLane;
  }
  // Marks at 1, 2 or 5 times a power of ten, at most ten of them.
  double mark = 1e-6;
  for (int i = 0; total / 1e9 / mark > 10; ++i) mark *= i % 3 == 1 ? 2.5 : 2;
  for (double at = 0; at <= total / 1e9; at += mark) {
    out += fmt::format(
        "<text x=\"{:.1f}\" y=\"{:.1f}\" fill=\"#6b7280\" text-anchor=\"middle\">{:.6g} s</text>\n",
        kLeft + kWidth * at * 1e9 / total, bottom + 18, at);
  }
  if (failed_ >= 0) {
    out += fmt::format("<path stroke=\"#b91c1c\" stroke-width=\"2\" d=\"M{0:.1f} {1:.1f}V{2:.1f}\"/>\n",
                       x(failed_), lanes_top - 12, bottom);
    out +=
        fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" fill=\"#b91c1c\" text-anchor=\"middle\">failed</text>\n",
                    x(failed_), bottom + 36);
  }
  out += "</svg>\n";
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << out;
  file.close();
  return file.good();
}

}  // namespace horus::HORUS_ABI::sim
