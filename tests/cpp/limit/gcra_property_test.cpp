// A million exchanges of one bucket against a model that is slow to write but plain: exact fractions, absolute arrival
// times, a list of what is open. And the promise itself, checked on what was admitted.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "sentinel/base/random.hpp"
#include "sentinel/limit/gcra.hpp"

namespace sentinel::limit {
namespace {

// A fraction whose denominator is the rate's amount: microseconds on the axis of arrival times.
struct Fraction {
  Int128 numerator;
  Int128 denominator;

  friend bool operator<=(const Fraction& left, const Fraction& right) {
    return left.numerator * right.denominator <= right.numerator * left.denominator;
  }
};

struct Open {
  std::int64_t cost;
  Duration at;
  std::size_t admitted;  // its place among the admitted
};

class Model {
 public:
  explicit Model(const Rate& rate) : rate_(rate), arrival_{0, rate.amount()} {}

  void time(Duration now) { latest_ = std::max(latest_, now); }  // of what changes it; a refusal does not

  // GCRA as written: pass if the arrival time, with all that is held and this cost, is within burst intervals of now.
  bool passes(std::int64_t cost, Duration now) const {
    const Duration at = std::max(latest_, now);
    const Fraction due{reached(at).numerator + interval((held_ + Int128{cost})), rate_.amount()};
    const Fraction allowed{Int128{at.count()} * rate_.amount() + interval(rate_.burst()), rate_.amount()};
    return due <= allowed;
  }
  std::int64_t remaining(Duration now) const {
    const Duration at = std::max(latest_, now);
    const Int128 room = interval(rate_.burst() - Int128{held_}) -
                        (reached(at).numerator - Int128{at.count()} * rate_.amount());
    return room <= 0 ? 0 : static_cast<std::int64_t>(room / rate_.period().count());
  }
  void hold(std::int64_t cost) { held_ += cost; }
  void charge(std::int64_t cost) {
    arrival_ = reached(latest_);
    arrival_.numerator += interval(cost);
  }
  void uncharge(std::int64_t cost, Duration at) {
    arrival_ = reached(latest_);
    const Int128 left = interval(cost) - Int128{(latest_ - at).count()} * rate_.amount();
    if (left > 0) arrival_.numerator -= left;
  }

 private:
  Int128 interval(Int128 cost) const { return cost * rate_.period().count(); }  // in the numerator
  Fraction reached(Duration at) const {
    return {std::max(arrival_.numerator, Int128{at.count()} * rate_.amount()), rate_.amount()};
  }

  Rate rate_;
  Fraction arrival_;
  Int128 held_ = 0;
  Duration latest_{0};
};

struct Admitted {
  Duration at;
  std::int64_t cost;     // as settled; as reserved until then
  std::int64_t overrun;  // settled above the reservation
};

// Every window at once: sum(i..j) <= burst + rate x (t_j - t_i) is a bound on differences of one prefix sum.
bool within_bound_in_every_window(const std::vector<Admitted>& admitted, const Rate& rate) {
  Int128 sum = 0;
  Int128 lowest = 0;
  for (const Admitted& one : admitted) {
    const Int128 flowed = Int128{one.at.count()} * rate.amount();
    lowest = admitted.data() == &one ? -flowed : std::min(lowest, sum - flowed);
    sum += Int128{one.cost - one.overrun} * rate.period().count();
    if (sum - flowed - lowest > Int128{rate.burst()} * rate.period().count()) return false;
  }
  return true;
}

class Exchanges {
 public:
  Exchanges(std::uint64_t seed, bool overruns)
      : random_(seed), rate_(random_rate(random_)), model_(rate_), overruns_(overruns) {}

  void step() {
    move_time();
    const auto choice = random_.below(10);
    if (choice < 5 || open_.empty()) return admit();
    end(choice);
  }
  bool bound_holds() const { return within_bound_in_every_window(admitted_, rate_); }

