#include "sentinel/engine/document.hpp"

#include <simdjson.h>

namespace sentinel::engine {

struct DocumentBuilder {
  static Document build(simdjson::dom::element element) {
    using simdjson::dom::element_type;
    Document document;
    switch (element.type()) {
      case element_type::BOOL:
        document.kind_ = Document::Kind::boolean;
        document.integer_ = bool(element) ? 1 : 0;
        break;
      case element_type::INT64:
        document.kind_ = Document::Kind::integer;
        document.integer_ = std::int64_t(element);
        break;
      case element_type::STRING:
        document.kind_ = Document::Kind::text;
        document.text_ = std::string_view(element);
        break;
      case element_type::ARRAY:
        document.kind_ = Document::Kind::array;
        read_items(simdjson::dom::array(element), document);
        break;
      case element_type::OBJECT:
        document.kind_ = Document::Kind::object;
        read_members(simdjson::dom::object(element), document);
        break;
      default: break;  // numbers that are no int64 have no use in our documents
    }
    return document;
  }

  static void read_items(simdjson::dom::array array, Document& document) {
    for (const auto item : array) document.items_.push_back(build(item));
  }

  static void read_members(simdjson::dom::object object, Document& document) {
    for (const auto field : object) {
      document.names_.emplace_back(field.key);
      document.items_.push_back(build(field.value));
    }
  }
};

Result<Document> Document::parse(std::string_view text) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  const auto error = parser.parse(text.data(), text.size()).get(root);
  if (error != simdjson::SUCCESS) {
    return Error(ErrorCode::invalid_json,
                 std::string("not a JSON document: ") + simdjson::error_message(error));
  }
  return DocumentBuilder::build(root);
}

std::vector<std::string> Document::strings() const {
  std::vector<std::string> texts;
  for (const auto& item : items_) texts.push_back(item.string());
  return texts;
}

const Document& Document::operator[](std::string_view member) const {
  static const Document kNull;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (names_[i] == member) return items_[i];
  }
  return kNull;
}

}  // namespace sentinel::engine
