// Manual page and completion of a small parser: everything that is in it appears, nothing else.
#include <gtest/gtest.h>

#include "cli-help/command_help.h"
#include "cli-help/from_cli11.h"

namespace xsched_hsa {
namespace {

class CliHelpTest : public ::testing::Test {
 protected:
  CliHelpTest() {
    app_.name("tool");
    app_.add_option("--level", level_, "How much")->check(CLI::IsMember({"low", "high"}));
    CLI::App* show = app_.add_subcommand("show", "Shows a thing");
    show->add_option("thing", thing_, "Which")->required();
    show->add_flag("--json", json_, "As JSON");
    show->add_option("--secret", thing_, "Not for people")->group("");
    CLI::App* config = app_.add_subcommand("config", "Configuration");
    config->add_subcommand("check", "Reads it")->add_option("--file", thing_, ".dotted text");
  }
  std::string level_, thing_;
  bool json_ = false;
  CLI::App app_{"tool: does things"};
};

TEST_F(CliHelpTest, ManPageHasEveryOptionAndCommandAndNoHiddenOne) {
  const std::string page =
      ManPage(DescribeCommand(app_), {8, "1.2", "First.\n\nSecond.", {{"FILES", "None."}}});
  for (const char* part :
       {".TH TOOL 8", "tool \\- does things", "\\-\\-level", "One of low, high", "show", "THING",
        "\\-\\-json", "config", "\\-\\-file", "xsched\\-hsa 1.2", ".SH FILES", "Second."}) {
    EXPECT_NE(page.find(part), std::string::npos) << part << "\n" << page;
  }
  EXPECT_EQ(page.find("secret"), std::string::npos);
  // A text that begins with a dot would be a request to the formatter.
  EXPECT_EQ(page.find("\n.dotted"), std::string::npos);
}

TEST_F(CliHelpTest, CompletionKnowsWordsAndValues) {
  const std::string text = BashCompletion(DescribeCommand(app_));
  EXPECT_NE(text.find("'') words='show config"), std::string::npos) << text;
  EXPECT_NE(text.find("'--level') values='low high'"), std::string::npos) << text;
  EXPECT_NE(text.find("'config check --file') values='-'"), std::string::npos) << text;
  EXPECT_NE(text.find("complete -F _tool tool\n"), std::string::npos);
  EXPECT_EQ(text.find("secret"), std::string::npos);
}

}  // namespace
}  // namespace xsched_hsa
