// SPDX-License-Identifier: Apache-2.0
// rover_camera: a stand-in for a camera. Writes binary PPM pictures (P6) of a drive along a road to its standard
// output, one per interval, until nobody reads any more. A program of its own; it knows nothing of Horus.
//
//   rover_camera [--interval-ms 50] [--frames N] [--width 320] [--height 240]

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

namespace {

struct Options {
  int interval_ms = 50;
  int frames = 0;  // 0: for ever
  int width = 320;
  int height = 240;
};

struct Colour {
  double red, green, blue;  // 0 to 255
};

Colour mix(const Colour& a, const Colour& b, double part) {
  return {a.red + (b.red - a.red) * part, a.green + (b.green - a.green) * part,
          a.blue + (b.blue - a.blue) * part};
}

// A road that bends, hills at the horizon, and a box on the road that the rover comes up to again and again.
class Scene {
 public:
  explicit Scene(double seconds)
      : travelled_m_(seconds * kSpeed_mps),
        bend_(0.9 * std::sin(seconds * 0.23)),
        box_m_(kBoxEvery_m - std::fmod(travelled_m_, kBoxEvery_m)) {}

  // x from -1 (left) to 1 (right), y from 0 (top) to 1 (bottom); `texel` is the picture's height of a pixel.
  Colour at(double x, double y) const {
    Colour colour = y < kHorizon ? above(x, y) : below(x, y);
    if (double shade = 0; on_box(x, y, shade)) colour = {196 * shade, 84 * shade, 42 * shade};
    return colour;
  }

 private:
  static constexpr double kHorizon = 0.42;
  static constexpr double kEyeHeight_m = 1.1;
  static constexpr double kSpeed_mps = 3.0;
  static constexpr double kBoxEvery_m = 24.0;
  static constexpr double kRoadHalfWidth_m = 2.0;
  static constexpr double kFog_m = 60.0;

  static double distance_m(double y) { return kEyeHeight_m / std::max(y - kHorizon, 1e-4); }
  // Where the middle of the road lies at a distance, in metres to the right of straight ahead.
  double middle_m(double distance) const { return bend_ * distance * distance / 90.0; }

  Colour above(double x, double y) const {
    if (y < kHorizon - 0.1) return mix({86, 142, 204}, {206, 222, 232}, y / kHorizon);
    const double heading = x + bend_ * 0.6;
    const double hills =
        kHorizon - 0.05 - 0.025 * std::sin(heading * 5.1) - 0.015 * std::sin(heading * 11.7 + 1);
    if (y > hills) return mix({96, 118, 134}, {128, 146, 150}, (y - hills) / (kHorizon - hills));
    return mix({86, 142, 204}, {206, 222, 232}, y / kHorizon);
  }

  Colour below(double x, double y) const {
    const double distance = distance_m(y);
    const double across = x * distance - middle_m(distance);  // metres from the middle of the road
    const double along = distance + travelled_m_;
    const double grain =
        5 *
        (std::fmod(std::abs(std::floor(along * 7) * 12.9898 + std::floor(across * 9) * 78.233), 1.7) - 0.85);
    Colour ground;
    if (std::abs(across) > kRoadHalfWidth_m + 0.35) {
      ground = std::fmod(along, 6.0) < 3.0 ? Colour{92, 128, 66} : Colour{82, 117, 59};
    } else if (std::abs(across) > kRoadHalfWidth_m) {
      ground = {150, 138, 112};
    } else if (std::abs(std::abs(across) - (kRoadHalfWidth_m - 0.18)) < 0.06) {
      ground = {224, 222, 212};
    } else if (std::abs(across) < 0.07 && std::fmod(along, 4.0) < 2.2) {
      ground = {236, 206, 96};
    } else {
      ground = {84, 84, 88};
    }
    ground = {ground.red + grain, ground.green + grain, ground.blue + grain};
    return mix(ground, {176, 190, 194}, std::clamp(distance / kFog_m, 0.0, 1.0));
  }

