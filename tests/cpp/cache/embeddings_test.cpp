#include "sentinel/cache/embeddings.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace sentinel::cache {
namespace {

using Views = std::vector<std::string_view>;

Views items_of(std::string_view body) {
  const auto items = EmbeddingItems::read(body);
  return items ? items->raw : Views{};
}

std::string with_input(const std::string& input) {
  return R"({"model":"m","input":)" + input + R"(,"user":"u"})";
}

TEST(EmbeddingItems, every_form_of_input_gives_its_items) {
  EXPECT_EQ(items_of(with_input(R"("one")")), Views{R"("one")"});
  EXPECT_EQ(items_of(with_input(R"([ "a,]" , "b\"c", "" ])")), (Views{R"("a,]")", R"("b\"c")", R"("")"}));
  EXPECT_EQ(items_of(with_input("[1, 2,3]")), Views{"[1, 2,3]"});
  EXPECT_EQ(items_of(with_input("[[1],[2,3]]")), (Views{"[1]", "[2,3]"}));
  EXPECT_TRUE(EmbeddingItems::read(with_input("[[1],[2,3]]"))->tokens);
  EXPECT_FALSE(EmbeddingItems::read(with_input(R"(["1"])"))->tokens);
  EXPECT_EQ(EmbeddingItems::read(" \n" + with_input(R"(["1","2"])") + "\n")->count(), 2U);
}

TEST(EmbeddingItems, an_input_of_another_shape_has_none) {
  for (const char* input : {"null", "1", "{}", "[]", R"(["a",1])", R"([1,"a"])", R"([[1],"a"])", R"([["a"]])",
                            "[1.5]", "[-1]", "[null]", R"([{"a":1}])", R"("a","input":"b")"}) {
    EXPECT_FALSE(EmbeddingItems::read(with_input(input))) << input;
    if (std::string_view(input).find("input") != std::string_view::npos) {
      EXPECT_FALSE(request_with_items(with_input(input), {})) << input;
    }
  }
  EXPECT_FALSE(EmbeddingItems::read(R"({"model":"m"})"));
  EXPECT_FALSE(EmbeddingItems::read(R"({"\u0069nput":"b","input":"a"})"));
  EXPECT_FALSE(EmbeddingItems::read("[]"));
  EXPECT_FALSE(EmbeddingItems::read(""));
}

TEST(EmbeddingRequest, all_but_the_input_stays_byte_for_byte) {
  const std::string before =
      "{ \"model\" : \"m\\u00e9\",\n \"dimensions\": 1e2, \"x\":{\"input\":[9]}, \"input\" : ";
  const std::string after = " ,\"encoding_format\":\"base64\"}\n";
  const std::string body = before + R"([ "a", "b" ,"c"])" + after;
  const Views all = items_of(body);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(request_with_items(body, Views{all[2], all[0]}), before + R"(["c","a"])" + after);
  EXPECT_EQ(request_with_items(before + R"("a")" + after, Views{R"("a")"}), before + R"(["a"])" + after);
  EXPECT_EQ(request_with_items(before + "[1,2]" + after, Views{"[1,2]"}), before + "[[1,2]]" + after);
}

class EmbeddingReplyTest : public ::testing::Test {
 protected:
  stream::JsonParser json_;
};

std::string entry(int index, const std::string& vector) {
  return R"({"object":"embedding","index":)" + std::to_string(index) + R"(,"embedding":)" + vector + "}";
}

std::string reply(const std::string& entries, const std::string& more = "") {
  return R"({"object":"list","data":[)" + entries +
         R"(],"model":"m-1","usage":{"prompt_tokens":8,"total_tokens":9})" + more + "}\n";
}

TEST_F(EmbeddingReplyTest, vectors_come_by_index_with_every_digit) {
  const std::string second = "[-0.01234567890123456789,1e-7,\n   0]";
  const auto parts = split_reply(reply(entry(1, second) + "," + entry(0, R"("AAAA/+8=")")), 2, json_);
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->raw_model, "\"m-1\"");
  EXPECT_EQ(parts->embeddings,
            (std::vector<std::string>{R"("AAAA/+8=")", "[-0.01234567890123456789,1e-7,0]"}));
  EXPECT_EQ(parts->usage, (EmbeddingUsage{8, 9}));
}

TEST_F(EmbeddingReplyTest, a_reply_that_is_not_exactly_what_was_asked_is_not_split) {
  const std::string good = entry(0, "[1]") + "," + entry(1, "[2]");
  ASSERT_TRUE(split_reply(reply(good), 2, json_));
  EXPECT_TRUE(split_reply(reply(good, R"(,"id":"e","created":1)"), 2, json_));
  const std::vector<std::string> bad = {
      "",
      "[]",
      "{",
      reply(""),
      reply(entry(0, "[1]")),
      reply(good + "," + entry(2, "[3]")),
      reply(entry(0, "[1]") + "," + entry(0, "[2]")),
      reply(entry(0, "[1]") + "," + entry(2, "[2]")),
      reply(entry(0, "[1]") + "," + entry(-1, "[2]")),
      reply(entry(0, "[1]") + "," + entry(1, "[]")),
      reply(entry(0, "[1]") + "," + entry(1, "\"\"")),
      reply(entry(0, "[1]") + "," + entry(1, "null")),
      reply(entry(0, "[1]") + "," + entry(1, "[null]")),
      reply(entry(0, "[1]") + "," + entry(1, "{}")),
      reply(entry(0, "[1]") + R"(,{"object":"embedding","index":1,"embedding":[2],"extra":1})"),
      reply(entry(0, "[1]") + R"(,{"object":"embedding","index":1,"index":1,"embedding":[2]})"),
      reply(entry(0, "[1]") + R"(,{"object":"other","index":1,"embedding":[2]})"),
      reply(entry(0, "[1]") + R"(,{"object":"embedding","embedding":[2]})"),
      reply(good, R"(,"warning":"w")"),
      reply(good, R"(,"error":{"message":"m"})"),
      R"({"data":[)" + good + R"(],"model":"m"})",
      R"({"object":"list","data":[)" + good + "]}",
  };
  for (const std::string& body : bad) EXPECT_FALSE(split_reply(body, 2, json_)) << body;
  EXPECT_FALSE(split_reply(reply(""), 0, json_));
  EXPECT_FALSE(split_reply(reply(good), std::size_t{1} << 40, json_));
}

