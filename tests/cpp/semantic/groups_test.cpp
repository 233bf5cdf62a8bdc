// Entries and groups against a plain map; audits, drift and opinions by example.
#include "sentinel/semantic/groups.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>

#include "sentinel/base/random.hpp"
#include "sentinel/semantic/audits.hpp"
#include "sentinel/semantic/drift.hpp"
#include "sentinel/semantic/opinions.hpp"

namespace sentinel::semantic {
namespace {

TEST(Groups, AgreeWithAPlainModel) {
  constexpr std::size_t kMost = 12;
  Groups groups(kMost);
  std::map<EntryId, std::pair<GroupId, float>> model;
  std::deque<EntryId> ages;
  Random random(9);
  for (int step = 0; step < 4'000; ++step) {
    const auto any = [&] {
      auto at = model.begin();
      std::advance(at, static_cast<std::ptrdiff_t>(random.below(model.size())));
      return at;
    };
    const std::uint64_t what = random.below(10);
    if (model.empty() || what < 6) {
      const GroupId home = model.empty() || random.below(2) == 0 ? 0 : any()->second.first;
      const float value = static_cast<float>(random.below(9));
      Groups::Removed removed;
      const EntryId id = groups.add(0, home, {}, {value}, removed);
      for (const EntryId gone : removed) {
        while (!model.contains(ages.front())) ages.pop_front();
        EXPECT_EQ(gone, ages.front());
        model.erase(gone);
      }
      model[id] = {groups.entry(id)->group, value};
      ages.push_back(id);
    } else if (what < 8) {
      const EntryId id = any()->first;
      EXPECT_TRUE(groups.remove(id));
      EXPECT_FALSE(groups.remove(id));
      model.erase(id);
    } else {
      const GroupId into = any()->second.first;
      const GroupId from = any()->second.first;
      groups.merge(into, from);
      for (auto& [id, entry] : model) entry.first = entry.first == from ? into : entry.first;
    }
    ASSERT_LE(groups.entries(), kMost);
    ASSERT_EQ(groups.entries(), model.size());
    std::map<GroupId, std::pair<std::set<EntryId>, float>> expected;
    for (const auto& [id, entry] : model) {
      expected[entry.first].first.insert(id);
      expected[entry.first].second += entry.second;
    }
    ASSERT_EQ(groups.groups(), expected.size());
    for (const auto& [id, members] : expected) {
      const Group* group = groups.group(id);
      ASSERT_NE(group, nullptr);
      ASSERT_EQ(std::set<EntryId>(group->members.begin(), group->members.end()), members.first);
      ASSERT_FLOAT_EQ(group->sum[0], members.second);
    }
  }
}

TEST(Audits, AllAtFirstThenAShareThatFavoursDoubtfulHits) {
  Audits audits;
  EXPECT_EQ(audits.chance(0.01, 100), 1);
  for (int i = 0; i < 200'000; ++i) audits.served(0.01), audits.requested();
  EXPECT_EQ(audits.chance(0.01, 0), 1) << "the first hits of a partition";
  EXPECT_NEAR(audits.chance(0.01, 100), Audits::kLeastShare, 0.01);
  EXPECT_GT(audits.chance(0.09, 100), 1.5 * audits.chance(0.01, 100));
  EXPECT_GE(audits.chance(0, 100), Audits::kLeast);
}

TEST(Audits, TheRunningErrorFindsWhatTheModelDidNotExpect) {
  Audits audits;
  Random random(4);
  const Bound bound{0.01, Of::hits};
  EXPECT_NEAR(audits.tightening(bound), 1, 1e-9);
  for (int i = 0; i < 30'000; ++i) {
    audits.requested();
    audits.served(0.005);
    audits.audited(0.005, 1, random.below(50) == 0);
  }
  EXPECT_NEAR(audits.running_error(Of::hits), 0.02, 0.008);
  EXPECT_LT(audits.tightening(bound), 0.9);
  EXPECT_GE(audits.tightening(bound), Audits::kTightest);
}

TEST(Drift, HaltsOnWrongAnswersAndNotOnExpectedOnes) {
  Random random(2);
  Drift well;
  for (int i = 0; i < 5'000; ++i) well.judged(0.02, 0.01, random.below(50) == 0);
  EXPECT_FALSE(well.halted());
  Drift shifted;
  int judged = 0;
  while (!shifted.halted() && judged < 100) shifted.judged(0.02, 0.01, ++judged % 2 == 0);
  EXPECT_LT(judged, 20);
}

TEST(Drift, ServesAgainAfterAProbationWithoutMistakes) {
  Drift drift;
  while (!drift.halted()) drift.judged(0.02, 0.01, true);
  for (std::uint32_t i = 1; i < Drift::kProbation; ++i) {
    EXPECT_TRUE(drift.halted());
    drift.judged(0.02, 0.01, false);
  }
  EXPECT_FALSE(drift.halted()) << "the outcome that halted it was the first of the probation";
}

TEST(Offset, IsDrawnToNothingUntilThereIsEvidence) {
  Offset offset{4};
  EXPECT_EQ(offset.value(), 0);
  offset.learn(0.9, false);
  EXPECT_GT(offset.value(), -0.5);
  for (int i = 0; i < 100; ++i) offset.learn(0.9, false);
  EXPECT_LT(offset.value(), -1);
}

std::vector<Verdict> asked(Inquiry& inquiry, std::vector<Verdict> verdicts) {
  std::vector<Verdict> used;
  for (const Verdict verdict : verdicts) {
    if (!inquiry.question()) break;
    inquiry.hear(verdict);
    used.push_back(verdict);
  }
  return used;
}

constexpr auto kSame = Verdict::same;
constexpr auto kDifferent = Verdict::different;

TEST(Inquiry, AnExpectedVerdictIsBelievedAtOnce) {
  Inquiry inquiry({{7, 1, 0.9, {}}});
  EXPECT_EQ(inquiry.question(), 7);
  EXPECT_TRUE(inquiry.hear(kSame));
  EXPECT_EQ(inquiry.settled().verdict, kSame);
  EXPECT_FALSE(inquiry.question());
}

TEST(Inquiry, ASurprisingVerdictIsAskedUntilOneSideLeads) {
  Inquiry inquiry({{7, 1, 0.9, {}}});
  EXPECT_EQ(asked(inquiry, {kDifferent, kSame, kSame, kSame, kSame}).size(), 4U);
  EXPECT_EQ(inquiry.settled().verdict, kSame);
  Inquiry sure({{7, 1, 0.99, {}}});
  EXPECT_EQ(asked(sure, {kDifferent, kDifferent, kDifferent, kDifferent}).size(), 3U);
  EXPECT_EQ(sure.settled().verdict, kDifferent);
}

TEST(Inquiry, QuestionsAreBoundedWhateverTheJudgeSays) {
  Inquiry inquiry({{1, 1, 0.99, {}}, {2, 2, 0.98, {}}, {3, 3, 0.97, {}}});
  int questions = 0;
  while (inquiry.question()) inquiry.hear(++questions % 2 == 0 ? kSame : kDifferent);
  EXPECT_LE(questions, static_cast<int>(Inquiry::kMostCandidates) * Inquiry::kMostOpinions);
}

TEST(Inquiry, UnsureSaysNothingAndTheNextIsAsked) {
  Inquiry inquiry({{1, 1, 0.6, {}}, {2, 2, 0.5, {}}});
  EXPECT_TRUE(inquiry.hear(Verdict::unsure));
  EXPECT_EQ(inquiry.settled().verdict, Verdict::unsure);
  EXPECT_EQ(inquiry.question(), 2);
}

}  // namespace
}  // namespace sentinel::semantic
