// SPDX-License-Identifier: Apache-2.0
// Brings a message from the shape that it had when it was recorded into the one that a program has now, field by field, by name.
// Const once made; any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/msg/description.hpp>

namespace horus::HORUS_ABI::record {

/// Fields that were not recorded keep their default; those that the program does not have any more are left out. Whole numbers
/// may have got another width, whole numbers may have become floating ones, text and lists another length. Any other change of
/// a field's type is a mismatch.
class FieldMap {
 public:
  using Bytes = std::span<const std::byte>;

  /// `blank_head` and `blank_element` are a struct and an element of its tail with their defaults. Errors: kTypeMismatch; the
  /// target is the first field that cannot be brought over, and why.
  static Result<FieldMap> make(const Description& from, const Description& to, Bytes blank_head,
                               Bytes blank_element);

  /// Errors: kBadInput names a field whose value does not fit.
  Result<> convert(Bytes head, Bytes tail, std::vector<std::byte>& to_head,
                   std::vector<std::byte>& to_tail) const;

 private:
  using Member = Description::Member;
  using Pairs = std::vector<std::pair<std::uint16_t, std::uint16_t>>;  // members, there and here

  FieldMap(const Description& from, const Description& to, Bytes blank_head, Bytes blank_element);
  Result<> pair_types(std::uint16_t from, std::uint16_t to, const std::string& path);
  Result<> match(const Member& from, const Member& to, const std::string& path);
  Result<> match_value(const Member& from, const Member& to, const std::string& path);
  Result<> structure(std::uint16_t from, std::uint16_t to, const std::byte* there, std::byte* here) const;
  Result<> field(const Member& from, const Member& to, const std::byte* there, std::byte* here) const;
  Result<> value(const Member& from, const Member& to, const std::byte* there, std::byte* here) const;

  Description from_;
  Description to_;
  std::vector<std::byte> blank_head_;
  std::vector<std::byte> blank_element_;
  std::map<std::pair<std::uint16_t, std::uint16_t>, Pairs> pairs_;  // of types
};

}  // namespace horus::HORUS_ABI::record