 private:
  static Rate random_rate(Random& random) {
    const auto amount = static_cast<std::int64_t>(1 + random.below(1 + random.below(2'000)));
    const auto burst = static_cast<std::int64_t>(1 + random.below(200));
    const Duration period{static_cast<std::int64_t>(1 + random.below(1 + random.below(10'000'000)))};
    return *Rate::make(Kind::tokens, amount, period, burst);
  }

  // Mostly steps of about one interval, some idle times, some of none, and a few backwards.
  void move_time() {
    const auto interval = static_cast<std::uint64_t>(rate_.period().count() / rate_.amount() + 1);
    const auto step = static_cast<std::int64_t>(random_.below(interval * 4));
    const auto choice = random_.below(16);
    if (choice == 0) now_ += Duration{step * rate_.burst()};
    if (choice == 1) now_ = std::max(Duration{0}, now_ - Duration{step});
    if (choice > 5) now_ += Duration{step};
  }

  void admit() {
    const auto cost =
        static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(rate_.burst()) / 3 + 2));
    const bool hold = random_.below(3) != 0;
    const bool expected = model_.passes(cost, now_);
    const Decision decision =
        hold ? try_reserve(bucket_, rate_, now_, cost) : try_charge(bucket_, rate_, now_, cost);
    ASSERT_EQ(decision.allowed(), expected);
    if (!expected) {
      ASSERT_EQ(decision.remaining, model_.remaining(now_));
      if (decision.verdict == Verdict::never || !open_.empty()) return;  // with some open the wait is a guess
      const Duration then = std::max(bucket_.as_of, now_) + decision.retry_after;
      ASSERT_TRUE(model_.passes(cost, then));
      ASSERT_FALSE(model_.passes(cost, then - Duration{1}));
      return;
    }
    model_.time(now_);
    hold ? model_.hold(cost) : model_.charge(cost);
    ASSERT_EQ(decision.remaining, model_.remaining(now_));
    (hold ? open_ : charged_).push_back({cost, bucket_.as_of, admitted_.size()});
    admitted_.push_back({bucket_.as_of, cost, 0});
  }

  static Open take_one(std::vector<Open>& from, Random& random) {
    std::swap(from[static_cast<std::size_t>(random.below(from.size()))], from.back());
    const Open one = from.back();
    from.pop_back();
    return one;
  }

  void end(std::uint64_t choice) {
    model_.time(now_);
    if (choice == 9 && !charged_.empty()) {
      const Open one = take_one(charged_, random_);
      uncharge(bucket_, rate_, now_, one.cost, one.at);
      model_.uncharge(one.cost, one.at);
      admitted_[one.admitted].cost = 0;
      return;
    }
    const Open one = take_one(open_, random_);
    const auto most = static_cast<std::uint64_t>(one.cost) * (overruns_ ? 2 : 1) + 1;
    const auto actual = choice == 5 ? 0 : static_cast<std::int64_t>(random_.below(most));
    settle(bucket_, rate_, now_, one.cost, actual);
    model_.hold(-one.cost);
    model_.charge(actual);
    admitted_[one.admitted] = {admitted_[one.admitted].at, actual,
                               std::max<std::int64_t>(0, actual - one.cost)};
  }

  Random random_;
  Rate rate_;
  Model model_;
  bool overruns_;
  Gcra bucket_;
  Duration now_{0};
  std::vector<Open> open_;
  std::vector<Open> charged_;
  std::vector<Admitted> admitted_;
};

TEST(GcraProperty, B11_B14_AMillionExchangesDecideAsTheModelAndStayWithinBurstPlusRateTimesWindow) {
  constexpr int kRuns = 2'000;
  constexpr int kSteps = 500;
  for (int seed = 0; seed < kRuns; ++seed) {
    Exchanges run(static_cast<std::uint64_t>(seed), seed % 2 == 1);
    for (int i = 0; i < kSteps; ++i) {
      run.step();
      ASSERT_FALSE(testing::Test::HasFatalFailure()) << "seed " << seed << ", step " << i;
    }
    ASSERT_TRUE(run.bound_holds()) << "seed " << seed;
  }
}

TEST(GcraProperty, TheWindowCheckItselfFindsABurstThatIsOneTooLarge) {
  const Rate rate = *Rate::parse("60/min burst 10");
  EXPECT_TRUE(within_bound_in_every_window({{Duration{0}, 10, 0}, {std::chrono::seconds{5}, 5, 0}}, rate));
  EXPECT_FALSE(within_bound_in_every_window({{Duration{0}, 10, 0}, {std::chrono::seconds{5}, 6, 0}}, rate));
  EXPECT_FALSE(within_bound_in_every_window({{std::chrono::seconds{9}, 11, 0}}, rate));
}

}  // namespace
}  // namespace sentinel::limit
