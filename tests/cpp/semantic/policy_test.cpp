// The policy as a machine: what goes in, what comes out, and what it never does.
#include "sentinel/semantic/policy.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "sentinel/base/random.hpp"
#include "sentinel/semantic/replay.hpp"

namespace sentinel::semantic {
namespace {

constexpr std::size_t kDimension = 24;

// A unit vector near the direction of a topic.
std::vector<float> near_topic(std::uint64_t topic, Random& random, float spread) {
  Random fixed(topic + 1'000);
  std::vector<float> vector(kDimension);
  float length = 0;
  for (float& number : vector) {
    number = static_cast<float>(fixed.below(2'001)) - 1'000;
    number += spread * (static_cast<float>(random.below(2'001)) - 1'000);
    length += number * number;
  }
  for (float& number : vector) number /= std::sqrt(length);
  return vector;
}

struct Asked {
  std::string text;
  std::vector<float> vector;
  std::uint64_t topic;
};

std::vector<Asked> stream(std::size_t rows, std::uint64_t seed, float spread = 0.25F) {
  Random random(seed);
  const char* frames[] = {"how do i mend my ", "how can i mend the ", "what mends a ", "mending of this "};
  std::vector<Asked> asked;
  for (std::size_t i = 0; i < rows; ++i) {
    const std::uint64_t topic = random.below(20);
    std::string text = frames[random.below(4)];
    text.append("thing").append(1, static_cast<char>('a' + topic)).append("ly");
    asked.push_back({text + std::string(i, ' '), near_topic(topic, random, spread), topic});
  }
  return asked;
}

Options options_of(Mode mode = Mode::serve) {
  Options options;
  options.dimension = kDimension;
  options.mode = mode;
  return options;
}

Request request_of(const Asked& asked, std::string_view partition = "p") {
  Request request;
  request.partition = partition;
  request.text = asked.text;
  request.vector = asked.vector;
  request.bound = {0.05, Of::requests};
  return request;
}

struct Truth {
  std::unordered_map<EntryId, std::uint64_t> topics;
  std::uint64_t hits = 0;
  std::uint64_t wrong = 0;
};

Decision step(Policy& policy, const Asked& asked, Truth& truth, std::string_view partition = "p") {
  Decision decision = *policy.decide(request_of(asked, partition));
  if (decision.served()) {
    ++truth.hits;
    truth.wrong += truth.topics.at(decision.entry) != asked.topic ? 1U : 0U;
  }
  if (decision.ticket == 0) return decision;
  Next next = policy.answered(decision.ticket);
  while (next.question) {
    const bool same = truth.topics.at(*next.question) == asked.topic;
    next = policy.judged(decision.ticket, same ? Verdict::same : Verdict::different);
  }
  truth.topics[next.stored] = asked.topic;
  return decision;
}

TEST(Policy, LearnsThenServesWithinTheBound) {
  const auto policy = *Policy::make(options_of());
  Truth truth;
  const auto asked = stream(3'000, 1);
  EXPECT_EQ(step(*policy, asked[0], truth).reason, Reason::no_candidate);
  EXPECT_EQ(step(*policy, asked[1], truth).reason, Reason::learning);
  for (std::size_t i = 2; i < asked.size(); ++i) step(*policy, asked[i], truth);
  EXPECT_GT(truth.hits, 1'000U);
  EXPECT_LE(static_cast<double>(truth.wrong), 0.05 * 3'000);
  EXPECT_EQ(policy->status({0.05, Of::requests}).state, State::serving);
}

TEST(Policy, ShadowDecidesAndNeverServes) {
  const auto policy = *Policy::make(options_of(Mode::shadow));
  Truth truth;
  std::uint64_t would = 0;
  for (const Asked& asked : stream(2'000, 2))
    would += step(*policy, asked, truth).reason == Reason::shadow ? 1U : 0U;
  EXPECT_EQ(truth.hits, 0U);
  EXPECT_GT(would, 100U);
}

TEST(Policy, HaltedServesNothingUntilResumedAndSaysWhy) {
  const auto policy = *Policy::make(options_of());
  Truth truth;
  const auto asked = stream(3'000, 3);
  for (std::size_t i = 0; i < 2'000; ++i) step(*policy, asked[i], truth);
  const std::uint64_t before = truth.hits;
  EXPECT_GT(before, 0U);
  policy->halt("the judge's budget is spent");
  for (std::size_t i = 2'000; i < 2'500; ++i) step(*policy, asked[i], truth);
  EXPECT_EQ(truth.hits, before);
  EXPECT_EQ(policy->status({0.05, Of::requests}).halted_because, "the judge's budget is spent");
  policy->resume();
  for (std::size_t i = 2'500; i < 3'000; ++i) step(*policy, asked[i], truth);
  EXPECT_GT(truth.hits, before);
}

TEST(Policy, AnswersNeverCrossPartitions) {
  const auto policy = *Policy::make(options_of(Mode::fixed));
  const auto asked = stream(1, 4, 0);
  const auto stored = *policy->insert(request_of(asked[0], "a"));
  EXPECT_EQ(policy->look(request_of(asked[0], "a"))->entry, stored);
  EXPECT_TRUE(policy->look(request_of(asked[0], "a"))->served());
  EXPECT_TRUE(policy->decide(request_of(asked[0], "b"))->candidates.empty());
}

TEST(Policy, WithoutAJudgeAFixedThresholdIsUnverifiedAndVetoesHold) {
  const auto policy = *Policy::make(options_of(Mode::fixed));
  Random random(1);
  const std::vector<float> vector = near_topic(1, random, 0);
  const Asked stored{"Can I cancel within 2 days?", vector, 0};
  ASSERT_TRUE(policy->insert(request_of(stored)));
  const auto same = *policy->decide(request_of({"can i cancel within two days", vector, 0}));
  EXPECT_TRUE(same.served() && same.unverified);
  const auto other = *policy->decide(request_of({"Can I cancel within 3 days?", vector, 0}));
  EXPECT_EQ(other.reason, Reason::vetoed);
  EXPECT_TRUE(other.candidates.front().vetoes.has(Veto::numbers));
}

TEST(Policy, AVetoedPromptIsNeitherServedNorLearned) {
  const auto policy = *Policy::make(options_of());
  Random random(1);
  const auto decision =
      *policy->decide(request_of({"What is the weather today?", near_topic(1, random, 0), 0}));
  EXPECT_EQ(decision.reason, Reason::vetoed);
  EXPECT_TRUE(decision.vetoes.has(Veto::time_sensitive));
  EXPECT_EQ(decision.ticket, 0U);
}

TEST(Policy, StaleTicketsAndForeignVerdictsChangeNothing) {
  const auto policy = *Policy::make(options_of());
  const auto asked = stream(2, 5);
  EXPECT_FALSE(policy->answered(99).question);
  const Ticket ticket = policy->decide(request_of(asked[0]))->ticket;
  policy->judged(ticket, Verdict::same);
  EXPECT_EQ(policy->entries(), 0U);
  EXPECT_NE(policy->answered(ticket).stored, 0);
  EXPECT_EQ(policy->answered(ticket).stored, 0);
  const Ticket dropped = policy->decide(request_of(asked[1]))->ticket;
  policy->dropped(dropped);
  EXPECT_EQ(policy->answered(dropped).stored, 0);
  EXPECT_EQ(policy->entries(), 1U);
}

TEST(Policy, BoundsHold) {
  Options options = options_of();
  options.max_entries = 50;
  options.max_partitions = 2;
  const auto policy = *Policy::make(options);
  Truth truth;
  for (const Asked& asked : stream(300, 6)) step(*policy, asked, truth, asked.topic % 2 == 0 ? "a" : "b");
  EXPECT_EQ(policy->entries(), 50U);
  const auto asked = stream(1, 7);
  EXPECT_EQ(policy->decide(request_of(asked[0], "c"))->reason, Reason::no_room);
}

TEST(Policy, ARemovedEntryIsNoCandidate) {
  const auto policy = *Policy::make(options_of(Mode::fixed));
  const auto asked = stream(1, 8);
  const EntryId entry = *policy->insert(request_of(asked[0]));
  policy->remove(entry);
  policy->remove(entry);
  EXPECT_TRUE(policy->look(request_of(asked[0]))->candidates.empty());
}

TEST(Policy, AWrongDimensionIsAnError) {
  const auto policy = *Policy::make(options_of());
  Asked asked = stream(1, 9)[0];
  asked.vector.pop_back();
  EXPECT_FALSE(policy->decide(request_of(asked)));
  EXPECT_FALSE(policy->insert(request_of(asked)));
}

TEST(Policy, PartitionsPoolTheirStatisticsAndAShiftedOneIsHaltedAlone) {
  const auto policy = *Policy::make(options_of());
  Truth truth;
  Random random(3);
  std::uint64_t late_hits = 0;
  const auto asked = stream(8'000, 10, 0.2F);
  for (std::size_t i = 0; i < asked.size(); ++i) {
    Asked each = asked[i];
    const std::uint64_t number = random.below(40);
    if (number == 0 && i > 4'000) each.topic = random.below(20);
    const bool served = step(*policy, each, truth, "p" + std::to_string(number)).served();
    late_hits += served && number == 0 && i > 7'000 ? 1U : 0U;
  }
  EXPECT_GT(truth.hits, 3'000U) << "no partition has seen more than 200 prompts";
  EXPECT_EQ(late_hits, 0U);
  EXPECT_EQ(policy->status({0.05, Of::requests}, "p0").state, State::halted);
  EXPECT_EQ(policy->status({0.05, Of::requests}, "p1").state, State::serving);
}

TEST(Replay, OneSeedOneResult) {
  ReplayOptions options;
  options.policy = options_of();
  options.bound = {0.05, Of::requests};
  options.judge_error = 0.05;
  const auto asked = stream(1'500, 11);
  std::vector<std::uint64_t> hits;
  for (int run = 0; run < 2; ++run) {
    const auto replay = *Replay::make(options);
    for (const Asked& each : asked)
      ASSERT_TRUE(replay->offer({each.text, "", each.vector, each.topic, false}));
    hits.push_back(replay->counts().semantic_hits);
    EXPECT_EQ(replay->counts().requests, asked.size());
  }
  EXPECT_EQ(hits[0], hits[1]);
  EXPECT_GT(hits[0], 0U);
}

TEST(Replay, AShuffleIsAPermutation) {
  auto order = Replay::shuffled(1'000, 7);
  EXPECT_EQ(order, Replay::shuffled(1'000, 7));
  EXPECT_NE(order, Replay::shuffled(1'000, 8));
  std::sort(order.begin(), order.end());
  for (std::uint32_t i = 0; i < 1'000; ++i) EXPECT_EQ(order[i], i);
}

}  // namespace
}  // namespace sentinel::semantic
