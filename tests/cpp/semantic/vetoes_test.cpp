// What forbids an answer, as tables: pairs that must be kept apart and pairs that must not.
#include "sentinel/semantic/vetoes.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sentinel::semantic {
namespace {

struct Case {
  const char* left;
  const char* right;
  Veto veto;
};

class Forbidden : public testing::TestWithParam<Case> {};

TEST_P(Forbidden, IsForbiddenBothWays) {
  const Facts left = read_facts(GetParam().left);
  const Facts right = read_facts(GetParam().right);
  EXPECT_TRUE(vetoes_between(left, right).has(GetParam().veto));
  EXPECT_EQ(vetoes_between(left, right).bits(), vetoes_between(right, left).bits());
}

INSTANTIATE_TEST_SUITE_P(
    Pairs, Forbidden,
    testing::Values(
        Case{"Can I cancel within 2 days?", "Can I cancel within 3 days?", Veto::numbers},
        Case{"a table for two", "a table for four", Veto::numbers},
        Case{"Is the 9:15 train late?", "Is the 9:45 train late?", Veto::numbers},
        Case{"send 1,000 euros", "send 100 euros", Veto::numbers},
        Case{"Are you open on Monday?", "Are you open on Sunday?", Veto::dates},
        Case{"a room in March", "a room in June", Veto::dates},
        Case{"what is 5 km", "what is 5 miles", Veto::units},
        Case{"a call at 2pm", "a call at 2am", Veto::units},
        Case{"exchange euros now", "exchange dollars now", Veto::units},
        Case{"where is order A1234X9", "where is order A1234X8", Veto::identifiers},
        Case{"what does main.py do", "what does test.py do", Veto::identifiers},
        Case{"mail joe@example.com", "mail ann@example.com", Veto::identifiers},
        Case{"what does get_user() do", "what does set_user() do", Veto::code},
        Case{"what is `x`", "what is `y`", Veto::code},
        Case{"Does my card work abroad?", "Does my card not work abroad?", Veto::negation},
        Case{"Which features are included?", "Which features are excluded?", Veto::negation},
        Case{"How do I lock my card?", "How do I unlock my card?", Veto::negation},
        Case{"How do I turn on tracking?", "How do I turn off tracking?", Veto::negation},
        Case{"Is it refundable?", "Is it non-refundable?", Veto::negation},
        Case{"move money from savings to checking", "move money from checking to savings", Veto::negation},
        Case{"How do I convert Word to PDF?", "How do I convert PDF to Word?", Veto::negation},
        Case{"flights to London please", "flights to Madrid please", Veto::wording},
        Case{"Does it run on Linux?", "Will it ever run on Windows here?", Veto::names},
        Case{"How long do I cook the rice?", "How long do I cook the quinoa?", Veto::wording},
        Case{"What does the warranty cover?", "What does the extended warranty cover?", Veto::wording},
        Case{"tax relief if I am employed", "tax relief if I am self-employed", Veto::wording}));

struct Alike {
  const char* left;
  const char* right;
};

class Allowed : public testing::TestWithParam<Alike> {};

TEST_P(Allowed, HasNoVeto) {
  const VetoSet vetoes = vetoes_between(read_facts(GetParam().left), read_facts(GetParam().right));
  EXPECT_EQ(vetoes.bits(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Pairs, Allowed,
                         testing::Values(Alike{"How do I reset my password?", "how can I reset my password"},
                                         Alike{"How do I report a missed collection?",
                                               "How do I report a missed colection?"},
                                         Alike{"I have 2 cards", "I have two cards"},
                                         Alike{"It costs 1,000 euros",
                                               "it costs \xe2\x82\xac"
                                               "1000"},
                                         Alike{"the 3rd floor", "the third floor"},
                                         Alike{"Don\xe2\x80\x99t you deliver?", "Don't you deliver?"},
                                         Alike{"What is my PIN?", "what is my pin"},
                                         Alike{"Is there a luggage store at the hotel?",
                                               "At the hotel, is there a luggage store?"},
                                         Alike{"Where\xc2\xa0is it?", "where is it"},
                                         Alike{"My parcel never came, what now?",
                                               "Parcel still missing after weeks, please help me find out"}));

TEST(VetoesOfOnePrompt, TimeHistoryWindowAndLanguageForbid) {
  const auto of = [](const char* text, Circumstances circumstances = {}) {
    return vetoes_of(read_facts(text), circumstances);
  };
  EXPECT_TRUE(of("What is the weather like?").has(Veto::time_sensitive));
  EXPECT_TRUE(of("Who won this week?").has(Veto::time_sensitive));
  EXPECT_TRUE(of("Is it open right now?").has(Veto::time_sensitive));
  EXPECT_TRUE(of("Hello there", {2, false, false}).has(Veto::history));
  EXPECT_TRUE(of("Hello there", {1, true, false}).has(Veto::beyond_window));
  EXPECT_TRUE(of("Wie kann ich meine Karte sperren und wo ist sie").has(Veto::language));
  EXPECT_TRUE(of("\xd0\x9a\xd0\xb0\xd0\xba \xd0\xb4\xd0\xb5\xd0\xbb\xd0\xb0").has(Veto::language));
  EXPECT_FALSE(of("Wie kann ich das tun", {1, false, true}).has(Veto::language));
  EXPECT_TRUE(of("").has(Veto::unreadable));
  EXPECT_TRUE(of("How do I reset my password?").empty());
}

TEST(VetoesOfOnePrompt, TextBeyondTheBoundIsNeverAlike) {
  const std::string text(kMaxTextBytes + 1, 'a');
  EXPECT_TRUE(vetoes_of(read_facts(text), {}).has(Veto::unreadable));
}

TEST(Vetoes, EveryVetoHasAName) {
  for (std::size_t i = 0; i < kVetoes; ++i) EXPECT_FALSE(name_of(static_cast<Veto>(i)).empty());
  EXPECT_EQ(name_of(Veto::beyond_window), "beyond_window");
  EXPECT_EQ(name_of(Veto::wording), "wording");
}

TEST(Mismatches, AreWhatOneSideAloneNames) {
  EXPECT_EQ(mismatches_between(read_facts("in 2 weeks"), read_facts("soon")), 2U);
  EXPECT_EQ(mismatches_between(read_facts("soon"), read_facts("soon")), 0U);
}

}  // namespace
}  // namespace sentinel::semantic
