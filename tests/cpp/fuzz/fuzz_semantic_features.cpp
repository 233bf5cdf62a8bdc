// The reader of facts: any bytes give facts within their bounds, the same ones each time; vetoes and likeness of two
// texts are symmetric and finite; a text has no veto against itself.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sentinel/semantic/likeness.hpp"
#include "sentinel/semantic/vetoes.hpp"

namespace {

using namespace sentinel::semantic;

void require(bool holds) {
  if (!holds) std::abort();
}

Facts read(std::string_view text) {
  const std::string own(text);  // its own memory, so that a look beyond it is seen
  Facts facts = read_facts(own);
  require(facts.words.size() <= kMaxWords && facts.trigrams.size() <= kMaxTrigrams);
  for (const auto& marks : facts.marks)
    require(marks.size() <= kMaxMarks && std::is_sorted(marks.begin(), marks.end()));
  for (const Word& word : facts.words) require(word.begin + word.size <= facts.letters.size());
  require(facts.denied.size() <= kMaxMarks && facts.sources.size() <= kMaxMarks);
  return facts;
}

void require_share(float share) { require(share >= 0 && share <= 1.0001F); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(bytes + 1), size - 1);
  const std::size_t cut = (size - 1) * bytes[0] / 256;
  const Facts left = read(text.substr(0, cut));
  const Facts right = read(text.substr(cut));
  require(vetoes_between(left, left).empty());
  require(vetoes_between(left, right).bits() == vetoes_between(right, left).bits());
  require(mismatches_between(left, right) == mismatches_between(right, left));
  Vocabulary vocabulary;
  vocabulary.learn(left);
  const Likeness found = likeness(left, right, vocabulary);
  for (const float share :
       {found.words, found.trigrams, found.length_ratio, found.rarest_left, found.rarest_right})
    require_share(share);
  const Facts again = read(text.substr(0, cut));
  require(again.trigrams == left.trigrams && again.marks == left.marks);
  return 0;
}
