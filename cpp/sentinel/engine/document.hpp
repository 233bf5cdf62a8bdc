// A configuration document as a tree, for the cold readers of snapshots and keys.
//
// Contract: look-ups of what is missing give the null document, whose string is empty and whose number is 0, so that
// readers check values, not types; `require` names the path of what must be there. Cost: cold; parse copies the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sentinel/base/result.hpp"

namespace sentinel::engine {

class Document {
 public:
  static Result<Document> parse(std::string_view text);

  enum class Kind : std::uint8_t { null, boolean, integer, text, array, object };

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::null; }
  bool boolean() const { return kind_ == Kind::boolean && integer_ != 0; }
  std::int64_t integer() const { return kind_ == Kind::integer ? integer_ : 0; }
  const std::string& string() const { return text_; }
  std::vector<std::string> strings() const;
  const Document& operator[](std::string_view member) const;
  const std::vector<Document>& items() const { return items_; }
  // An object's members in order.
  const std::vector<std::string>& names() const { return names_; }

 private:
  friend struct DocumentBuilder;
  Kind kind_ = Kind::null;
  std::int64_t integer_ = 0;
  std::string text_;
  std::vector<std::string> names_;  // of an object; parallel to items_
  std::vector<Document> items_;
};

}  // namespace sentinel::engine
