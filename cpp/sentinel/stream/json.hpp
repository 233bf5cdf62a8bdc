// The JSON parser a loop lends to everything that reads provider bytes: one per thread, not one per stream.
//
// Contract: owns a parser and a padded copy buffer; both grow to the largest recent document and are given
// back after one above 1 MiB. The parsing call itself lives in json_dom.hpp, so that this header stays free
// of simdjson.
// Cost: about 14 bytes of memory per byte of the largest document (4 KiB to 1 MiB) kept.
// Thread rule: one thread at a time. Failure rule: none here.
#pragma once

#include <cstddef>
#include <memory>

namespace sentinel::stream {

class JsonParser {
 public:
  JsonParser();
  ~JsonParser();
  JsonParser(JsonParser&&) noexcept;
  JsonParser& operator=(JsonParser&&) noexcept;

  std::size_t capacity_bytes() const;  // of the document buffer now held

  struct Impl;
  Impl& impl() { return *impl_; }  // for json_dom.hpp

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace sentinel::stream
