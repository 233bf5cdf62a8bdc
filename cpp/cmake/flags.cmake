# Flags that every target shares. Set before the first target, so that our code, llhttp and a GoogleTest built here
# agree on sanitizers and visibility.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2") # asserts stay in: a broken promise must stop the process, not corrupt an account
set(CMAKE_C_FLAGS_RELEASE "-O2")
set(CMAKE_CXX_FLAGS_DEBUG "-Og -g1 -fno-omit-frame-pointer")
set(CMAKE_C_FLAGS_DEBUG "-Og -g1 -fno-omit-frame-pointer")

if(SENTINEL_SANITIZE)
  add_compile_options(-fsanitize=${SENTINEL_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SENTINEL_SANITIZE})
endif()
if(SENTINEL_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "The fuzz targets need clang: configure with `cmake --preset fuzz`.")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# ccache, where there is one: paths are taken relative to this tree and the directory is left out of the hash, so that
# the wheel, the release build and a fresh clone share their objects.
find_program(SENTINEL_CCACHE ccache)
if(SENTINEL_CCACHE)
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
               CCACHE_SLOPPINESS=pch_defines,time_macros ${SENTINEL_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()

# Our own code only: third-party headers come in as SYSTEM, third-party sources are not compiled with these.
add_library(sentinel_flags INTERFACE)
target_compile_options(sentinel_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 sees overlaps in std::string's operator+ (its bug 105651) and, under a sanitizer, uninitialised reads in
  # inlined optionals; neither is there.
  target_compile_options(sentinel_flags INTERFACE -Wno-restrict)
  if(SENTINEL_SANITIZE)
    target_compile_options(sentinel_flags INTERFACE -Wno-maybe-uninitialized)
  endif()
endif()
if(SENTINEL_WERROR)
  target_compile_options(sentinel_flags INTERFACE -Werror)
endif()
target_compile_definitions(sentinel_flags INTERFACE BOOST_ASIO_NO_DEPRECATED)
if(SENTINEL_SANITIZE MATCHES "thread")
  # TSan does not model stand-alone fences; Asio's only order what its locks already order.
  target_compile_definitions(sentinel_flags INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
endif()
target_include_directories(sentinel_flags INTERFACE "${CMAKE_SOURCE_DIR}/cpp")
