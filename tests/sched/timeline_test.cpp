// SPDX-License-Identifier: Apache-2.0
// What becomes of a recorded timeline: Chrome's trace events and the page.
#include <horus/sched/timeline.hpp>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <stdlib.h>

#include <doctest/doctest.h>

#include <horus/sched/report/timeline_lanes.hpp>
#include <horus/sched/states.hpp>

using horus::CircuitState;
using horus::NodeState;
using horus::TickOutcome;
using horus::Timeline;
using horus::TimelineEvent;
using horus::detail::TimelineLanes;
using Kind = horus::TimelineEvent::Kind;

namespace {

// As much of JSON as a strict reader accepts; whatever else throws.
struct Json {
  std::string text;  // of a string, as it stands between its quotation marks
  double number = 0;
  std::vector<Json> items;
  std::map<std::string, Json> fields;
  const Json& operator[](const std::string& key) const { return fields.at(key); }
};

class JsonReader {
 public:
  explicit JsonReader(const std::string& text) : text_(text) {}
  Json read() {
    Json value = read_value();
    space();
    if (at_ != text_.size()) fail("something after the end");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(what + " at " + std::to_string(at_) + ": " + text_.substr(at_, 60));
  }
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  char peek() {
    space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  void expect(char c) {
    if (peek() != c) fail(std::string("no ") + c);
    ++at_;
  }
  bool more(char end) {
    if (peek() == ',') {
      ++at_;
      return true;
    }
    expect(end);
    return false;
  }
  std::string read_string() {
    expect('"');
    const std::size_t begin = at_;
    for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (static_cast<unsigned char>(text_[at_]) < 0x20) fail("a control character");
      if (text_[at_] != '\\') continue;
      ++at_;
      if (std::string("\"\\/bfnrtu").find(text_[at_]) == std::string::npos) fail("an unknown escape");
    }
    const std::string found = text_.substr(begin, at_ - begin);
    expect('"');
    return found;
  }
  Json read_value() {
    Json value;
    if (peek() == '{') {
      ++at_;
      if (peek() == '}') return ++at_, value;
      do {
        const std::string key = read_string();
        expect(':');
        value.fields[key] = read_value();
      } while (more('}'));
    } else if (peek() == '[') {
      ++at_;
      if (peek() == ']') return ++at_, value;
      do value.items.push_back(read_value());
      while (more(']'));
    } else if (peek() == '"') {
      value.text = read_string();
    } else {
      const std::size_t end = std::min(text_.find_first_not_of("0123456789.-", at_), text_.size());
      const std::string number = text_.substr(at_, end - at_);
      std::size_t used = 0;
      if (number.empty()) fail("no value");
      value.number = std::stod(number, &used);
      if (used != number.size()) fail("no number");
      at_ = end;
    }
    return value;
  }
  const std::string& text_;
  std::size_t at_ = 0;
};

Json parsed(const std::string& text) { return JsonReader(text).read(); }

std::string embedded(const std::string& page) {
  const std::string mark = "<script type=\"application/json\" id=\"data\">";
  const std::size_t begin = page.find(mark) + mark.size();
  return page.substr(begin, page.find("</script>", begin) - begin);
}

std::vector<Json> events_named(const Json& trace, const std::string& name) {
  std::vector<Json> found;
  for (const Json& event : trace["traceEvents"].items)
    if (event["name"].text == name) found.push_back(event);
  return found;
}

template <class Detail>
TimelineEvent event(Kind kind, std::int64_t begin_ns, std::int64_t end_ns, Detail detail,
                    std::uint32_t node = 0) {
  return {begin_ns, end_ns, node, kind, static_cast<std::uint8_t>(detail)};
}

constexpr std::int64_t kBoot = 7'000'000'000'123;

// One node: a tick that suspends once, one that waits for it and fails, and what happens around them.
Timeline rover() {
  Timeline timeline;
  timeline.title = "rover";
  timeline.nodes = {{"imu", 100, 8'000'000, "main"}};
  timeline.events = {
      event(Kind::ran, kBoot + 1'000, kBoot + 3'000, 0),
      event(Kind::ran, kBoot + 8'000, kBoot + 9'500, 0),
      event(Kind::tick, kBoot, kBoot + 9'500, TickOutcome::ok),
      event(Kind::ran, kBoot + 9'600, kBoot + 11'000, 0),
      event(Kind::tick, kBoot + 5'000, kBoot + 11'000, TickOutcome::failed),
      event(Kind::deadline_miss, kBoot + 10'000, 0, 0),
      event(Kind::circuit, kBoot + 12'000, 0, CircuitState::open),
      event(Kind::skipped, kBoot + 13'000, 0, TickOutcome::skipped_circuit_open),
      event(Kind::watchdog, kBoot + 14'000, 0, 3),
      event(Kind::state, kBoot + 15'000, 0, NodeState::restarting),
      event(Kind::circuit, kBoot + 16'000, 0, CircuitState::half_open),
      event(Kind::safe_state, kBoot + 17'000, 0, 0),
      event(Kind::emergency_stop, kBoot + 18'000, 0, 0),
  };
  return timeline;
}

std::string contents(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

struct Folder {
  Folder() : path("/tmp/horus-timeline-XXXXXX") { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string path;
};

}  // namespace

TEST_SUITE("lanes") {
  TEST_CASE("lateness, execution and suspension of a tick add up to its response") {
    const TimelineLanes sorted(rover());
    REQUIRE(sorted.lanes.size() == 1);
    const auto& tick = sorted.lanes[0].ticks.at(0);
    CHECK(tick.lateness_ns() == 1'000);
    CHECK(tick.execution_ns == 3'500);
    CHECK(tick.suspended_ns() == 5'000);
    CHECK(tick.response_ns() == 9'500);
    CHECK(sorted.length_ns == 18'000);
    CHECK(sorted.lanes[0].execution_ns == 4'900);
  }

  TEST_CASE("a tick that waited for the one before has only its own stretches") {
    const TimelineLanes sorted(rover());
    const auto& waited = sorted.lanes[0].ticks.at(1);
    CHECK(waited.lateness_ns() == 4'600);
    CHECK(waited.execution_ns == 1'400);
    CHECK(waited.suspended_ns() == 0);
  }

  TEST_CASE("the order in which events stand does not matter") {
    Timeline reversed = rover();
    std::reverse(reversed.events.begin(), reversed.events.end());
    CHECK(reversed.html() == rover().html());
    CHECK(reversed.chrome_trace() == rover().chrome_trace());
  }

  TEST_CASE("a state lasts until the next one, the last until the end") {
    const TimelineLanes sorted(rover());
    const auto& bands = sorted.lanes[0].bands;
    REQUIRE(bands.size() == 3);
    CHECK(bands[0].kind == Kind::circuit);
    CHECK(bands[0].begin_ns == 12'000);
    CHECK(bands[0].end_ns == 16'000);
    CHECK(bands[1].end_ns == 18'000);
    CHECK(bands[2].kind == Kind::state);
    CHECK(bands[2].end_ns == 18'000);
  }

  TEST_CASE("events of nodes without a name are left out") {
    Timeline timeline = rover();
    timeline.events.push_back(event(Kind::tick, kBoot, kBoot + 5, TickOutcome::ok, 7));
    CHECK(timeline.chrome_trace() == rover().chrome_trace());
  }

  TEST_CASE("a tick without stretches, an end before the begin and unknown numbers do no harm") {
    Timeline timeline;
    timeline.nodes = {{"odd", std::numeric_limits<double>::quiet_NaN(), -1, ""}};
    timeline.events = {event(Kind::tick, 2'000, 1'000, 99), event(Kind::ran, 3'000, 0, 0),
                       event(Kind::skipped, 4'000, 0, 250), event(Kind::circuit, 5'000, 0, 9),
                       event(Kind::state, 6'000, 0, 77),    event(Kind::watchdog, 7'000, 0, 8)};
    CHECK(events_named(parsed(timeline.chrome_trace()), "tick").at(0)["dur"].number == 0);
    CHECK(parsed(embedded(timeline.html()))["nodes"].items.size() == 1);
  }
}

TEST_SUITE("chrome trace") {
  TEST_CASE("one process, one named thread per node") {
    Timeline timeline = rover();
    timeline.nodes.push_back({"camera", 0, 0, "camera"});
    const Json trace = parsed(timeline.chrome_trace());
    CHECK(events_named(trace, "process_name").at(0)["args"]["name"].text == "rover");
    const auto threads = events_named(trace, "thread_name");
    REQUIRE(threads.size() == 2);
    CHECK(threads[1]["args"]["name"].text == "camera");
    CHECK(threads[1]["tid"].number == 2);
    CHECK(events_named(trace, "thread_sort_index").size() == 2);
  }

  TEST_CASE("a tick is a span around its stretches, in microseconds since the first event") {
    const Json trace = parsed(rover().chrome_trace());
    const auto ticks = events_named(trace, "tick");
    REQUIRE(ticks.size() == 2);
    CHECK(ticks[0]["ts"].number == 0);
    CHECK(ticks[0]["dur"].number == 9.5);
    CHECK(ticks[0]["args"]["outcome"].text == "ok");
    CHECK(ticks[0]["args"]["suspended_us"].number == 5);
    CHECK(ticks[1]["args"]["outcome"].text == "failed");
    CHECK(ticks[1]["args"]["grid_us"].number == 5);
    CHECK(ticks[1]["ts"].number ==
          9.5);  // spans of one thread must not cross: it begins where the other ends
    const auto runs = events_named(trace, "run");
    REQUIRE(runs.size() == 3);
    CHECK(runs[1]["ts"].number == 8);
    CHECK(runs[1]["dur"].number == 1.5);
  }

  TEST_CASE("a stretch that reaches beyond its tick is cut there and loses nothing") {
    Timeline timeline;
    timeline.nodes = {{"imu", 0, 0, ""}};
    timeline.events = {event(Kind::ran, 1'000, 9'000, 0), event(Kind::tick, 1'000, 4'000, TickOutcome::ok),
                       event(Kind::tick, 5'000, 8'000, TickOutcome::ok)};
    const auto runs = events_named(parsed(timeline.chrome_trace()), "run");
    REQUIRE(runs.size() == 4);
    double sum = 0;
    for (const Json& run : runs) sum += run["dur"].number;
    CHECK(sum == 8);
    CHECK(runs[0]["dur"].number == 3);
  }

  TEST_CASE("what happens at one instant is an instant event, the emergency stop a global one") {
    const Json trace = parsed(rover().chrome_trace());
    for (const char* name : {"skipped (circuit open)", "deadline missed", "circuit open", "circuit half_open",
                             "restarting", "watchdog: isolated", "safe state"}) {
      CAPTURE(name);
      const auto found = events_named(trace, name);
      REQUIRE(found.size() == 1);
      CHECK(found[0]["ph"].text == "i");
      CHECK(found[0]["s"].text == "t");
    }
    CHECK(events_named(trace, "emergency stop").at(0)["s"].text == "g");
  }

  TEST_CASE("names are escaped, and valid whatever bytes they hold") {
    CHECK(horus::detail::timeline_json("a\"b\\c\nd") == R"("a\"b\\c\u000ad")");
    CHECK(horus::detail::timeline_json("größer € 😀") == "\"größer € 😀\"");
    CHECK(horus::detail::timeline_json("\xff|\xc3|\xed\xa0\x80") == R"("\ufffd|\ufffd|\ufffd\ufffd\ufffd")");
    Timeline timeline = rover();
    timeline.title = "the \"rover\"\t\x01";
    timeline.nodes[0].name = "\\\"\xfe";
    CHECK(events_named(parsed(timeline.chrome_trace()), "thread_name").at(0)["args"]["name"].text ==
          R"(\\\"\ufffd)");
  }

  TEST_CASE("an empty timeline is a valid trace") {
    const Json trace = parsed(Timeline().chrome_trace());
    CHECK(trace["traceEvents"].items.size() == 1);
  }
}

TEST_SUITE("page") {
  TEST_CASE("the events stand in it as arrays, begins as differences") {
    const Json data = parsed(embedded(rover().html()));
    const Json& node = data["nodes"].items.at(0);
    std::vector<double> ticks;
    for (const Json& number : node["ticks"].items) ticks.push_back(number.number);
    CHECK(ticks == std::vector<double>{0, 9'500, 0, 1'000, 3'500, 5'000, 6'000, 1, 4'600, 1'400});
    CHECK(node["runs"].items.size() == 6);
    CHECK(data["outcomes"].items.size() == horus::kTickOutcomes);
    CHECK(data["stops"].items.at(0).number == 18'000);
  }

  TEST_CASE("it asks nobody for anything") {
    const std::string page = rover().html();
    for (const char* outside : {"http:", "https:", "src=", "href=", "@import", "url("}) {
      CAPTURE(outside);
      CHECK(page.find(outside) == std::string::npos);
    }
  }

  TEST_CASE("without JavaScript there is a note, and the table with the sums") {
    const std::string page = rover().html();
    CHECK(page.find("<noscript>") != std::string::npos);
    CHECK(page.find("<th scope=\"row\">imu<td>100 Hz<td>8 ms<td>main<td class=\"\">2<td class=\"\">1"
                    "<td class=\"failed\">1<td class=\"none\">0<td class=\"\">1<td class=\"miss\">1") !=
          std::string::npos);
  }

  TEST_CASE("names cannot leave their place") {
    Timeline timeline = rover();
    timeline.title = "<b>&\"'";
    timeline.nodes[0].name = "</script><script>alert(1)</script>";
    const std::string page = timeline.html();
    CHECK(page.find("<title>&lt;b&gt;&amp;&quot;&#39;</title>") != std::string::npos);
    CHECK(page.find("alert(1)</") == std::string::npos);
    CHECK(parsed(embedded(page))["nodes"].items.at(0)["name"].text ==
          R"(\u003c/script\u003e\u003cscript\u003ealert(1)\u003c/script\u003e)");
  }

  TEST_CASE("what did not fit is told") {
    Timeline timeline = rover();
    timeline.lost = 1234;
    CHECK(timeline.html().find("1\u202f234 older events did not fit") != std::string::npos);
    CHECK(parsed(timeline.chrome_trace())["otherData"]["lost_events"].number == 1234);
  }

  TEST_CASE("an empty timeline is a page too") {
    CHECK(parsed(embedded(Timeline().html()))["nodes"].items.empty());
  }
}

TEST_SUITE("files") {
  TEST_CASE("they hold what the strings hold, and nothing of what was there before") {
    const Folder folder;
    const std::string path = folder.path + "/rover.html";
    std::ofstream(path) << std::string(1'000'000, 'x');
    const auto page = rover().write_html(path);
    REQUIRE(page);
    CHECK(contents(path) == rover().html());
    const auto trace = rover().write_chrome_trace(path);
    REQUIRE(trace);
    CHECK(contents(path) == rover().chrome_trace());
  }

  TEST_CASE("an error names the path") {
    const Folder folder;
    const auto nowhere = rover().write_html(folder.path + "/none/rover.html");
    CHECK(nowhere.code() == ENOENT);
    CHECK(nowhere.error().message().starts_with("write the timeline " + folder.path +
                                                "/none/rover.html: no such file"));
    const auto directory = rover().write_chrome_trace(folder.path);
    CHECK(directory.code() == EISDIR);
    const auto full = rover().write_chrome_trace("/dev/full");
    CHECK(full.code() == ENOSPC);
    CHECK(full.error().target() == "/dev/full");
  }
}
