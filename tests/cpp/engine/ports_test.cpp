// A Python provider as the engine sees it: queue, deadlines, credit, and answers that come too late.
#include "sentinel/engine/ports.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/runner_support.hpp"

namespace sentinel::engine {
namespace {

// The port of a test: keeps what it was asked.
class TestPort final : public ProviderPort {
 public:
  bool ask(ProviderRequest request, std::shared_ptr<ProviderCredit> given) override {
    const std::lock_guard lock(mutex_);
    if (full) return false;
    asked_.push_back(std::move(request));
    credit = std::move(given);
    changed_.notify_all();
    return true;
  }
  void resume(std::uint64_t) override {
    ++resumed;
    changed_.notify_all();
  }
  void withdraw(std::uint64_t call_id) override {
    const std::lock_guard lock(mutex_);
    withdrawn_.push_back(call_id);
    changed_.notify_all();
  }

  ProviderRequest wait_for_request() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, net::kTestPatience, [this] { return !asked_.empty(); }));
    return asked_.empty() ? ProviderRequest{} : asked_.back();
  }
  bool wait_for_withdrawal() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, net::kTestPatience, [this] { return !withdrawn_.empty(); });
  }
  std::size_t withdrawals() {
    const std::lock_guard lock(mutex_);
    return withdrawn_.size();
  }

  bool full = false;
  std::atomic<int> resumed{0};
  std::shared_ptr<ProviderCredit> credit;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ProviderRequest> asked_;
  std::vector<std::uint64_t> withdrawn_;
};

class Providers : public Runners {
 protected:
  void SetUp() override {
    SnapshotText text;
    text.upstreams = "[" + SnapshotText::upstream("up", "python", "") + "]";
    service.configure(text);
    Runners::SetUp();
  }

  void answer_head(std::uint64_t id, int status, const std::string& type) {
    ProviderAnswer answer;
    answer.status = status;
    answer.headers = {{"Content-Type", type}};
    runner.answer(id, std::move(answer));
  }
  void answer_data(std::uint64_t id, const std::string& data) {
    ProviderAnswer answer;
    answer.data = data;
    port->credit->waiting_bytes += static_cast<std::int64_t>(data.size());
    runner.answer(id, std::move(answer));
  }
  void answer_end(std::uint64_t id) {
    ProviderAnswer answer;
    answer.end = true;
    runner.answer(id, std::move(answer));
  }
  void answer_failure(std::uint64_t id, const std::string& text) {
    ProviderAnswer answer;
    answer.failure = text;
    runner.answer(id, std::move(answer));
  }

  std::shared_ptr<TestPort> port = std::make_shared<TestPort>();
};

TEST_F(Providers, APlainAnswerIsTreatedLikeAnUpstreams) {
  start(kPlainRequest, port);
  const auto request = port->wait_for_request();
  EXPECT_EQ(request.upstream, "up");
  EXPECT_EQ(request.endpoint, "chat/completions");
  EXPECT_EQ(request.model, "gpt");
  EXPECT_FALSE(request.stream);
  EXPECT_EQ(request.body, kPlainRequest);
  answer_head(request.call_id, 200, "application/json");
  answer_data(request.call_id, kAnswer.substr(0, 10));
  answer_data(request.call_id, kAnswer.substr(10));
  answer_end(request.call_id);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->text(), kAnswer);
  EXPECT_EQ(only_record().completion_tokens, 5);
  EXPECT_EQ(port->withdrawals(), 0U);
}

TEST_F(Providers, AStreamIsRelayedAndItsUsageChunkWithheld) {
  start(kStreamRequest, port);
  const auto request = port->wait_for_request();
  EXPECT_TRUE(request.stream);
  answer_head(request.call_id, 200, "text/event-stream");
  answer_data(request.call_id, kDelta);
  ASSERT_TRUE(client->wait_for_text("Hel"));
  answer_data(request.call_id, kUsageChunk + kDone);
  answer_end(request.call_id);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->text(), kDelta + kDone);
  EXPECT_EQ(only_record().outcome, journal::Outcome::done);
}

TEST_F(Providers, AFullQueueIsOverloaded) {
  port->full = true;
  start(kPlainRequest, port);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->status(), 503);
  const auto record = only_record();
  EXPECT_EQ(record.error_code, "overloaded");
  EXPECT_EQ(record.prompt_tokens, 0);
}

