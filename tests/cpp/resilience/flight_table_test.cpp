#include "sentinel/resilience/flight_table.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace sentinel::resilience {
namespace {

struct Call {
  explicit Call(FlightForm form) : held(form, 1, FlightSettings{}) {
    FlightCommands out;
    held.join(form, out);
  }
  Flight& flight() { return held; }
  Flight held;
};

FlightKey key(std::uint8_t partition, std::uint8_t identity, std::uint8_t right) {
  FlightKey made{};
  made.partition.back() = partition;
  made.identity.back() = identity;
  made.right.back() = right;
  return made;
}

constexpr auto kPlain = FlightForm::plain;
constexpr auto kStream = FlightForm::stream;

TEST(FlightTable, S27OnlyTheSamePartitionIdentityAndRightMeet) {
  FlightTable<Call> table;
  const auto call = std::make_shared<Call>(kStream);
  table.add(key(1, 1, 1), call);
  EXPECT_EQ(table.find(key(1, 1, 1), kStream), call);
  EXPECT_EQ(table.find(key(2, 1, 1), kStream), nullptr);
  EXPECT_EQ(table.find(key(1, 2, 1), kStream), nullptr);
  EXPECT_EQ(table.find(key(1, 1, 2), kStream), nullptr);
}

TEST(FlightTable, APlainCallerPrefersTheStreamAndAStreamingOneNeverFindsAPlainCall) {
  FlightTable<Call> table;
  const auto plain = std::make_shared<Call>(kPlain);
  table.add(key(1, 1, 1), plain);
  EXPECT_EQ(table.find(key(1, 1, 1), kPlain), plain);
  EXPECT_EQ(table.find(key(1, 1, 1), kStream), nullptr);
  const auto stream = std::make_shared<Call>(kStream);
  table.add(key(1, 1, 1), stream);
  EXPECT_EQ(table.find(key(1, 1, 1), kPlain), stream);
  EXPECT_EQ(table.find(key(1, 1, 1), kStream), stream);
}

TEST(FlightTable, AFlightThatTakesNoJoinerIsNotFoundAndItsRemovalLeavesItsSuccessor) {
  FlightTable<Call> table;
  const auto old = std::make_shared<Call>(kStream);
  table.add(key(1, 1, 1), old);
  FlightCommands out;
  old->flight().end(out);
  EXPECT_EQ(table.find(key(1, 1, 1), kStream), nullptr);
  const auto successor = std::make_shared<Call>(kStream);
  table.add(key(1, 1, 1), successor);
  table.remove(key(1, 1, 1), *old);
  EXPECT_EQ(table.find(key(1, 1, 1), kStream), successor);
  table.remove(key(1, 1, 1), *successor);
  EXPECT_EQ(table.size(), 0U);
}

}  // namespace
}  // namespace sentinel::resilience
