// A loop that carries a flight's commands out at once and checks the contract as it goes.
//
// Every byte of the answer at offset i is byte_at(i), so each consumer's bytes can be checked without a copy.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "resilience/moments.hpp"
#include "sentinel/resilience/flight.hpp"

namespace sentinel::resilience {

inline char byte_at(std::uint64_t offset) { return static_cast<char>((offset * 2654435761U) >> 7U); }

class FlightLoop {
 public:
  struct Client {
    std::uint64_t received = 0;
    std::uint64_t consumed = 0;
    bool left = false;
    std::optional<FinishReason> finish;
    bool present() const { return !left && !finish; }
  };

  FlightLoop(FlightForm form, FlightSettings settings)
      : settings_(settings), flight_(form, kPayer, settings) {}

  Flight& flight() { return flight_; }
  Client& client(ConsumerId id) { return clients_.at(id); }
  std::map<ConsumerId, Client>& clients() { return clients_; }
  bool reading() const { return reading_; }
  int cancelled() const { return cancelled_; }
  const std::optional<Settle>& settled() const { return settled_; }
  std::optional<ConsumerId> told_leader() const { return told_leader_; }

  std::optional<ConsumerId> join(FlightForm form) {
    FlightCommands out;
    const auto id = flight_.join(form, out);
    if (id) clients_[*id];
    if (id && flight_.consumers() == 1 && !told_leader_) told_leader_ = id;
    carry(out);
    return id;
  }
  void leave(ConsumerId id) {
    if (clients_.at(id).present()) clients_.at(id).left = true;
    FlightCommands out;
    flight_.leave(id, at(now_), out);
    carry(out);
  }
  void send(std::uint64_t size) {
    std::string text(size, '\0');
    for (std::uint64_t i = 0; i < size; ++i) text[i] = byte_at(flight_.received_bytes() + i);
    FlightCommands out;
    flight_.bytes(std::make_shared<const std::string>(std::move(text)), out);
    carry(out);
  }
  void consume(ConsumerId id, std::uint64_t size) {
    Client& reader = clients_.at(id);
    reader.consumed += size;
    FlightCommands out;
    flight_.consumed(id, size, out);
    carry(out);
  }
  void consume_all(ConsumerId id) {
    while (client(id).consumed < client(id).received) consume(id, client(id).received - client(id).consumed);
  }
  void end() {
    FlightCommands out;
    flight_.end(out);
    carry(out);
  }
  void fail() {
    FlightCommands out;
    flight_.error({ErrorCode::upstream_error, "the upstream cut the answer"}, out);
    carry(out);
  }
  void tick(Duration now) {
    now_ = now;
    FlightCommands out;
    flight_.tick(at(now), out);
    carry(out);
  }

  static constexpr std::uint64_t kPayer = 77;

 private:
  void carry(const FlightCommands& commands) {
    for (const FlightCommand& command : commands) {
      std::visit([this](const auto& one) { carry(one); }, command);
    }
  }
  void carry(const ReadMore&) {
    EXPECT_FALSE(reading_) << "reading is told only when it changes";
    EXPECT_FALSE(settled_);
    reading_ = true;
  }
  void carry(const Pause&) {
    EXPECT_TRUE(reading_);
    reading_ = false;
  }
  void carry(const Deliver& deliver) {
    Client& reader = clients_.at(deliver.consumer);
    EXPECT_TRUE(reader.present()) << "nothing is delivered to those who are gone";
    EXPECT_EQ(deliver.begin, reader.received) << "in order, no byte twice, none left out";
    EXPECT_LE(deliver.end - reader.consumed, settings_.credit_bytes);
    std::uint64_t offset = deliver.begin;
    for (const Slice& slice : flight_.slices(deliver.begin, deliver.end)) {
      bool right = true;
      for (const char byte : slice.bytes) right = byte == byte_at(offset++) && right;
      EXPECT_TRUE(right) << "wrong bytes before " << offset;
    }
    EXPECT_EQ(offset, deliver.end);
    reader.received = deliver.end;
  }
  void carry(const Finish& finish) {
    Client& reader = clients_.at(finish.consumer);
    EXPECT_TRUE(reader.present()) << "exactly one finish, and none after leaving";
    if (finish.reason != FinishReason::slow_reader) {
      EXPECT_TRUE(settled_.has_value());
      EXPECT_EQ(reader.received, flight_.received_bytes()) << "the end comes after every byte";
    }
    reader.finish = finish.reason;
  }
  void carry(const HandOver& hand_over) {
    EXPECT_TRUE(clients_.at(hand_over.leader).present());
    told_leader_ = hand_over.leader;
  }
  void carry(const CancelUpstream&) { ++cancelled_; }
  void carry(const Settle& settle) {
    EXPECT_FALSE(settled_) << "exactly one settle";
    EXPECT_EQ(settle.payer, kPayer) << "hand-over does not move the cost";
    settled_ = settle;
    reading_ = false;
  }

  FlightSettings settings_;
  Flight flight_;
  std::map<ConsumerId, Client> clients_;
  bool reading_ = false;
  int cancelled_ = 0;
  std::optional<Settle> settled_;
  std::optional<ConsumerId> told_leader_;
  Duration now_{0};
};

}  // namespace sentinel::resilience