TEST_F(Providers, WithoutAProviderTheTargetIsNotImplemented) {
  start(kPlainRequest, nullptr);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->status(), 501);
  EXPECT_EQ(only_record().outcome, journal::Outcome::refused);
}

TEST_F(Providers, AFailureIsAnUpstreamErrorBeforeTheHead) {
  start(kPlainRequest, port);
  answer_failure(port->wait_for_request().call_id, "boom");
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->status(), 502);
  EXPECT_EQ(only_record().outcome, journal::Outcome::upstream_error);
}

TEST_F(Providers, AFailureInAStreamIsAnErrorEventAfterWhatCame) {
  start(kStreamRequest, port);
  const auto id = port->wait_for_request().call_id;
  answer_head(id, 200, "text/event-stream");
  answer_data(id, kDelta);
  answer_failure(id, "boom");
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_TRUE(client->text().starts_with(kDelta));
  const auto record = only_record();
  EXPECT_EQ(record.outcome, journal::Outcome::upstream_cut);
  EXPECT_EQ(record.completion_tokens, 1);
}

TEST_F(Providers, AStatusThatIsNoneIsRefused) {
  start(kPlainRequest, port);
  answer_head(port->wait_for_request().call_id, 99, "text/plain");
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->status(), 502);
}

TEST_F(Providers, HeadersThatCannotBeHeadersDoNotReachTheClient) {
  start(kPlainRequest, port);
  const auto id = port->wait_for_request().call_id;
  answer_head(id, 200, "application/json\r\nx-injected: 1");
  answer_data(id, kAnswer);
  answer_end(id);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(client->header("content-type"), "(none)");
}

TEST_F(Providers, SilenceEndsAtTheFirstByteDeadlineAndTheTaskIsWithdrawn) {
  start(kPlainRequest, port);
  const auto id = port->wait_for_request().call_id;
  ASSERT_TRUE(pass_until_end());
  EXPECT_EQ(client->status(), 504);
  EXPECT_TRUE(port->wait_for_withdrawal());
  answer_head(id, 200, "application/json");
  answer_end(id);
  EXPECT_EQ(only_record().error_code, "upstream_timeout") << "a late answer finds nobody";
}

TEST_F(Providers, SilenceInAStreamEndsAtTheIdleDeadline) {
  start(kStreamRequest, port);
  const auto id = port->wait_for_request().call_id;
  answer_head(id, 200, "text/event-stream");
  answer_data(id, kDelta);
  ASSERT_TRUE(client->wait_for_text("Hel"));
  ASSERT_TRUE(pass_until_end());
  EXPECT_NE(client->text().find("upstream_timeout"), std::string::npos);
  EXPECT_TRUE(port->wait_for_withdrawal());
}

TEST_F(Providers, LeavingWithdrawsTheTask) {
  const auto flow = start(kStreamRequest, port);
  port->wait_for_request();
  runner.stop(flow, StopReason::client_gone);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_TRUE(port->wait_for_withdrawal());
  EXPECT_EQ(only_record().outcome, journal::Outcome::client_gone);
}

TEST_F(Providers, ShutdownEndsACallThatNobodyAnswers) {
  start(kStreamRequest, port);
  port->wait_for_request();
  runner.stop_all(StopReason::shutdown);
  ASSERT_TRUE(client->wait_for_end());
  EXPECT_EQ(only_record().outcome, journal::Outcome::shutdown);
}

TEST_F(Providers, CreditComesBackAsTheEngineTakesAndAWaitingProviderIsResumed) {
  start(kStreamRequest, port);
  const auto id = port->wait_for_request().call_id;
  answer_head(id, 200, "text/event-stream");
  port->credit->provider_waits.store(true);
  answer_data(id, kDelta);
  answer_data(id, kDelta + kDone);
  answer_end(id);
  ASSERT_TRUE(client->wait_for_end());
  runner.stop_all(StopReason::shutdown);
  runner.join();
  EXPECT_EQ(port->resumed.load(), 1);
  EXPECT_EQ(port->credit->waiting_bytes.load(), 0);
}

}  // namespace
}  // namespace sentinel::engine
