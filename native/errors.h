// What the native code raises, and the checks that raise it.
#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

namespace aquatint {

/// Something is wrong with a stream or an argument; `kind` is the name of the exception class in aquatint.errors.
struct Error : std::runtime_error {
    const char* kind;
    Error(const char* kind, const std::string& message) : std::runtime_error(message), kind(kind) {}
};

constexpr const char* kTruncated = "TruncatedError";
constexpr const char* kCorrupt = "CorruptStreamError";
constexpr const char* kUnsupported = "UnsupportedFeatureError";
constexpr const char* kUsage = "UsageError";

inline std::string number(long long value) { return std::to_string(value); }

/// Checks a value; `kind` is what to raise, because a stream and an argument have the same limits.
inline void require(const char* kind, std::string_view what, long long value, long long low, long long high) {
    if (value < low || value > high) [[unlikely]]
        throw Error(kind, std::string(what) + " is " + number(value) + ", outside " + number(low) + " to " + number(high));
}

}  // namespace aquatint
