// What outlives a restart: the file is the old state or the new one, and never half of either (B25).
#include "sentinel/engine/state_file.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "engine/support.hpp"

namespace sentinel::engine {
namespace {

class StateFiles : public ::testing::Test {
 protected:
  std::string content() {
    std::ifstream written(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(written), {}};
  }
  void write(std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

  TemporaryDirectory directory;
  const std::string path = directory.path() + "/state";
  StateFile file{path};
};

TEST_F(StateFiles, NoFileIsNoState) {
  const auto loaded = file.load();
  ASSERT_TRUE(loaded);
  EXPECT_FALSE(*loaded);
}

TEST_F(StateFiles, WhatWasSavedIsLoadedWithAllItsBytes) {
  for (const KeptState& state : {KeptState{}, KeptState{std::string("\0\n9\xff", 4), "2 0 1 5 up/a\n"},
                                 KeptState{"limits", ""}, KeptState{"", "breakers"}}) {
    ASSERT_TRUE(file.save(state));
    const auto loaded = StateFile(path).load();
    ASSERT_TRUE(loaded);
    EXPECT_EQ(**loaded, state);
  }
}

TEST_F(StateFiles, EveryDamageIsRefused) {
  ASSERT_TRUE(file.save({"the limits", "the breakers"}));
  const std::string whole = content();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    write(flipped);
    EXPECT_FALSE(file.load()) << "bit flipped at " << at;
    write(whole.substr(0, at));
    EXPECT_FALSE(file.load()) << "cut at " << at;
  }
  write(whole + "x");
  EXPECT_FALSE(file.load());
  write("");
  const auto empty = file.load();
  ASSERT_FALSE(empty);
  EXPECT_NE(empty.error().message.find(path), std::string::npos) << "it names the file";
}

TEST_F(StateFiles, AnUnchangedStateIsNotWrittenAgain) {
  ASSERT_TRUE(file.save({"a", "b"}));
  std::filesystem::remove(path);
  ASSERT_TRUE(file.save({"a", "b"}));
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_TRUE(file.save({"a", "c"}));
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST_F(StateFiles, NothingIsLeftBesideItAndOnlyItsOwnerMayReadIt) {
  ASSERT_TRUE(file.save({"a", "b"}));
  std::size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory.path())) ++entries;
  EXPECT_EQ(entries, 1U);
  EXPECT_EQ(std::filesystem::status(path).permissions() & std::filesystem::perms::all,
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(StateFiles, AHalfWrittenSuccessorLeavesTheOldStateInForce) {
  ASSERT_TRUE(file.save({"old", ""}));
  std::ofstream(path + ".new") << "half of";
  const auto loaded = file.load();
  ASSERT_TRUE(loaded && *loaded);
  EXPECT_EQ((*loaded)->limits, "old");
  ASSERT_TRUE(file.save({"new", ""}));
  EXPECT_EQ((*StateFile(path).load())->limits, "new");
}

TEST_F(StateFiles, ADirectoryThatCannotBeWrittenIsAnErrorThatNamesIt) {
  const Status saved = StateFile("/proc/nowhere/state").save({"a", "b"});
  ASSERT_FALSE(saved);
  EXPECT_NE(saved.error().message.find("/proc/nowhere/state"), std::string::npos);
}

}  // namespace
}  // namespace sentinel::engine
