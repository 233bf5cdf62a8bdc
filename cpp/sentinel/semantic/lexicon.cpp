#include "sentinel/semantic/lexicon.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace sentinel::semantic::lexicon {
namespace {

using Entry = std::pair<std::string_view, std::uint32_t>;

template <std::size_t N>
constexpr std::array<std::string_view, N> sorted(std::array<std::string_view, N> words) {
  std::sort(words.begin(), words.end());
  return words;
}

template <std::size_t N>
constexpr std::array<Entry, N> sorted(std::array<Entry, N> entries) {
  std::sort(entries.begin(), entries.end());
  return entries;
}

constexpr auto kNegations = sorted(std::to_array<std::string_view>(
    {"not",     "no",       "never",     "none",    "nobody",   "nothing", "nowhere", "neither", "nor",
     "without", "cannot",   "cant",      "can't",   "dont",     "don't",   "doesnt",  "doesn't", "didnt",
     "didn't",  "wont",     "won't",     "wouldnt", "wouldn't", "isnt",    "isn't",   "arent",   "aren't",
     "wasnt",   "wasn't",   "werent",    "weren't", "hasnt",    "hasn't",  "havent",  "haven't", "hadnt",
     "hadn't",  "shouldnt", "shouldn't", "couldnt", "couldn't", "mustn't", "mustnt",  "needn't", "neednt",
     "ain't",   "aint",     "except",    "unless",  "hardly"}));

constexpr auto kFunctionWords = sorted(std::to_array<std::string_view>(
    {"a",        "an",    "the",     "i",        "me",        "my",     "mine",    "we",   "us",     "our",
     "you",      "your",  "he",      "she",      "it",        "its",    "they",    "them", "their",  "this",
     "that",     "these", "those",   "is",       "am",        "are",    "was",     "were", "be",     "been",
     "being",    "do",    "does",    "did",      "have",      "has",    "had",     "can",  "could",  "will",
     "would",    "shall", "should",  "may",      "might",     "must",   "to",      "of",   "in",     "on",
     "at",       "by",    "for",     "with",     "from",      "about",  "as",      "into", "and",    "or",
     "but",      "if",    "so",      "then",     "than",      "there",  "here",    "what", "which",  "who",
     "whom",     "whose", "when",    "where",    "why",       "how",    "please",  "just", "some",   "any",
     "also",     "too",   "very",    "i'm",      "im",        "i've",   "ive",     "i'd",  "id",     "it's",
     "what's",   "whats", "how's",   "where's",  "who's",     "that's", "there's", "ok",   "okay",   "hi",
     "hello",    "hey",   "thanks",  "thank",    "tell",      "know",   "want",    "need", "like",   "get",
     "let",      "us",    "way",     "possible", "up",        "out",    "one",     "got",  "kindly", "really",
     "actually", "maybe", "quickly", "question", "wondering", "well",   "oh",      "um",   "guys",   "sorry",
     "im",       "does"}));

constexpr auto kNumbers = sorted(std::to_array<Entry>({{"zero", 0},
                                                       {"two", 2},
                                                       {"three", 3},
                                                       {"four", 4},
                                                       {"five", 5},
                                                       {"six", 6},
                                                       {"seven", 7},
                                                       {"eight", 8},
                                                       {"nine", 9},
                                                       {"ten", 10},
                                                       {"eleven", 11},
                                                       {"twelve", 12},
                                                       {"thirteen", 13},
                                                       {"fourteen", 14},
                                                       {"fifteen", 15},
                                                       {"sixteen", 16},
                                                       {"seventeen", 17},
                                                       {"eighteen", 18},
                                                       {"nineteen", 19},
                                                       {"twenty", 20},
                                                       {"thirty", 30},
                                                       {"forty", 40},
                                                       {"fifty", 50},
                                                       {"sixty", 60},
                                                       {"seventy", 70},
                                                       {"eighty", 80},
                                                       {"ninety", 90},
                                                       {"hundred", 100},
                                                       {"thousand", 1'000},
                                                       {"million", 1'000'000},
                                                       {"billion", 1'000'000'000},
                                                       {"dozen", 12},
                                                       {"third", 3},
                                                       {"fourth", 4},
                                                       {"fifth", 5},
                                                       {"sixth", 6},
                                                       {"seventh", 7},
                                                       {"eighth", 8},
                                                       {"ninth", 9},
                                                       {"tenth", 10},
                                                       {"eleventh", 11},
                                                       {"twelfth", 12},
                                                       {"twice", 2},
                                                       {"double", 2},
                                                       {"triple", 3},
                                                       {"first", 1}}));

constexpr auto kCalendar = sorted(std::to_array<Entry>(
    {{"january", 1},     {"jan", 1},        {"february", 2},  {"feb", 2},           {"march", 3},
     {"mar", 3},         {"april", 4},      {"apr", 4},       {"may", 5},           {"june", 6},
     {"jun", 6},         {"july", 7},       {"jul", 7},       {"august", 8},        {"aug", 8},
     {"september", 9},   {"sep", 9},        {"sept", 9},      {"october", 10},      {"oct", 10},
     {"november", 11},   {"nov", 11},       {"december", 12}, {"dec", 12},          {"monday", 21},
     {"mon", 21},        {"tuesday", 22},   {"tue", 22},      {"tues", 22},         {"wednesday", 23},
     {"wed", 23},        {"thursday", 24},  {"thu", 24},      {"thurs", 24},        {"friday", 25},
     {"fri", 25},        {"saturday", 26},  {"sat", 26},      {"sunday", 27},       {"sun", 27},
     {"christmas", 31},  {"easter", 32},    {"ramadan", 33},  {"thanksgiving", 34}, {"halloween", 35},
     {"spring", 41},     {"summer", 42},    {"autumn", 43},   {"winter", 44},       {"weekend", 45},
     {"weekday", 46},    {"weekends", 45},  {"weekdays", 46}, {"morning", 51},      {"afternoon", 52},
     {"evening", 53},    {"midnight", 54},  {"noon", 55},     {"mondays", 21},      {"tuesdays", 22},
     {"wednesdays", 23}, {"thursdays", 24}, {"fridays", 25},  {"saturdays", 26},    {"sundays", 27}}));

constexpr auto kAmbiguousCalendar = sorted(std::to_array<std::string_view>(
    {"may", "march", "mar", "sun", "sat", "mon", "wed", "dec", "jan", "spring", "fri", "thu", "tue"}));

// Dimension x 100 + which.
constexpr auto kUnits = sorted(std::to_array<Entry>({{"usd", 101},         {"dollar", 101},
                                                     {"dollars", 101},     {"$", 101},
                                                     {"eur", 102},         {"euro", 102},
                                                     {"euros", 102},       {"€", 102},
                                                     {"gbp", 103},         {"pound", 103},
                                                     {"pounds", 103},      {"£", 103},
                                                     {"quid", 103},        {"yen", 104},
                                                     {"jpy", 104},         {"¥", 104},
                                                     {"franc", 105},       {"francs", 105},
                                                     {"chf", 105},         {"rupee", 106},
                                                     {"rupees", 106},      {"inr", 106},
                                                     {"yuan", 107},        {"cny", 107},
                                                     {"aud", 108},         {"cad", 109},
                                                     {"rouble", 110},      {"roubles", 110},
                                                     {"rub", 110},         {"bitcoin", 111},
                                                     {"btc", 111},         {"cent", 112},
                                                     {"cents", 112},       {"pence", 113},
                                                     {"krona", 114},       {"sek", 114},
                                                     {"second", 201},      {"seconds", 201},
                                                     {"sec", 201},         {"secs", 201},
                                                     {"minute", 202},      {"minutes", 202},
                                                     {"min", 202},         {"mins", 202},
                                                     {"hour", 203},        {"hours", 203},
                                                     {"hr", 203},          {"hrs", 203},
                                                     {"day", 204},         {"days", 204},
                                                     {"week", 205},        {"weeks", 205},
                                                     {"month", 206},       {"months", 206},
                                                     {"year", 207},        {"years", 207},
                                                     {"yrs", 207},         {"decade", 208},
                                                     {"decades", 208},     {"ms", 209},
                                                     {"millisecond", 209}, {"milliseconds", 209},
                                                     {"mm", 301},          {"cm", 302},
                                                     {"metre", 303},       {"metres", 303},
                                                     {"meter", 303},       {"meters", 303},
                                                     {"km", 304},          {"kilometre", 304},
                                                     {"kilometres", 304},  {"kilometer", 304},
                                                     {"kilometers", 304},  {"inch", 305},
                                                     {"inches", 305},      {"foot", 306},
                                                     {"feet", 306},        {"ft", 306},
                                                     {"yard", 307},        {"yards", 307},
                                                     {"mile", 308},        {"miles", 308},
                                                     {"mg", 401},          {"gram", 402},
                                                     {"grams", 402},       {"kg", 403},
                                                     {"kilo", 403},        {"kilos", 403},
                                                     {"kilogram", 403},    {"kilograms", 403},
                                                     {"tonne", 404},       {"tonnes", 404},
                                                     {"ton", 404},         {"tons", 404},
                                                     {"ounce", 405},       {"ounces", 405},
                                                     {"oz", 405},          {"lb", 406},
                                                     {"lbs", 406},         {"stone", 407},
                                                     {"celsius", 501},     {"°c", 501},
                                                     {"centigrade", 501},  {"fahrenheit", 502},
                                                     {"°f", 502},          {"kelvin", 503},
                                                     {"kb", 601},          {"mb", 602},
                                                     {"megabyte", 602},    {"megabytes", 602},
                                                     {"gb", 603},          {"gigabyte", 603},
                                                     {"gigabytes", 603},   {"tb", 604},
                                                     {"terabyte", 604},    {"terabytes", 604},
                                                     {"ml", 701},          {"litre", 702},
                                                     {"litres", 702},      {"liter", 702},
                                                     {"liters", 702},      {"gallon", 703},
                                                     {"gallons", 703},     {"pint", 704},
                                                     {"pints", 704},       {"cup", 705},
                                                     {"cups", 705},        {"teaspoon", 706},
                                                     {"teaspoons", 706},   {"tablespoon", 707},
                                                     {"tablespoons", 707}, {"am", 901},
                                                     {"pm", 902},          {"%", 801},
                                                     {"percent", 801},     {"percentage", 801}}));

constexpr auto kTimeSensitive = sorted(std::to_array<std::string_view>(
    {"today", "today's", "todays", "tonight", "tonight's", "tomorrow", "tomorrow's", "yesterday",
     "yesterday's", "currently", "latest", "nowadays", "newest", "upcoming", "weather", "forecast",
     "headlines", "breaking"}));

constexpr auto kPeriods = sorted(std::to_array<std::string_view>(
    {"second", "minute",  "hour",      "morning",  "afternoon", "evening",  "night",
     "week",   "weekend", "month",     "quarter",  "season",    "year",     "moment",
     "monday", "tuesday", "wednesday", "thursday", "friday",    "saturday", "sunday"}));

using Pair = std::pair<std::string_view, std::string_view>;
constexpr auto kOpposites = std::to_array<Pair>({{"on", "off"},
                                                 {"in", "out"},
                                                 {"up", "down"},
                                                 {"to", "from"},
                                                 {"open", "close"},
                                                 {"opened", "closed"},
                                                 {"open", "closed"},
                                                 {"opening", "closing"},
                                                 {"opens", "closes"},
                                                 {"before", "after"},
                                                 {"increase", "decrease"},
                                                 {"increased", "decreased"},
                                                 {"increase", "reduce"},
                                                 {"increasing", "decreasing"},
                                                 {"raise", "lower"},
                                                 {"raise", "reduce"},
                                                 {"include", "exclude"},
                                                 {"included", "excluded"},
                                                 {"including", "excluding"},
                                                 {"includes", "excludes"},
                                                 {"enable", "disable"},
                                                 {"enabled", "disabled"},
                                                 {"enabling", "disabling"},
                                                 {"activate", "deactivate"},
                                                 {"start", "stop"},
                                                 {"start", "end"},
                                                 {"start", "finish"},
                                                 {"starting", "stopping"},
                                                 {"begin", "end"},
                                                 {"begins", "ends"},
                                                 {"starts", "ends"},
                                                 {"buy", "sell"},
                                                 {"buying", "selling"},
                                                 {"lend", "borrow"},
                                                 {"lending", "borrowing"},
                                                 {"win", "lose"},
                                                 {"accept", "reject"},
                                                 {"accept", "decline"},
                                                 {"accepted", "rejected"},
                                                 {"accepted", "declined"},
                                                 {"approve", "reject"},
                                                 {"approved", "rejected"},
                                                 {"allow", "deny"},
                                                 {"allow", "block"},
                                                 {"allow", "forbid"},
                                                 {"allowed", "forbidden"},
                                                 {"allowed", "banned"},
                                                 {"allow", "prevent"},
                                                 {"add", "remove"},
                                                 {"adding", "removing"},
                                                 {"add", "delete"},
                                                 {"added", "removed"},
                                                 {"create", "delete"},
                                                 {"install", "uninstall"},
                                                 {"upgrade", "downgrade"},
                                                 {"upload", "download"},
                                                 {"import", "export"},
                                                 {"login", "logout"},
                                                 {"sign", "unsign"},
                                                 {"push", "pull"},
                                                 {"send", "receive"},
                                                 {"sending", "receiving"},
                                                 {"sent", "received"},
                                                 {"deposit", "withdraw"},
                                                 {"deposit", "withdrawal"},
                                                 {"arrive", "depart"},
                                                 {"arrival", "departure"},
                                                 {"arrivals", "departures"},
                                                 {"enter", "exit"},
                                                 {"enter", "leave"},
                                                 {"join", "leave"},
                                                 {"pass", "fail"},
                                                 {"passed", "failed"},
                                                 {"succeed", "fail"},
                                                 {"first", "last"},
                                                 {"earliest", "latest"},
                                                 {"early", "late"},
                                                 {"earlier", "later"},
                                                 {"old", "new"},
                                                 {"older", "newer"},
                                                 {"older", "younger"},
                                                 {"old", "young"},
                                                 {"oldest", "youngest"},
                                                 {"oldest", "newest"},
                                                 {"high", "low"},
                                                 {"higher", "lower"},
                                                 {"highest", "lowest"},
                                                 {"big", "small"},
                                                 {"large", "small"},
                                                 {"larger", "smaller"},
                                                 {"largest", "smallest"},
                                                 {"biggest", "smallest"},
                                                 {"long", "short"},
                                                 {"longer", "shorter"},
                                                 {"longest", "shortest"},
                                                 {"fast", "slow"},
                                                 {"faster", "slower"},
                                                 {"fastest", "slowest"},
                                                 {"cheap", "expensive"},
                                                 {"cheaper", "dearer"},
                                                 {"cheapest", "dearest"},
                                                 {"cheapest", "costliest"},
                                                 {"more", "less"},
                                                 {"more", "fewer"},
                                                 {"most", "least"},
                                                 {"most", "fewest"},
                                                 {"maximum", "minimum"},
                                                 {"max", "min"},
                                                 {"best", "worst"},
                                                 {"better", "worse"},
                                                 {"good", "bad"},
                                                 {"hot", "cold"},
                                                 {"warm", "cool"},
                                                 {"inside", "outside"},
                                                 {"indoor", "outdoor"},
                                                 {"indoors", "outdoors"},
                                                 {"above", "below"},
                                                 {"over", "under"},
                                                 {"left", "right"},
                                                 {"north", "south"},
                                                 {"east", "west"},
                                                 {"northern", "southern"},
                                                 {"eastern", "western"},
                                                 {"public", "private"},
                                                 {"internal", "external"},
                                                 {"domestic", "international"},
                                                 {"arrive", "leave"},
                                                 {"paid", "unpaid"},
                                                 {"paid", "free"},
                                                 {"with", "without"},
                                                 {"always", "never"},
                                                 {"all", "none"},
                                                 {"everyone", "nobody"},
                                                 {"same", "different"},
                                                 {"safe", "dangerous"},
                                                 {"safe", "harmful"},
                                                 {"legal", "illegal"},
                                                 {"full", "empty"},
                                                 {"true", "false"},
                                                 {"positive", "negative"},
                                                 {"gain", "loss"},
                                                 {"profit", "loss"},
                                                 {"debit", "credit"},
                                                 {"input", "output"},
                                                 {"encrypt", "decrypt"},
                                                 {"encode", "decode"},
                                                 {"compress", "decompress"},
                                                 {"mute", "unmute"},
                                                 {"man", "woman"},
                                                 {"men", "women"},
                                                 {"men's", "women's"},
                                                 {"male", "female"},
                                                 {"boy", "girl"},
                                                 {"boys", "girls"},
                                                 {"mother", "father"},
                                                 {"son", "daughter"},
                                                 {"husband", "wife"},
                                                 {"brother", "sister"},
                                                 {"adult", "child"},
                                                 {"adults", "children"},
                                                 {"landlord", "tenant"},
                                                 {"employer", "employee"},
                                                 {"buyer", "seller"},
                                                 {"teacher", "student"},
                                                 {"import", "exports"},
                                                 {"strengths", "weaknesses"},
                                                 {"advantages", "disadvantages"},
                                                 {"pros", "cons"},
                                                 {"benefits", "drawbacks"},
                                                 {"benefits", "downsides"},
                                                 {"benefits", "risks"},
                                                 {"benefits", "disadvantages"},
                                                 {"benefit", "drawback"},
                                                 {"benefit", "risk"},
                                                 {"advantage", "drawback"},
                                                 {"advantages", "drawbacks"},
                                                 {"advantages", "downsides"},
                                                 {"pros", "drawbacks"},
                                                 {"increase", "less"},
                                                 {"raise", "less"},
                                                 {"extra", "without"},
                                                 {"extra", "less"},
                                                 {"more", "without"},
                                                 {"rent", "own"},
                                                 {"rented", "owned"},
                                                 {"start", "quit"},
                                                 {"lawful", "unlawful"},
                                                 {"lawfully", "illegally"},
                                                 {"add", "cancel"},
                                                 {"use", "avoid"},
                                                 {"allow", "avoid"},
                                                 {"praise", "complain"},
                                                 {"ascending", "descending"},
                                                 {"sunrise", "sunset"},
                                                 {"asleep", "awake"},
                                                 {"alive", "dead"},
                                                 {"pause", "resume"},
                                                 {"pause", "unpause"},
                                                 {"show", "hide"},
                                                 {"expand", "collapse"},
                                                 {"temporary", "permanent"},
                                                 {"temporarily", "permanently"},
                                                 {"monthly", "yearly"},
                                                 {"monthly", "annual"},
                                                 {"weekly", "monthly"},
                                                 {"daily", "weekly"},
                                                 {"daily", "monthly"},
                                                 {"personal", "business"},
                                                 {"single", "double"},
                                                 {"single", "return"},
                                                 {"outbound", "inbound"},
                                                 {"inbound", "outgoing"},
                                                 {"incoming", "outgoing"},
                                                 {"renew", "cancel"},
                                                 {"subscribe", "unsubscribe"},
                                                 {"freeze", "unfreeze"},
                                                 {"lock", "unlock"},
                                                 {"block", "unblock"},
                                                 {"hire", "fire"},
                                                 {"gross", "net"},
                                                 {"import", "exporting"},
                                                 {"optional", "mandatory"},
                                                 {"optional", "required"},
                                                 {"optional", "compulsory"},
                                                 {"qualify", "disqualify"},
                                                 {"eligible", "ineligible"},
                                                 {"connect", "disconnect"},
                                                 {"agree", "disagree"},
                                                 {"appear", "disappear"},
                                                 {"lengthen", "shorten"},
                                                 {"widen", "narrow"},
                                                 {"strong", "weak"},
                                                 {"heavy", "light"},
                                                 {"heaviest", "lightest"},
                                                 {"dark", "light"},
                                                 {"wet", "dry"},
                                                 {"ancient", "modern"},
                                                 {"manual", "automatic"},
                                                 {"manually", "automatically"},
                                                 {"online", "offline"},
                                                 {"winner", "loser"},
                                                 {"won", "lost"},
                                                 {"found", "lost"},
                                                 {"increase", "decline"},
                                                 {"rise", "fall"},
                                                 {"rising", "falling"},
                                                 {"rises", "falls"},
                                                 {"grow", "shrink"}});

constexpr auto kPrefixes = sorted(std::to_array<std::string_view>(
    {"non",  "self", "ex", "co", "semi",  "anti", "pre",   "post",  "sub",   "multi", "part",
     "full", "half", "un", "re", "under", "over", "inter", "intra", "cross", "mid",   "pro"}));

constexpr bool by_first(const Pair& left, const Pair& right) { return left.first < right.first; }

constexpr auto kBothWays = [] {
  std::array<Pair, 2 * kOpposites.size()> both{};
  for (std::size_t i = 0; i < kOpposites.size(); ++i) {
    both[2 * i] = kOpposites[i];
    both[2 * i + 1] = {kOpposites[i].second, kOpposites[i].first};
  }
  std::sort(both.begin(), both.end());
  return both;
}();

constexpr auto kForeign = sorted(std::to_array<std::string_view>(
    {"el",      "los",   "las",   "una",      "que",   "qué",    "por",    "para", "con",    "cómo", "como",
     "está",    "del",   "mi",    "le",       "les",   "une",    "des",    "est",  "dans",   "pour", "avec",
     "je",      "mon",   "ma",    "comment",  "où",    "sur",    "der",    "das",  "ein",    "eine", "ist",
     "und",     "nicht", "wie",   "ich",      "mein",  "meine",  "für",    "mit",  "il",     "lo",   "della",
     "di",      "che",   "sono",  "quanto",   "um",    "uma",    "não",    "meu",  "minha",  "het",  "een",
     "mijn",    "niet",  "ik",    "hoe",      "och",   "jag",    "är",     "att",  "och",    "jak",  "jest",
     "nie",     "się",   "bir",   "ve",       "için",  "ne",     "nasıl",  "mijn", "kan",    "wat",  "wo",
     "was ist", "kann",  "quand", "pourquoi", "dónde", "cuándo", "perché", "dove", "quando", "onde", "waar",
     "warum",   "wann",  "den",   "dem",      "auf",   "von"}));

bool has(std::span<const std::string_view> words, std::string_view word) {
  return std::binary_search(words.begin(), words.end(), word);
}

std::optional<std::uint32_t> value(std::span<const Entry> entries, std::string_view word) {
  const auto at =
      std::lower_bound(entries.begin(), entries.end(), word,
                       [](const Entry& entry, std::string_view name) { return entry.first < name; });
  if (at == entries.end() || at->first != word) return std::nullopt;
  return at->second;
}

constexpr auto kNegatingPrefixes =
    std::to_array<std::string_view>({"un", "in", "im", "il", "ir", "dis", "non", "de"});
constexpr std::size_t kShortestPrefixed = 4;  // letters of the word below the prefix

bool is_prefixed(std::string_view longer, std::string_view shorter) {
  if (shorter.size() < kShortestPrefixed) return false;
  return std::any_of(kNegatingPrefixes.begin(), kNegatingPrefixes.end(), [&](std::string_view prefix) {
    if (!longer.starts_with(prefix)) return false;
    std::string_view rest = longer.substr(prefix.size());
    if (rest.starts_with('-')) rest.remove_prefix(1);
    return rest == shorter;
  });
}

}  // namespace

bool is_negation(std::string_view word) { return has(kNegations, word); }
bool is_function_word(std::string_view word) { return has(kFunctionWords, word); }
std::optional<std::uint32_t> number_value(std::string_view word) { return value(kNumbers, word); }
std::optional<std::uint32_t> calendar_name(std::string_view word) { return value(kCalendar, word); }
bool is_ambiguous_calendar(std::string_view word) { return has(kAmbiguousCalendar, word); }
bool is_time_sensitive(std::string_view word) { return has(kTimeSensitive, word); }
bool is_period(std::string_view word) { return has(kPeriods, word); }
bool is_prefix(std::string_view word) { return has(kPrefixes, word); }
bool is_foreign(std::string_view word) { return has(kForeign, word); }

std::optional<Unit> unit(std::string_view word) {
  const auto code = value(kUnits, word);
  if (!code) return std::nullopt;
  return Unit{*code / 100, *code};
}

Opposites opposites_of(std::string_view word) {
  const auto found = std::equal_range(kBothWays.begin(), kBothWays.end(), Pair{word, {}}, by_first);
  return {found.first, found.second};
}

bool denies(std::string_view left, std::string_view right) {
  return left.size() > right.size() ? is_prefixed(left, right) : is_prefixed(right, left);
}

}  // namespace sentinel::semantic::lexicon