  // A cardboard box, 0.9 m wide and 0.8 m high, a little to the right of the middle.
  bool on_box(double x, double y, double& shade) const {
    const double distance = std::max(box_m_, 1.2);
    const double ground_y = kHorizon + kEyeHeight_m / distance;
    const double left = (middle_m(distance) + 0.25) / distance;
    const double right = left + 0.9 / distance;
    const double top = ground_y - 0.8 / distance;
    if (x < left || x > right || y < top || y > ground_y) return false;
    const double u = (x - left) / (right - left), v = (y - top) / (ground_y - top);
    shade = std::abs(u - 0.5) < 0.07 ? 1.25 : 1.0 - 0.25 * v;  // a strip of tape; darker towards the ground
    if (u < 0.03 || u > 0.97 || v < 0.04 || v > 0.97) shade *= 0.6;
    return true;
  }

  double travelled_m_;
  double bend_;
  double box_m_;
};

void draw(double seconds, const Options& options, uint8_t* pixels) {
  const Scene scene(seconds);
  const double scale = 2.0 / options.width;
  for (int row = 0; row < options.height; ++row) {
    const double y = (row + 0.5) / options.height;
    for (int column = 0; column < options.width; ++column) {
      const Colour colour = scene.at((column + 0.5) * scale - 1, y);
      *pixels++ = static_cast<uint8_t>(std::clamp(colour.red, 0.0, 255.0));
      *pixels++ = static_cast<uint8_t>(std::clamp(colour.green, 0.0, 255.0));
      *pixels++ = static_cast<uint8_t>(std::clamp(colour.blue, 0.0, 255.0));
    }
  }
}

// False when nobody reads any more.
bool write_all(const std::vector<char>& bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::write(STDOUT_FILENO, bytes.data() + done, bytes.size() - done);
    if (count > 0) {
      done += static_cast<size_t>(count);
    } else if (errno != EINTR) {
      if (errno != EPIPE)
        std::fprintf(stderr, "rover_camera: write to standard output: %s\n", std::strerror(errno));
      return false;
    }
  }
  return true;
}

int usage(const std::string& complaint) {
  std::fprintf(stderr,
               "rover_camera: %s\n"
               "usage: rover_camera [--interval-ms 50] [--frames N] [--width 320] [--height 240]\n",
               complaint.c_str());
  return 2;
}

void wait_until(timespec& moment, int interval_ms) {
  moment.tv_nsec += interval_ms % 1000 * 1'000'000L;
  moment.tv_sec += interval_ms / 1000 + moment.tv_nsec / 1'000'000'000L;
  moment.tv_nsec %= 1'000'000'000L;
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, nullptr) == EINTR) {
  }
}

}  // namespace

int main(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string_view name = arguments[i];
    struct Known {
      std::string_view name;
      int* value;
      int least, most;
    };
    const Known known[] = {{"--interval-ms", &options.interval_ms, 0, 60'000},
                           {"--frames", &options.frames, 0, 1'000'000'000},
                           {"--width", &options.width, 1, 8192},
                           {"--height", &options.height, 1, 8192}};
    const auto* option =
        std::find_if(std::begin(known), std::end(known), [&](const Known& k) { return k.name == name; });
    if (option == std::end(known)) return usage("unknown option " + std::string(name));
    if (++i == count) return usage(std::string(name) + " needs a number");
    const std::string_view text = arguments[i];
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *option->value);
    if (error != std::errc{} || end != text.data() + text.size() || *option->value < option->least ||
        *option->value > option->most) {
      return usage(std::string(name) + " " + std::string(text) + ": not a number from " +
                   std::to_string(option->least) + " to " + std::to_string(option->most));
    }
  }

  ::signal(SIGPIPE, SIG_IGN);  // a reader that goes away is the ordinary end
  const std::string header =
      "P6\n" + std::to_string(options.width) + " " + std::to_string(options.height) + "\n255\n";
  std::vector<char> picture(header.begin(), header.end());
  picture.resize(header.size() +
                 static_cast<size_t>(options.width) * static_cast<size_t>(options.height) * 3);
  timespec next{};
  ::clock_gettime(CLOCK_MONOTONIC, &next);
  for (int frame = 0; options.frames == 0 || frame < options.frames; ++frame) {
    draw(frame * options.interval_ms / 1000.0, options,
         reinterpret_cast<uint8_t*>(picture.data() + header.size()));
    if (!write_all(picture)) break;
    wait_until(next, options.interval_ms);
  }
  return 0;
}
