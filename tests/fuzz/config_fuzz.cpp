// SPDX-License-Identifier: Apache-2.0
// A configuration file of any bytes, as TOML and as YAML: it makes a hub, or one line that says why not.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <horus/config/document.hpp>
#include <horus/msg/hub.hpp>

namespace {

void must(bool holds) {
  if (!holds) std::abort();
}

void must_explain(const horus::Error& error, std::string_view name) {
  const std::string message = error.message();
  must(error.code() == horus::kBadConfiguration && message.starts_with(name) && message.size() > name.size());
  for (const char c : message) must(c != '\n');
}

void read(std::string_view text, const std::string& name, horus::config::Format format) {
  const auto document = horus::config::Document::parse(text, name, format);
  if (!document) return must_explain(document.error(), name);
  // No reactor runs here: nothing is opened, whatever the file asks for.
  const auto hub = horus::Hub::from_config(*document, "base");
  if (!hub) must_explain(hub.error(), name);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read(text, "x.toml", horus::config::Format::toml);
  if (horus::config::reads_yaml()) read(text, "x.yaml", horus::config::Format::yaml);
  return 0;
}
