// Personal data and secrets out of text that goes to a log (D12).
//
// Replaces e-mail addresses by [email], card numbers (13-19 digits, Luhn) by [card], US social security
// numbers by [ssn], telephone numbers by [phone], API keys of known shapes, JWTs and what follows `Bearer`,
// `api-key:`, `password=` and the like by [key]. Plain integers, ISO times, UUIDs and IP addresses stay. In
// doubt it replaces: a log line with a word too few is better than one with a secret.
//
// How: three passes in order of certainty - keys, then addresses between the keys, then digits between those.
// Every match begins where a word begins, every failed attempt looks ahead a bounded way, and no pattern can
// reach across a label; so time is linear and redact(redact(x)) == redact(x).
// Not here: names, street addresses, and secrets that look like nothing (those must not be logged in the
// first place).
// Cost: O(text), one allocation for the result. Thread rule: pure. Failure rule: none.
#pragma once

#include <string>
#include <string_view>

namespace sentinel {

std::string redact(std::string_view text);

}  // namespace sentinel
