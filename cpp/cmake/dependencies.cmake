# Third-party libraries: the system's package first, else a pinned source archive from cpp/third_party.txt.
#
#   static  OpenSSL (symbols hidden in the module), llhttp (compiled here)
#   shared  simdjson, prometheus-cpp, SQLite: Debian has no position-independent archive of them; auditwheel puts
#           copies with names of their own into the wheel
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED) # Asio, headers only
set(OPENSSL_USE_STATIC_LIBS TRUE)
find_package(OpenSSL 3.0 REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(ZLIB REQUIRED)
find_package(simdjson REQUIRED)
find_package(prometheus-cpp REQUIRED)

set(LLHTTP_DIR "${SENTINEL_DEPS_DIR}/httptools-0.9.0/vendor/llhttp")
if(NOT EXISTS "${LLHTTP_DIR}/include/llhttp.h")
  message(FATAL_ERROR "No third-party sources in ${SENTINEL_DEPS_DIR}. Fetch them with: make deps")
endif()
add_library(llhttp STATIC "${LLHTTP_DIR}/src/api.c" "${LLHTTP_DIR}/src/http.c" "${LLHTTP_DIR}/src/llhttp.c")
target_include_directories(llhttp SYSTEM PUBLIC "${LLHTTP_DIR}/include")

# A sanitized test needs a GoogleTest compiled under the same sanitizer; Debian ships its sources for that.
if(SENTINEL_TESTS)
  if(SENTINEL_SANITIZE)
    set(BUILD_GMOCK OFF)
    set(INSTALL_GTEST OFF)
    add_subdirectory(/usr/src/googletest "${CMAKE_BINARY_DIR}/googletest" EXCLUDE_FROM_ALL SYSTEM)
  else()
    find_package(GTest REQUIRED)
  endif()
endif()
