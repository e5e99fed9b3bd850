// SPDX-License-Identifier: Apache-2.0
//
// What a build with sanitizers cannot do: tests that need it say SKIP with the reason.
#pragma once

namespace godbox::test {

#if defined(__SANITIZE_THREAD__)
#define GODBOX_TEST_HAS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GODBOX_TEST_HAS_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define GODBOX_TEST_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GODBOX_TEST_HAS_ASAN 1
#endif
#endif

// ThreadSanitizer lays its shadow over the address space and refuses mappings of many TiB.
#ifdef GODBOX_TEST_HAS_TSAN
constexpr bool kHasThreadSanitizer = true;
#else
constexpr bool kHasThreadSanitizer = false;
#endif
// Either one keeps memory and descriptors of its own, which shows in what a process uses.
#ifdef GODBOX_TEST_HAS_ASAN
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = kHasThreadSanitizer;
#endif

#undef GODBOX_TEST_HAS_TSAN
#undef GODBOX_TEST_HAS_ASAN

}  // namespace godbox::test