TEST_F(EmbeddingReplyTest, a_reply_without_usage_has_none) {
  const auto parts =
      split_reply(R"({"object":"list","data":[)" + entry(0, "[1]") + R"(],"model":"m"})", 1, json_);
  ASSERT_TRUE(parts);
  EXPECT_FALSE(parts->usage);
}

TEST_F(EmbeddingReplyTest, what_is_put_together_splits_into_the_same) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> vectors(1 + random() % 20);
    for (std::string& vector : vectors)
      vector = "[0." + std::to_string(random()) + ",-1e-" + std::to_string(random() % 9) + "]";
    const Views views(vectors.begin(), vectors.end());
    const EmbeddingUsage usage{static_cast<std::int64_t>(random()), static_cast<std::int64_t>(random())};
    const std::string body = assemble_reply(views, R"("m\u00e9")", usage);
    const auto parts = split_reply(body, vectors.size(), json_);
    ASSERT_TRUE(parts) << body;
    EXPECT_EQ(parts->embeddings, vectors);
    EXPECT_EQ(parts->raw_model, R"("m\u00e9")");
    EXPECT_EQ(parts->usage, usage);
  }
}

TEST(EmbeddingReply, the_assembled_body_is_the_providers_shape) {
  EXPECT_EQ(assemble_reply(Views{"[1]", "\"AA==\""}, "\"m\"", {3, 4}),
            R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[1]},)"
            R"({"object":"embedding","index":1,"embedding":"AA=="}],"model":"m",)"
            R"("usage":{"prompt_tokens":3,"total_tokens":4}})");
}

TEST(EmbeddingUsageShares, they_sum_to_the_total_and_none_is_off_by_one_token) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::string> texts(1 + random() % 40);
    for (std::string& text : texts) text.assign(random() % 500, 'x');
    const Views items(texts.begin(), texts.end());
    const auto total = static_cast<std::int64_t>(random() % (std::uint64_t{1} << (random() % 53)));
    const auto shares = share_of_usage(total, items);
    ASSERT_EQ(shares.size(), items.size());
    EXPECT_EQ(std::accumulate(shares.begin(), shares.end(), std::int64_t{0}), total);
    const auto bytes = std::accumulate(
        texts.begin(), texts.end(), 0.0L,
        [](long double sum, const std::string& t) { return sum + static_cast<long double>(t.size()); });
    for (std::size_t i = 0; bytes > 0 && i < shares.size(); ++i) {
      const long double exact =
          static_cast<long double>(total) * static_cast<long double>(items[i].size()) / bytes;
      EXPECT_LT(static_cast<long double>(shares[i]) - exact, 1.0L);
      EXPECT_LT(exact - static_cast<long double>(shares[i]), 1.0L);
    }
  }
}

TEST(EmbeddingUsageShares, examples) {
  using Shares = std::vector<std::int64_t>;
  EXPECT_EQ(share_of_usage(10, Views{"ab", "ab", "ab"}), (Shares{4, 3, 3}));
  EXPECT_EQ(share_of_usage(10, Views{"", ""}), (Shares{5, 5}));
  EXPECT_EQ(share_of_usage(0, Views{"a"}), (Shares{0}));
  EXPECT_EQ(share_of_usage(-5, Views{"a"}), (Shares{0}));
  EXPECT_EQ(share_of_usage(5, Views{}), Shares{});
}

TEST(EmbeddingFuzz, any_bytes_may_be_given) {
  std::mt19937 random(11);
  stream::JsonParser json;
  const std::string request = with_input(R"(["a\u0041","b",[1,2]])");
  const std::string answer = reply(entry(0, "[1,2]") + "," + entry(1, R"("AA")"));
  const std::string alphabet = "[]{}\",:\\ \n0a-";
  for (int round = 0; round < 20000; ++round) {
    std::string text = round % 2 == 0 ? request : answer;
    for (unsigned i = 0; i < 1 + random() % 4; ++i)
      text[random() % text.size()] = alphabet[random() % alphabet.size()];
    text.resize(random() % (text.size() + 1) | 1U, '"');
    const auto items = EmbeddingItems::read(text);
    if (items) {
      const auto rebuilt = request_with_items(text, items->raw);
      ASSERT_TRUE(rebuilt);
    }
    (void)split_reply(text, 2, json);
  }
}

}  // namespace
}  // namespace sentinel::cache
