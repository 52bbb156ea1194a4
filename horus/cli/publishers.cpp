// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/publishers.hpp>

#include <algorithm>
#include <cstdio>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include <horus/cli/json.hpp>
#include <horus/config/tree.hpp>

namespace horus::cli {
namespace {

std::string where_text(const ChosenTopics& chosen, const VisitArguments& visit) {
  std::string where = chosen.hub.empty() ? "" : " in the hub " + chosen.hub;
  if (!visit.process.empty()) where += " by " + visit.process;
  return where;
}

}  // namespace

Result<std::vector<Publisher>> publishers_of(std::vector<Visit>& visits) {
  std::vector<Publisher> all;
  for (auto visit = visits.begin(); visit != visits.end();) {
    auto topics = visit->client.topics();
    if (!topics && !has_ended(topics.error())) return topics.error();
    if (!topics) {
      visit = visits.erase(visit);
      continue;
    }
    for (inspect::Topic& topic : *topics) all.push_back({visit->process, std::move(topic)});
    ++visit;
  }
  std::sort(all.begin(), all.end(), [](const Publisher& one, const Publisher& other) {
    return std::tie(one.topic.name, one.process.pid, one.topic.publisher) <
           std::tie(other.topic.name, other.process.pid, other.topic.publisher);
  });
  return all;
}

bool is_meant(const ChosenTopics& chosen, const Publisher& publisher) {
  if (!chosen.hub.empty() && publisher.topic.hub != chosen.hub) return false;
  return chosen.topics.empty() ||
         std::find(chosen.topics.begin(), chosen.topics.end(), publisher.topic.name) != chosen.topics.end();
}

bool complain_of_missing(const ChosenTopics& chosen, const VisitArguments& visit,
                         const std::vector<Publisher>& publishers) {
  std::vector<std::string> names;
  for (const Publisher& publisher : publishers) {
    if (names.empty() || names.back() != publisher.topic.name) names.push_back(publisher.topic.name);
  }
  bool missing = false;
  for (const std::string& topic : chosen.topics) {
    const auto found = std::any_of(publishers.begin(), publishers.end(), [&](const Publisher& publisher) {
      return publisher.topic.name == topic && is_meant(chosen, publisher);
    });
    if (found) continue;
    missing = true;
    std::string hint = names.empty() ? "no program publishes anything" : listed(names);
    if (const std::string near = config::nearest(topic, names); !near.empty() && near != topic)
      hint = "did you mean " + near + "?";
    fmt::print(stderr, "horus: nobody publishes {}{} ({})\n", printable(topic),
               printable(where_text(chosen, visit)), printable(hint));
  }
  return missing;
}

}  // namespace horus::cli
